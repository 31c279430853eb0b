# Two commands do all the set-up on a fresh machine with Python 3.11 or newer and make:
#   make demo   run the main job on scikit-learn's digits; the last line says where the report is
#   make test   run the tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help setup demo test test-slow lint format docs clean

help:
	@sed -n 's/^#   //p' Makefile

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mho needs Python 3.11 or newer; set PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(INSTALLED)
	$(BIN)/mho run examples/digits.toml

test: $(INSTALLED)
	$(BIN)/python -m pytest -m 'not slow' -n 2 --dist worksteal

#   make test-slow   run the checks that take minutes, and property tests on all their examples
test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow
	MHO_ALL_EXAMPLES=1 $(BIN)/python -m pytest -m 'not slow' tests/property

#   make lint   run the linter, the format check and the type checker
lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

#   make format   let the formatter and the linter mend what they can
format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

#   make docs   build the documentation into site/
docs: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/mkdocs build --strict

#   make clean   remove the environment and what runs left behind
clean:
	rm -rf $(VENV) runs site
