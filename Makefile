# Two commands: `make run` and `make test`. Everything they need goes into .venv and node_modules, nothing else.
PORT ?= 8501
DATA_DIR ?= data
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: run test lint format

run: .venv/runtime-ready  ## Start everything on http://127.0.0.1:8501 (PORT= and DATA_DIR= move it)
	@PORT="$(PORT)" DATA_DIR="$(DATA_DIR)" exec $(BIN)/python -m credits_core serve

test: .venv/test-ready  ## Run every check there is, as CI does
	@$(BIN)/python -m tests.run

lint: .venv/test-ready
	@$(BIN)/python -m tests.run lint

format: .venv/test-ready
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: install it, or say which with make PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/runtime-ready: requirements.txt | .venv/bin/python
	@echo "Installing the pinned requirements into .venv (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/test-ready: requirements-dev.txt requirements.txt | .venv/bin/python
	@echo "Installing the pinned test requirements into .venv (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ .venv/runtime-ready
