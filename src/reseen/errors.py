"""Every error that reseen raises on purpose.

::

    ReseenError
    ├── RecipeError     a recipe that cannot be read, or asks for what cannot be done
    ├── DataError       a file of a data set is missing, truncated or not what it should be
    ├── ShapeError      arrays that do not belong together
    ├── ModelError      a diffusion model or an evaluation network that cannot be loaded or went wrong
    ├── ResultsError    a results folder that holds something else, or cannot be written
    └── ClusterError    workers that cannot be reached, or that are lost one after the other

A message says what was expected, what was found and what to do. The command line prints it and leaves with exit code 1.
"""


class ReseenError(Exception):
    """Root of every error that the user can fix."""


class RecipeError(ReseenError):
    """Report a recipe that cannot be read, or that asks for what cannot be done."""


class DataError(ReseenError):
    """Report a data file that is missing, truncated or not what it should be."""


class ShapeError(ReseenError):
    """Report arrays whose shapes or ids do not belong together."""


class ModelError(ReseenError):
    """Report a diffusion model or an evaluation network that cannot be loaded or went wrong."""


class ResultsError(ReseenError):
    """Report a results folder that holds something else, or that cannot be written."""


class ClusterError(ReseenError):
    """Report workers that cannot be started or reached, or that are lost one after the other."""
