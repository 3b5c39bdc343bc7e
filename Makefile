# The only commands anyone needs: make install, make demo, make test, make check, make bench.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test check bench

install: $(STAMP)

# Installed again only when what is declared has changed.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,cluster,metrics]'
	touch $@

demo: install
	$(BIN)/reseen demo --out out/demo

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/words.py

test: check
	$(BIN)/python -m pytest

bench: install
	@for script in $$(ls benchmarks/*.py | grep -v -e figures.py -e encode_fits.py -e full_size.py); do echo "== $$script"; $(BIN)/python $$script || exit 1; done
