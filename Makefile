# Everything runs in .venv, which is made when it is missing or older than what it is made from.

PYTHON ?= python3
PIP_VERSION := 26.3
BIN := .venv/bin
HOURS ?= 8
SLOTS_S ?= 3600

.DEFAULT_GOAL := help
.PHONY: help setup peers demo test chaos chaos-long mutants e2e reliability pictures bench check format docs lock

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.ready ## make .venv with pombo and all that its development needs

peers: setup .venv/bench/.ready ## install Segment's SDKs and other peers, beside which tests and benchmarks run

demo: setup ## watch events flow, in a world of its own
	$(BIN)/pombo demo

test: setup ## run the tests, against real servers
	$(BIN)/pytest -m "not e2e"

chaos: setup ## strike every step of the delivery in simulated worlds (three minutes); RUN=storm:12 plays one again
	PYTHONPATH=tests $(BIN)/python -m chaos $(RUN)

chaos-long: setup ## random schedules for HOURS=8, then a real cluster whose slots move and whose primaries die
	PYTHONPATH=tests $(BIN)/python -m chaos --hours $(HOURS)
	POMBO_CHAOS_S=$(SLOTS_S) $(BIN)/pytest -m chaos_long -p no:randomly

mutants: setup ## break pombo on purpose, in two dozen ways, and see each break found (some minutes)
	PYTHONPATH=tests $(BIN)/python -m chaos --mutants

reliability: setup ## try all that can go wrong (an hour), and write docs/reliability.md, whatever came of it
	rm -f .results/*.json
	-$(MAKE) --no-print-directory chaos
	-$(MAKE) --no-print-directory mutants
	-$(MAKE) --no-print-directory e2e
	PYTHONPATH=tests $(BIN)/python -m chaos.report

e2e: setup ## run real dialogues through real processes, with figures; SHAPE=tcp, unix, tls, sentinel or cluster
	POMBO_TEST_SHAPE=$(SHAPE) $(BIN)/pytest -m "e2e and not chaos_long" -p no:randomly

pictures: setup ## let bots talk for a quarter of an hour, and take the console's pictures for docs/img
	PYTHONPATH=tests $(BIN)/python -m support.pictures

bench: setup .venv/bench/.ready ## measure beside peers and limits (a quarter of an hour; ONLY=enqueue,call: parts); writes docs/benchmarks.md
	$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY))

check: setup ## format, lint, types, layers, known vulnerabilities, generated references
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -c pyproject.toml -r shared producer worker ops
	PYTHONPATH=tests $(BIN)/python -m support.dependencies constraints.txt
	$(BIN)/python -m pombo.ops.references --check
	$(BIN)/python -m pombo.ops.dashboards --check

format: setup ## format the code and mend what the linter can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: setup ## write the generated references and dashboards anew
	$(BIN)/python -m pombo.ops.references
	$(BIN)/python -m pombo.ops.dashboards

# Newest versions that pyproject.toml allows, in an environment of their own; the next `make` installs them.
lock: ## pin the newest allowed versions in constraints.txt
	$(MAKE) --no-print-directory python
	rm -rf .venv/lock
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/python -m pip install --quiet 'pip==$(PIP_VERSION)'
	.venv/lock/bin/python -m pip install --quiet --editable '.[all]' --group dev
	.venv/lock/bin/python -m pip freeze --exclude-editable > constraints.txt
	rm -rf .venv/lock
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/python -m pip install --quiet 'pip==$(PIP_VERSION)'
	.venv/lock/bin/python -m pip install --quiet --group bench
	.venv/lock/bin/python -m pip freeze > bench/constraints.txt
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

# Segment's SDK wants an older python-dateutil than RQ, arq an older redis-py than pombo: an environment of their own.
.venv/bench/.ready: .venv/.ready pyproject.toml bench/constraints.txt bench/node/package-lock.json
	@command -v npm > /dev/null || { echo "there is no npm; install Node 20 or later, whose SDK is one of the peers" >&2; exit 1; }
	$(PYTHON) -m venv .venv/bench
	.venv/bench/bin/python -m pip install --quiet 'pip==$(PIP_VERSION)'
	.venv/bench/bin/python -m pip install --quiet --constraint bench/constraints.txt --group bench
	cp bench/node/package.json bench/node/package-lock.json .venv/bench/
	cd .venv/bench && npm ci --no-audit --no-fund --ignore-scripts --silent
	@touch $@
