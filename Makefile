# Two commands on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.

VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
PERCENT ?= 1,10,100
DATA ?= var/demo
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
# One virtual environment; what development needs is a superset of what running needs.
READY_TO_RUN := $(VENV)/.ready-to-run
READY_TO_DEVELOP := $(VENV)/.ready-to-develop
# The generator of clients stands apart: it wants other versions of our own libraries.
CLIENT ?= build/client
CLIENT_VENV := .venv-client
READY_TO_GENERATE := $(CLIENT_VENV)/.ready-to-generate
# So does locust: it changes Python's sockets.
LOAD_VENV := .venv-load
READY_TO_LOAD := $(LOAD_VENV)/.ready-to-load
# And schemathesis: it is a client, and needs nothing of ours.
FUZZ_VENV := .venv-fuzz
READY_TO_FUZZ := $(FUZZ_VENV)/.ready-to-fuzz
SCENARIO ?= morning

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test test-pg15 test-pgbouncer test-nginx test-dockerfile bench telling sas torture fuzz load scale \
  audit check fix client openapi migration

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(READY_TO_RUN) ## Make .venv/bin/snp, the command line

demo: $(READY_TO_RUN) ## Serve the Indre of 2022 on this machine (PORT=8000 DATA=var/demo)
	@$(BIN)/snp demo --port $(PORT) --data-dir $(DATA)

test: $(READY_TO_DEVELOP) $(READY_TO_GENERATE) $(READY_TO_FUZZ) ## Run all tests on a real PostgreSQL
	@$(BIN)/pytest -n auto --dist loadgroup

test-pg15: $(READY_TO_DEVELOP) $(READY_TO_GENERATE) $(READY_TO_FUZZ) ## Run all tests on Debian's PostgreSQL 15 (apt-get install postgresql-15)
	@$(BIN)/python scripts/with_postgresql15.py $(BIN)/pytest -n auto --dist loadgroup

# Not by `make test`, which needs no more than Python and make; `.ci/run` does both.
test-nginx: $(READY_TO_DEVELOP) ## Try deploy/nginx for real (apt-get install nginx)
	@SNP_TEST_NGINX=1 $(BIN)/pytest tests/fhir/test_transport.py

test-dockerfile: $(READY_TO_DEVELOP) ## Run the Dockerfile's own steps without Docker (two minutes)
	@SNP_TEST_DOCKERFILE=1 $(BIN)/pytest tests/operations/test_dockerfile.py

# Whatever the application sends goes through, as in production. Not what changes settings of
# its role and looks at once: a connection that the pooler keeps open has the old ones.
test-pgbouncer: $(READY_TO_DEVELOP) $(READY_TO_GENERATE) $(READY_TO_FUZZ) ## The same through PgBouncer (apt-get install pgbouncer)
	@$(BIN)/python scripts/with_postgresql15.py --pgbouncer $(BIN)/pytest -n auto --dist loadgroup \
	  --ignore tests/operations/test_backup.py --ignore tests/operations/test_check.py \
	  --ignore tests/journeys/test_operators.py

bench: $(READY_TO_DEVELOP) ## Measure beside the floor of the stack (BASE=rev: beside a commit only); then as telling does
	@$(BIN)/python -m load_tests.bench $(if $(BASE),--base $(BASE))
	@$(if $(BASE),,$(MAKE) --no-print-directory telling)

telling: $(READY_TO_DEVELOP) ## Measure how soon the outside hears of a booking, and what that costs (SECONDS=60 ROUNDS=10)
	@$(BIN)/python -m load_tests.telling $(if $(SECONDS),--seconds $(SECONDS)) \
	  $(if $(ROUNDS),--rounds $(ROUNDS))

sas: $(READY_TO_DEVELOP) ## Measure the national platform's searches among a million slots (SECONDS=60)
	@$(BIN)/python -m load_tests.sas $(if $(SECONDS),--seconds $(SECONDS))

torture: $(READY_TO_DEVELOP) $(READY_TO_FUZZ) ## Let many work while processes die; send nonsense; time what is hidden (SECONDS=300)
	@SNP_TORTURE_SECONDS=$(or $(SECONDS),300) SNP_HISTORY_REPORT=load_tests/results/history.json \
	  $(BIN)/pytest -p no:randomly tests/history
	@SNP_TORTURE_SECONDS=$(or $(SECONDS),300) $(BIN)/pytest -s tests/access/test_timing.py
	@$(MAKE) --no-print-directory fuzz

fuzz: $(READY_TO_DEVELOP) $(READY_TO_FUZZ) ## Send nonsense to a server (REQUESTS=50000 SEED=...)
	@SNP_FUZZ_REQUESTS=$(or $(REQUESTS),50000) $(if $(SEED),SNP_FUZZ_SEED=$(SEED)) \
	  SNP_FUZZ_REPORT=load_tests/results/fuzz.json \
	  $(BIN)/pytest -p no:randomly tests/fuzz

