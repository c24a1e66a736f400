# Everything runs in .venv, which is made when it is missing or older than what it is made from.

PYTHON ?= python3
PIP_VERSION := 26.3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test e2e check format docs lock

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.ready ## make .venv with pombo and all that its development needs

demo: setup ## watch events flow, in a world of its own
	$(BIN)/pombo demo

test: setup ## run the tests, against real servers
	$(BIN)/pytest -m "not e2e"

e2e: setup ## run real dialogues through real processes: kills, holds and outages, with figures
	$(BIN)/pytest -m e2e -p no:randomly

check: setup ## format, lint, types, layers, generated references
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if [ -f ops/pombo/ops/references.py ]; then \
		echo "$(BIN)/python -m pombo.ops.references --check"; $(BIN)/python -m pombo.ops.references --check; fi

format: setup ## format the code and mend what the linter can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: setup ## write the generated references anew
	$(BIN)/python -m pombo.ops.references

# Newest versions that pyproject.toml allows, in an environment of their own; the next `make` installs them.
lock: ## pin the newest allowed versions in constraints.txt
	$(MAKE) --no-print-directory python
	rm -rf .venv/lock
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/python -m pip install --quiet 'pip==$(PIP_VERSION)'
	.venv/lock/bin/python -m pip install --quiet --editable '.[all]' --group dev
	.venv/lock/bin/python -m pip freeze --exclude-editable > constraints.txt
	rm -rf .venv/lock

.PHONY: python
python:
	@command -v $(PYTHON) > /dev/null || { echo "there is no $(PYTHON); install Python 3.11 or later, or name one: make PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is too old; pombo needs Python 3.11 or later: make PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { echo "$(PYTHON) cannot make virtual environments: apt install python3-venv" >&2; exit 1; }

.venv/.ready: pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory python
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet 'pip==$(PIP_VERSION)'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]' --group dev
	@touch $@
