# Two commands on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.

VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
DATA ?= var/demo
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
# One virtual environment; what development needs is a superset of what running needs.
READY_TO_RUN := $(VENV)/.ready-to-run
READY_TO_DEVELOP := $(VENV)/.ready-to-develop

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test check fix openapi migration

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(READY_TO_RUN) ## Make .venv/bin/snp, the command line

demo: $(READY_TO_RUN) ## Serve the Indre of 2022 on this machine (PORT=8000 DATA=var/demo)
	@$(BIN)/snp demo --port $(PORT) --data-dir $(DATA)

test: $(READY_TO_DEVELOP) ## Run all tests on a real PostgreSQL
	@$(BIN)/pytest -n auto --dist loadgroup

check: $(READY_TO_DEVELOP) ## Look for faults without running tests; changes nothing
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python scripts/check_migrations.py
	@$(BIN)/snp openapi --output openapi/openapi.json --check
	@$(if $(wildcard scripts/build_docs.py),$(BIN)/python scripts/build_docs.py --check)

fix: $(READY_TO_DEVELOP) ## Mend what can be mended by itself
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

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
