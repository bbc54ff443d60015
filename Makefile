# Everything needs only Python 3.11+, git and make. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo curve lecture test test-slow test-all check checks docs benchmark clean

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## create .venv and install the pinned dependencies

demo: $(READY) ## run a beta sweep on embedded data (about a minute after the install)
	$(BIN)/vaelab-train experiment=demo

curve: $(READY) demo ## the demo's curve from one training, beside the demo's sweep (two minutes)
	$(BIN)/vaelab-train experiment=curve
	$(BIN)/vaelab-compare outputs/sweeps/curve outputs/sweeps/demo --out outputs/sweeps/curve/beside_demo

# Tests next to each other share fixtures of their module and session; worksteal keeps them together until one
# process has nothing left. More than four processes would make these fixtures more often than they save.
PYTEST = $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

test: $(READY) ## run the quick tests and the doctests, a process per core
	$(PYTEST) -m "not slow and not exhaustive" --doctest-modules src tests

test-slow: $(READY) ## run the slow tests
	$(PYTEST) -m "slow and not exhaustive"

test-all: $(READY) ## run every test, more cases of the same included
	$(PYTEST) --doctest-modules src tests

lecture: $(READY) ## the lecture's experiments, and its page docs/lecture.md (about ten minutes)
	$(BIN)/python scripts/lecture.py

check: $(READY) ## ruff, mypy, the contract of imports, the docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory docs

checks: $(READY) ## what runs report against exact values, and a sweep over beta against itself (about five minutes)
	$(BIN)/python scripts/checks.py

docs: $(READY) ## build docs/ into build/docs, warnings as errors
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --jobs auto docs build/docs

benchmark: $(READY) ## training speed against a bare PyTorch loop
	$(BIN)/python scripts/benchmark.py

clean: ## remove .venv, caches and build products; outputs/ stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("vaelab needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)