audit: $(READY_TO_DEVELOP) ## Are the libraries what was locked, and known to be safe? (ADVISORIES=all.zip)
	@$(BIN)/python scripts/audit.py $(if $(ADVISORIES),--advisories $(ADVISORIES))

load: $(READY_TO_DEVELOP) $(READY_TO_LOAD) ## Drive a journey (SCENARIO=morning SECONDS=60 USERS=8 WORKERS=1; load_tests/README.md)
	@$(BIN)/python -m load_tests.run $(SCENARIO) $(if $(SECONDS),--seconds $(SECONDS)) \
	  $(if $(USERS),--users $(USERS)) $(if $(WORKERS),--workers $(WORKERS)) \
	  $(if $(DAY_SECONDS),--day-seconds $(DAY_SECONDS)) $(if $(SHARE),--share $(SHARE)) \
	  $(if $(FROM_HOUR),--from-hour $(FROM_HOUR)) $(if $(TO_HOUR),--to-hour $(TO_HOUR)) \
	  $(if $(SEED),--seed $(SEED))

check: $(READY_TO_DEVELOP) ## Look for faults without running tests; changes nothing
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/python scripts/check_migrations.py
	@$(BIN)/snp openapi --output openapi/openapi.json --check
	@$(if $(wildcard scripts/build_docs.py),$(BIN)/python scripts/build_docs.py --check)

fix: $(READY_TO_DEVELOP) ## Mend what can be mended by itself
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

scale: $(READY_TO_DEVELOP) ## Measure a small and a large country side by side (PERCENT=1,10,100)
	@$(BIN)/python -m load_tests.scale --percent $(PERCENT)

client: $(READY_TO_GENERATE) ## Generate a Python client of the API (CLIENT=build/client)
	@mkdir -p $(dir $(CLIENT))
	@PATH="$(CURDIR)/$(CLIENT_VENV)/bin:$$PATH" openapi-python-client generate \
	  --path openapi/openapi.json --output-path $(CLIENT) --meta setup --overwrite --fail-on-warning

openapi: $(READY_TO_DEVELOP) ## Write the API's description and the generated documents anew
	@$(BIN)/snp openapi --output openapi/openapi.json
	@$(if $(wildcard scripts/build_docs.py),$(BIN)/python scripts/build_docs.py)

migration: $(READY_TO_DEVELOP) ## Write the next migration from the models (m="What it does")
	@test -n '$(m)' || { echo 'Say what it does: make migration m="Add the worker tables"'; exit 2; }
	@$(BIN)/python scripts/check_migrations.py --message '$(m)'
	@$(BIN)/ruff format --quiet migrations

# --- the virtual environment ----------------------------------------------------------------------

$(BIN)/python:
	@for name in $(PYTHON) python3.11 python3.12 python3.13 python3.14 python3; do \
	  if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    $$name -m venv $(VENV) && exit 0; \
	    rm -rf $(VENV); \
	    echo "$$name cannot make virtual environments: install its venv package." >&2; exit 1; \
	  fi; \
	done; \
	echo 'Python 3.11 or newer is needed, and there is none here (or name it: make PYTHON=...).' >&2; \
	exit 1

$(READY_TO_RUN): $(BIN)/python requirements.lock
	@test -e $(READY_TO_DEVELOP) || echo 'Installing the libraries (once, about a minute)'
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(READY_TO_DEVELOP): $(BIN)/python requirements-dev.lock
	@echo 'Installing the libraries and the tools (once, about a minute)'
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $(READY_TO_RUN) $@

$(READY_TO_GENERATE): $(BIN)/python requirements-client.lock
	@echo 'Installing the generator of clients (once, some seconds)'
	@$(BIN)/python -m venv --without-pip $(CLIENT_VENV)
	@$(PIP) --python $(CLIENT_VENV)/bin/python install --require-hashes -r requirements-client.lock
	@touch $@

$(READY_TO_LOAD): $(BIN)/python requirements-load.lock
	@echo 'Installing locust (once, some seconds)'
	@$(BIN)/python -m venv --without-pip $(LOAD_VENV)
	@$(PIP) --python $(LOAD_VENV)/bin/python install --require-hashes -r requirements-load.lock
	@touch $@

$(READY_TO_FUZZ): $(BIN)/python requirements-fuzz.lock
	@echo 'Installing schemathesis (once, some seconds)'
	@$(BIN)/python -m venv --without-pip $(FUZZ_VENV)
	@$(PIP) --python $(FUZZ_VENV)/bin/python install --require-hashes -r requirements-fuzz.lock
	@touch $@
