# Each target works on a fresh machine: it makes .venv, installs what is needed, then does its work.
# Variables: PYTHON=python3.12 (which Python builds .venv), ARGS="…" (passed on), SLOW=1 (test: slow tests too),
# WORKERS=2 (processes that share the quick tests).

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
SLOW   ?=
WORKERS ?= 2

PY        := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
MARKERS   := $(if $(SLOW),,-m "not slow" -n $(WORKERS))

.DEFAULT_GOAL := help
.PHONY: demo test test-all test-slow lint format install clean help

demo: $(INSTALLED)  ## Train configs/unet_sym.yaml on generated volumes: table, overlay, checkpoint in runs/unet_sym/
	$(PY) -m medconv fit --config configs/unet_sym.yaml $(ARGS)

test: lint  ## Lint, types and the quick tests (SLOW=1: all tests)
	$(PY) -m pytest $(MARKERS) $(ARGS)

test-all:  ## Lint, types and every test
	@$(MAKE) --no-print-directory test SLOW=1

test-slow: $(INSTALLED)  ## Only the tests marked slow
	$(PY) -m pytest -m slow $(ARGS)

lint: $(INSTALLED)  ## ruff (rules and format) and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(INSTALLED)  ## Let ruff mend what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

install: $(INSTALLED)  ## Only make .venv and install

$(INSTALLED): pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "expected a Python 3.11 or newer called '$(PYTHON)', found none; name one: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "expected Python 3.11 or newer, '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1); name another: make PYTHON=python3.12" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(PY) -m pip install --quiet -e ".[dev]"
	@touch $@

clean:  ## Remove caches and built files (not .venv, runs/ or data/)
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path "./$(VENV)/*" -prune -exec rm -rf {} +

help:  ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
