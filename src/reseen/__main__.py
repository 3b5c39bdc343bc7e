"""Run the command line as ``python -m reseen``."""

from reseen.cli import main

if __name__ == "__main__":
    main()
