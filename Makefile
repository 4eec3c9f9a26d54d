# `make help` lists the targets. These variables select what `make env` makes. Without one, the last choice stays:
#   PYTHON  the interpreter, 3.10 or newer            first time: python3
#   TORCH   a requirement, options of pip may follow  first time: torch==2.13.0
#   STACK   openmmlab or onedl                        first time: openmmlab
#   VENV    the environment's folder                  always: .venv
PYTHON ?=
TORCH ?=
STACK ?=
VENV ?= .venv
PYTEST_ARGS ?=
COVERAGE ?=
base := $(or $(PYTHON),python3)
python := $(VENV)/bin/python

.PHONY: help env demo test lint format docs clean
help:  ## list the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

env:  ## make or repair .venv: about 12 minutes the first time, then seconds
	@$(base) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	|| { echo 'env: error: "$(base)" is no Python 3.10 or newer; choose one: make env PYTHON=/path/to/python3' >&2; exit 1; }
	@$(base) tools/env.py --venv '$(VENV)' --torch '$(TORCH)' --stack '$(STACK)' $(if $(PYTHON),--this-python)

demo: env  ## generate a small data set, train on it, evaluate, draw: about 12 minutes on two cores
	@$(python) tools/demo/make_demo.py

test: lint  ## lint, then run the tests: make test PYTEST_ARGS='-k matcher'; COVERAGE=1 also measures coverage
	$(python) -m pytest tests -n logical --maxprocesses 8 $(if $(COVERAGE),--cov) $(PYTEST_ARGS)

lint: env  ## check style, types and spelling
	$(python) -m ruff check
	$(python) -m ruff format --check
	$(python) -m mypy
	$(python) -m codespell_lib

format: env  ## put right what ruff can
	$(python) -m ruff check --fix
	$(python) -m ruff format

docs: .venv-docs/ready  ## build the documentation site in site/, and refuse dead links
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict

.venv-docs/ready: requirements/docs.txt
	$(base) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --requirement requirements/docs.txt
	@touch $@

clean:  ## remove caches and build products, but neither .venv nor work_dirs
	@find . -name '$(notdir $(VENV))' -prune -o -path ./.git -prune -o -path ./work_dirs -prune -o \
	\( -name __pycache__ -o -name '.*_cache' -o -name '*.egg-info' -o -path ./build -o -path ./dist -o -path ./site \) \
	-prune -print -exec rm -rf {} +
	@echo 'Left in place: $(VENV) and work_dirs; remove them by hand.'
