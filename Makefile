# make study        search real prices and write a config to reuse
# make test         the quick tests
# make test-slow    the tests that take minutes: crashes, a browser, the tutorial at full size
# make check        ruff, formatting, mypy
# make bench        foretune and its peers on the same work, side by side, speed and accuracy; hours
# make calibration  how often the verdict is right where the truth is known; a quarter of an hour
# make dashboard    look at the studies in a browser: STORAGE=sqlite:///foretune.db PORT=8080
# make clean        remove what can be made again; studies and results stay

PYTHON ?= python3
STORAGE ?= sqlite:///foretune.db
PORT ?= 8080
BIN := .venv/bin

# Compiled programs are kept between runs, so that a second run of the tests starts at once.
TEST_CACHE := $(CURDIR)/.cache/jax

.PHONY: help study test test-slow check bench calibration dashboard clean

help:
	@sed -n 's/^# make/make/p' $(firstword $(MAKEFILE_LIST))

study: .venv/installed
	$(BIN)/python -m foretune.studies.quickstart

test: .venv/installed
	JAX_COMPILATION_CACHE_DIR="$(TEST_CACHE)" $(BIN)/pytest -n 2 -m "not slow"

test-slow: .venv/installed
	JAX_COMPILATION_CACHE_DIR="$(TEST_CACHE)" $(BIN)/pytest -m slow

check: .venv/installed .typing/foretune
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed .venv-bench/installed
	$(BIN)/python tests/benchmarks/run.py --peers .venv-bench
	$(BIN)/python tests/benchmarks/accuracy.py --peers .venv-bench

calibration: .venv/installed
	$(BIN)/python -m foretune.studies.calibration --docs docs/calibration.md

dashboard: .venv/installed
	$(BIN)/foretune dashboard --storage $(STORAGE) --port $(PORT)

clean:
	rm -rf .venv .venv-bench .cache .typing .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "foretune needs Python 3.11 or newer, but $(PYTHON) is " + sys.version)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

# The CPU build of PyTorch first: what asks for torch later is content with it.
.venv-bench/installed: tests/benchmarks/peers/requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet torch==2.13.0
	.venv-bench/bin/pip install --quiet --requirement $<
	touch $@

# mypy does not see setuptools' import hook, so it gets the namespace package as links.
.typing/foretune: pyproject.toml
	mkdir -p $@
	for part in datasets models search studies; do ln -sfn ../../$$part $@/$$part; done
	touch $@
