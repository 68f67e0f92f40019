# `make demo` and `make test` are all a newcomer needs; every step is idempotent and cached.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup dev demo test test-slow lint bench clean

help:
	@echo "make demo   set everything up and show the main job on the example journal"
	@echo "make test   the tests (make test-slow: the long ones as well)"
	@echo "make setup  environment, patched llama.cpp, default model; then $(BIN)/steerway"
	@echo "make lint   style, types, import contracts"
	@echo "make bench  head-to-head benchmarks, as ratios"

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "steerway needs Python 3.11 or newer with venv (Debian: apt install python3-venv)" >&2; exit 1; }
	@echo "== environment: $(VENV), $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/native.stamp: $(BIN)/python $(wildcard native/*.py native/*.toml native/*/* native/*/*/*)
	@echo "== llama.cpp: patched native build, 3 to 6 minutes on 2 cores the first time, seconds from the cache"
	@$(PYTHON) native/build.py --python $(BIN)/python
	@touch $@

$(VENV)/product.stamp: pyproject.toml $(VENV)/native.stamp
	@echo "== packages, about a minute"
	@$(BIN)/python -m pip install -qq --editable .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml $(VENV)/product.stamp
	@echo "== packages for tests and lint"
	@$(BIN)/python -m pip install -qq --editable ".[dev]"
	@touch $@

setup: $(VENV)/product.stamp
	@echo "== model"
	@$(BIN)/steerway model pull
	@$(BIN)/steerway model optimise --quick || echo "the model runs as shipped"

dev: $(VENV)/dev.stamp

demo: setup
	@$(BIN)/python examples/demo.py

test: setup dev
	@$(BIN)/python -m pytest -q $(ARGS)

test-slow: setup dev
	@$(BIN)/python -m pytest -q -m "slow or not slow" $(ARGS)

lint: dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup dev
	@for bench in tests/bench/bench_*.py; do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
