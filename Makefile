PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= dev
# Where to take torch from before everything else, e.g. PyTorch's index of CPU builds; empty for pip's default.
TORCH_INDEX ?=

BIN := $(VENV)/bin
DONE := $(VENV)/.installed-$(EXTRAS)

.DEFAULT_GOAL := help
.PHONY: help setup demo cross-domain test test-slow docs lint format clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(DONE)  ## make .venv and install everything, from pinned versions

$(DONE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; say which: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/pip install -q --index-url $(TORCH_INDEX) -c constraints.txt torch)
	$(BIN)/pip install -q -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

demo: setup  ## train LightGCN on the embedded sample, test it beside the floors, show recommendations
	$(BIN)/python experiments/demo.py

cross-domain: setup  ## run the chain of the embedded sample as two domains, set its models side by side
	$(BIN)/recsys chain experiments/cross_domain/movietweetings.yaml

test: setup  ## run the fast tests
	$(BIN)/pytest -n auto --maxprocesses 8

test-slow: setup  ## run the tests that need real data or minutes
	$(BIN)/pytest -m slow

docs: setup  ## build the documentation into build/site; any warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -q -f docs/mkdocs.yml
	@echo build/site/index.html

lint: setup  ## check format, style, types and import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what was made, except the environment
	rm -rf runs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
