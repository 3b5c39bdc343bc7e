# The only commands anyone needs: make install, make demo, make test, make check, make docs, make bench, make coverage.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One stamp for what users install, one for what developers and tests need besides, and one for the site.
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
DOCS_STAMP := $(VENV)/.installed-docs
PIP = $(BIN)/python -m pip install --quiet -c constraints.txt

.PHONY: install develop demo test check docs bench coverage environment

install: $(STAMP)

develop: $(DEV_STAMP)

# Installed again only when what is declared has changed.
$(STAMP): pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory environment
	$(PIP) -e '.[cluster,live,metrics]'
	touch $@

$(DEV_STAMP): pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory environment
	$(PIP) -e '.[dev,cluster,live,metrics]'
	touch $(STAMP) $@

$(DOCS_STAMP): pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory environment
	$(PIP) -e '.[docs,cluster,live,metrics]'
	touch $(STAMP) $@

# The version is checked before anything is written, and an environment that venv could not complete is deleted.
environment:
	@python="$(PYTHON)"; if test -x $(BIN)/python; then python=$(BIN)/python; fi; \
	command -v "$$python" >/dev/null || { \
		echo "There is no $$python here: install Python 3.11 or newer, or name one with make PYTHON=/path/to/python3."; exit 1; }; \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "reseen needs Python 3.11 or newer, and $$python is older: name another with make PYTHON=/path/to/python3 VENV=.venv-new."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf "$(VENV)"; exit 1; }

demo: install
	$(BIN)/reseen demo --out out/demo

check: develop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/words.py

test: check
	$(BIN)/python -m pytest

# Every tutorial is executed again. One thread: several are slower where other work runs.
docs: $(DOCS_STAMP)
	rm -rf docs/generated docs/tutorials/out out/site
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -b html -d out/site-doctrees docs out/site
	@echo "The site is out/site/index.html."

bench: develop
	@for script in $$(ls benchmarks/*.py | grep -v -e figures.py -e history.py -e encode_fits.py -e full_size.py); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# Lines and branches of the package that the tests run, also in processes that they start: a table, and out/coverage/index.html.
coverage: develop
	rm -rf out/coverage && mkdir -p out/coverage
	$(BIN)/coverage run -m pytest $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report --sort=cover
