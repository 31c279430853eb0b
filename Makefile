# Two commands do all the set-up on a fresh machine with Python 3.11 or newer and make:
#   make demo   run the main job on scikit-learn's digits; the last line says where the report is
#   make test   run the tests

PYTHON ?= python3
OLDEST_PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CONSTRAINTS := requirements/constraints.txt
PIP := -m pip install --quiet --upgrade
# What depends on numerics: run under each instruction set. Figures of published papers are counts.
NUMERIC := tests/unit/arithmetic tests/unit/array tests/unit/quantization tests/unit/simulation tests/property/array \
    tests/property/quantization tests/property/simulation tests/property/program tests/equivalence \
    --ignore-glob='*_figures.py'
# What other versions of libraries may break, in about two minutes.
QUICK := tests/architecture tests/golden tests/unit --ignore=tests/unit/bit_search --ignore=tests/unit/workflow \
    --ignore=tests/unit/scheduling --ignore=tests/unit/test_ray_pool.py tests/unit/bit_search/test_tracking.py \
    tests/unit/bit_search/test_trial_storage.py
PYTEST := -m pytest -m 'not slow and not pages and not figures and not deploy' -n 2 --dist worksteal
SETS ?= all
# Whatever the environment says, keep compiled modules: the tests start many processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo demo-isa test test-slow test-figures test-pages test-deploy test-processes test-install test-isa test-newest test-oldest fuzz kills constraints lint format docs links notebooks clean

help:
	@sed -n 's/^#   //p' Makefile

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mho needs Python 3.11 or newer; set PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) --constraint $(CONSTRAINTS) pip hatchling editables
	$(BIN)/python $(PIP) --constraint $(CONSTRAINTS) --no-build-isolation --editable '.[dev]'
	@touch $@

demo: $(INSTALLED)
	$(BIN)/mho run examples/digits.toml

#   make demo-isa   run the demo under each instruction set that this processor has, or those in SETS='plain avx2'
demo-isa: $(INSTALLED)
	$(BIN)/python tools/instruction_sets.py $(SETS) -- $(BIN)/mho run examples/digits.toml --fresh

test: $(INSTALLED)
	$(BIN)/python $(PYTEST)

#   make test-slow   run the checks that take minutes, and property tests and the fuzzer on all their examples
test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow
	MHO_ALL_EXAMPLES=1 $(BIN)/python -m pytest -m 'not slow and not deploy' tests/property tests/fuzz

#   make test-figures   compare with published figures, and hold how well search methods do over many seeds
test-figures: $(INSTALLED)
	$(BIN)/python -m pytest -m 'figures and not slow' -n 2 --dist worksteal tests/equivalence tests/unit/bit_search

#   make test-deploy   build deployed programs with several compilers, for RISC-V and a Cortex-M in QEMU, under sanitizers
test-deploy: $(INSTALLED)
	$(BIN)/python -m pytest -m 'deploy and not slow' tests/end_to_end/test_deployed_programs.py tests/fuzz/test_c_loader.py

#   make test-pages   run the tutorials and the code of README and the documentation, and compare what they print
test-pages: $(INSTALLED)
	$(BIN)/python -m pytest -m pages -n 2 --dist worksteal tests/unit/test_docs.py tests/end_to_end/test_tutorials.py \
	    tests/end_to_end/test_bring_up.py

#   make test-processes   kill commands, workers, nodes of a cluster and a database server, and train in several processes
test-processes: $(INSTALLED)
	$(BIN)/python -m pytest -m slow -n 2 --dist worksteal tests/end_to_end/test_kills.py tests/end_to_end/test_ray.py \
	    tests/unit/bit_search/test_batches.py tests/unit/bit_search/test_trial_database.py \
	    tests/unit/quantization/test_distributed_training.py

#   make test-install   build wheel and sdist, install the wheel in an empty environment and run it there
test-install: $(INSTALLED)
	$(BIN)/python -m pytest -m slow tests/end_to_end/test_distribution.py

#   make test-isa   run what depends on numerics under each instruction set, or those in SETS
test-isa: $(INSTALLED)
	$(BIN)/python tools/instruction_sets.py $(SETS) -- $(BIN)/python $(PYTEST) $(NUMERIC)

#   make test-newest   run the quick tests with the newest versions that pyproject.toml allows
test-newest:
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python $(PIP) pip
	.venv-newest/bin/python $(PIP) --upgrade-strategy eager --editable '.[dev]'
	.venv-newest/bin/python $(PYTEST) $(QUICK)

#   make test-oldest   run the quick tests with the oldest versions that pyproject.toml allows, torch aside
test-oldest:
	$(OLDEST_PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python $(PIP) pip
	$(OLDEST_PYTHON) tools/oldest_versions.py > .venv-oldest/constraints.txt
	.venv-oldest/bin/python $(PIP) --constraint .venv-oldest/constraints.txt --editable '.[dev]'
	.venv-oldest/bin/python $(PYTEST) $(QUICK)

#   make fuzz   read CASES drawn mutants of each kind of file, from seed SEED on
CASES ?= 1000
SEED ?= 0
fuzz: $(INSTALLED)
	$(BIN)/python tests/fuzz/run.py --cases $(CASES) --seed $(SEED)

#   make kills   kill runs, searches and studies at 100 random moments, and compare what they end with
kills: $(INSTALLED)
	$(BIN)/python tests/support/kills.py --kills 100 --seed $(SEED)

#   make constraints   write the newest versions that Python 3.11 can have into the file that setup installs from
constraints:
	PYTHON=$(PYTHON) tools/write_constraints.sh $(CONSTRAINTS)

#   make lint   run the linter, the format check and the type checker
lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

#   make format   let the formatter and the linter mend what they can
format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

#   make docs   check the links of the documentation and build it into site/
docs: $(INSTALLED)
	$(BIN)/python tools/check_links.py
	$(BIN)/python $(PIP) --constraint $(CONSTRAINTS) --no-build-isolation --editable '.[docs]'
	$(BIN)/mkdocs build --strict

#   make links   fetch the addresses outside of the documentation that it links to
links:
	$(PYTHON) tools/check_links.py --fetch

#   make notebooks   write the tutorials into notebooks/, as notebooks with the outputs of their pages
notebooks: $(INSTALLED)
	$(BIN)/python tools/tutorials.py notebooks notebooks

#   make clean   remove the environments and what runs left behind
clean:
	rm -rf $(VENV) .venv-newest .venv-oldest runs site notebooks
