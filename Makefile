# Everything runs in .venv, which each target sets up when it is missing or out of date.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help install lock audit train test test-cases test-slow test-faults fuzz check docs format dashboard clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-11s  %s\n", $$1, $$2}'

install: $(READY)  ## set up .venv with the files whose SHA-256 is in requirements.lock

PIP_INSTALL := $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation

$(READY): pyproject.toml $(wildcard requirements*.lock)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP_INSTALL) --require-hashes -r requirements-build.lock
	# A build of PyTorch without CUDA is a tenth as large; without one at hand this ends at once.
	$(PIP_INSTALL) --require-hashes --no-index -r requirements-cpu.lock 2> /dev/null || true
	$(PIP_INSTALL) --require-hashes -r requirements.lock
	! $(BIN)/python -m pip show torch | grep -q nvidia || $(PIP_INSTALL) --require-hashes -r requirements-cuda.lock
	$(PIP_INSTALL) -e .
	touch $@

TOOLS := .tools/.ready

$(TOOLS): Makefile
	test -x .tools/bin/python || $(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet uv==0.13.9 pip-audit==2.10.1
	touch $@

lock: $(TOOLS)  ## rewrite requirements*.lock from pyproject.toml and constraints.txt
	.ci/lock

audit: $(TOOLS)  ## known vulnerabilities of what requirements*.lock pin; needs a network
	@.tools/bin/pip-audit --strict --disable-pip --require-hashes --timeout 15 --progress-spinner off \
	  -r requirements.lock -r requirements-cuda.lock -r requirements-build.lock || \
	  { echo "make audit: something above is vulnerable, or could not be looked up (is there a network?)." >&2; exit 1; }

train: $(READY)  ## train the default: MiniLM frozen, a BiLSTM on top, the embedded reviews
	$(BIN)/python -m src.train

test: $(READY)  ## the usual case of every test: below ten minutes on two cores
	$(BIN)/python -m pytest -n auto --maxprocesses 4 -m 'not slow' --cases usual

test-cases: $(READY)  ## the other cases: quarter of an hour more
	$(BIN)/python -m pytest -n auto --maxprocesses 4 -m 'not slow' --cases other

test-slow: $(READY)  ## the slow tests, about half an hour: the real backbone, sweeps, clusters, killed runs, browsers
	$(BIN)/python -m pytest -n auto --maxprocesses 4 -m slow

test-faults: $(READY)  ## kill fifty runs at random, fill disks, damage files: six minutes
	$(BIN)/python -m pytest tests/faults --kills 50

fuzz: $(READY)  ## random bytes for the readers of data files, for ten minutes
	$(BIN)/python -m pip install --quiet atheris==3.0.0
	$(BIN)/python -m tests.tables.fuzz_readers

check: $(READY)  ## lint, format, types, and which room may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)  ## build the documentation into docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --jobs auto docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

format: $(READY)  ## put the code into the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What TensorBoard pins above all other charts: the losses and the accuracy of validation.
PINNED := %5B%7B%22plugin%22%3A%22scalars%22%2C%22tag%22%3A%22validation%2Floss%22%7D%2C%7B%22plugin%22%3A%22scalars%22%2C%22tag%22%3A%22validation%2Faccuracy%22%7D%2C%7B%22plugin%22%3A%22scalars%22%2C%22tag%22%3A%22train%2Floss%22%7D%5D

dashboard: $(READY)  ## TensorBoard over all runs
	@echo 'With losses and accuracy first: http://localhost:6006/?pinnedCards=$(PINNED)#timeseries'
	$(BIN)/tensorboard --logdir outputs

clean:  ## remove .venv, .tools and what tools leave; outputs/ stays
	rm -rf .venv .tools .hypothesis .pytest_cache .mypy_cache .ruff_cache *.egg-info docs/_build docs/api docs/configuration
