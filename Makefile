# Everything needs only Python 3.11+, git and make. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo lecture test check benchmark clean

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## create .venv and install the pinned dependencies

demo: $(READY) ## run a beta sweep on embedded data (about a minute after the install)
	$(BIN)/vaelab-train experiment=demo

# Tests next to each other share fixtures of their module and session; worksteal keeps them together until one
# process has nothing left. More than four processes would make these fixtures more often than they save.
test: $(READY) ## run the tests, a process per core
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

lecture: $(READY) ## the lecture's experiments, and its page docs/lecture.md (about ten minutes)
	$(BIN)/python scripts/lecture.py

check: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

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
