# Entry points for contributors. Every target creates .venv if it is missing and reuses it afterwards; the compiled core
# is rebuilt when its sources change.
#   make demo     train word vectors on your Python's documentation, and explore them
#   make test     the test suite          make lint   ruff and pyright; clang-format and clang-tidy
#   make nightly  the suite with its slow tests, and its numerical part at all SIMD levels of the processor
#   make campaign  kills, damaged files and full disks for BUDGET=60 minutes; SEED= repeats a run
#   make sanitize  the core's tests with address, undefined-behaviour and thread sanitizers
#   make numerics  the suite's numerical part at each lower SIMD level, as on older processors
#   make docs     the documentation       make bench  speed and quality against gensim: make bench CORPUS=FILE
#   make compare  every output layer in one language model on your text: make compare TEXT=FILE
#   make bench-layers  output layers against torch's: time, memory, parameters
#   make bench-proposals  drawing samples, against torch's
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PYTEST_ARGS ?=
# One thread per worker: with two torch threads in each of two workers they would compete for the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
CORPUS ?=
TEXT ?=
COMPARE_ARGS ?=
BENCH_ARGS ?=
BUDGET ?= 60
SEED ?=
export PYTHONUTF8 := 1

BUILD_INPUTS := pyproject.toml CMakeLists.txt constraints.txt $(shell find src/core -type f) \
	$(shell find src/vastmax -type d -not -name __pycache__)
BUILD_TOOLS := scikit-build-core nanobind cmake ninja


.PHONY: help demo compare test nightly campaign sanitize numerics lint format docs reference serve bench bench-layers bench-proposals clean

help:
	@sed -n '3,14s/^# *//p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "vastmax needs Python 3.10 or newer, this is %d.%d; name another one with: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)

# Stages of one environment: to run without torch, with torch, and for development. Building without pip's build
# isolation keeps the build tree, so that a change to one C++ file recompiles only that file. The demo
# does not import scipy but reads it: with its docstrings even a bare Python has over a million words of documentation.
$(VENV)/.installed: $(BUILD_INPUTS) | $(BIN)/python
	$(PIP) $(BUILD_TOOLS)
	$(PIP) --no-build-isolation --editable . scipy
	@touch $@

$(VENV)/.installed-torch: $(BUILD_INPUTS) | $(BIN)/python
	$(PIP) $(BUILD_TOOLS)
	$(PIP) --no-build-isolation --editable '.[torch,report]'
	@touch $@

$(VENV)/.installed-dev: $(BUILD_INPUTS) | $(BIN)/python
	$(PIP) $(BUILD_TOOLS)
	$(PIP) --no-build-isolation --editable '.[dev,docs]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-torch

demo: $(VENV)/.installed
	$(BIN)/vastmax demo

compare: $(VENV)/.installed-torch
	@test -n "$(TEXT)" || { echo "name your text: make compare TEXT=corpus.txt"; exit 1; }
	$(BIN)/vastmax compare "$(TEXT)" -o comparison $(COMPARE_ARGS)

test: $(VENV)/.installed-dev
	$(PYTEST) $(PYTEST_ARGS)

nightly: $(VENV)/.installed-dev
	$(PYTEST) -m "slow or not slow" $(PYTEST_ARGS)
	$(BIN)/python -m tests.numerics

campaign: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.campaign --minutes $(BUDGET) $(if $(SEED),--seed $(SEED))

numerics: $(VENV)/.installed-dev
	$(BIN)/python -m tests.numerics $(PYTEST_ARGS)

sanitize: $(VENV)/.installed-dev
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m tests.sanitized address,undefined
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m tests.sanitized thread

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/codespell *.md docs src benchmarks examples studies
	$(BIN)/python -m tests.prose
	find src/core -type f | xargs $(BIN)/clang-format --dry-run --Werror
	@$(BIN)/cmake --fresh -S . -B build/lint -DPython_EXECUTABLE=$(abspath $(BIN)/python) \
		-Dnanobind_DIR="$$($(BIN)/python -m nanobind --cmake_dir)" > /dev/null
	find src/core -name '*.cpp' | xargs -P "$$(getconf _NPROCESSORS_ONLN)" -n 1 $(BIN)/clang-tidy -p build/lint --quiet

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	find src/core -type f | xargs $(BIN)/clang-format -i

docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

reference: $(VENV)/.installed-dev
	$(BIN)/python -m vastmax.cli.reference > docs/cli.md

serve: $(VENV)/.installed-dev
	$(BIN)/mkdocs serve

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/embeddings.py $(CORPUS) $(BENCH_ARGS)

bench-layers: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/layers.py $(BENCH_ARGS)

bench-proposals: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/proposals.py $(BENCH_ARGS)

clean:
	rm -rf build site .pytest_cache .ruff_cache .hypothesis
