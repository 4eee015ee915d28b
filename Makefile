# Bare `make` lists the targets. Each makes .venv on first use and refills it when pyproject.toml
# changes. Another interpreter: make PYTHON=python3.12 test
PYTHON ?= python3
VENV := .venv
CRASHES := tests/crash tests/recovery tests/rot tests/threads tests/fuzz tests/postgres tests/cli/test_copy.py \
  tests/embedded/test_interleavings.py tests/embedded/test_interleaved_syncs.py \
  tests/property/test_metamorphic.py
OF_ENGINES := tests/conformance tests/embedded tests/blocks tests/recovery tests/rot tests/unit \
  tests/golden tests/threads/test_histories.py tests/threads/test_lock_free.py tests/crash/test_backup.py \
  tests/crash/test_repair.py tests/crash/test_import.py tests/crash/test_full.py \
  tests/property/test_state_machine.py --deselect tests/embedded/test_interleavings.py \
  --deselect tests/embedded/test_interleaved_syncs.py
# One process of tests for each core; who is done takes over from the others.
SPREAD := -n auto --dist worksteal
BIN := $(VENV)/bin
STAMP := .installed-$(subst /,_,$(PYTHON))
FOR_DEMO := $(VENV)/$(STAMP)-cli
FOR_WORK := $(VENV)/$(STAMP)-dev
FOR_BENCH := $(VENV)/$(STAMP)-bench
# The compiled build has an environment of its own: what is installed there is no link to the sources.
COMPILED := .venv-compiled
FOR_COMPILED := $(COMPILED)/$(STAMP)
OF_COMPILED := tests/conformance tests/embedded tests/blocks tests/property tests/unit tests/parts \
  tests/golden tests/recovery tests/threads tests/crash tests/fuzz tests/house/test_compiled.py tests/house/test_wheel.py
# A Python that is too old, and one that is not there, get the same answer.
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
VERSION := import sys; print(sys.version_info[:2])
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check

.PHONY: help demo test compiled coverage lint types bench crash crash-long fuzz fmt
.NOTPARALLEL:

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s  %s\n", $$1, $$2}' Makefile

demo: $(FOR_DEMO)  ## replay a real homeserver's history and serve it back
	@$(BIN)/conduitstore demo

test: $(FOR_WORK)  ## run every test
	FAULTS_AT_LEAST=10000 $(BIN)/pytest $(SPREAD)

compiled: $(FOR_COMPILED)  ## build the engine with mypyc and a C compiler, and test that
	CONDUITSTORE_COMPILE=1 $(COMPILED)/bin/pytest $(SPREAD) --timeout=900 $(OF_COMPILED)

crash: $(FOR_WORK)  ## crash, fail and kill the engine, some minutes of it
	CRASH_SEEDS=2 CRASH_ROUNDS=$${CRASH_ROUNDS:-250} PARTS_EVERY=5 ROT_EVERY=5 ROT_BITS=10000 \
	  RECOVERY_EVERY=5 INTERLEAVE_EVERY=61 INTERRUPT_EVERY=17 HISTORY_SEEDS=5 FUZZ_RUNS=60 \
	  FAULTS_AT_LEAST=100000 $(BIN)/pytest $(SPREAD) --timeout=900 $(CRASHES)

crash-long: $(FOR_WORK)  ## the same at every point and for longer, some half an hour; the variables say how long
	CRASH_SEEDS=$${CRASH_SEEDS:-4} CRASH_ROUNDS=$${CRASH_ROUNDS:-1000} PARTS_EVERY=1 ROT_EVERY=1 \
	  RECOVERY_EVERY=1 ROT_BITS=$${ROT_BITS:-10000} ROT_GROUP=$${ROT_GROUP:-8} \
	  INTERLEAVE_EVERY=$${INTERLEAVE_EVERY:-17} INTERRUPT_EVERY=$${INTERRUPT_EVERY:-7} \
	  HISTORY_SEEDS=$${HISTORY_SEEDS:-20} FUZZ_RUNS=$${FUZZ_RUNS:-200} \
	  METAMORPHIC_TOTAL=$${METAMORPHIC_TOTAL:-400} SERVER_FAULTS=$${SERVER_FAULTS:-3} \
	  FAILOVERS=$${FAILOVERS:-3} COPY_ROUNDS=$${COPY_ROUNDS:-25} \
	  FAULTS_AT_LEAST=200000 $(BIN)/pytest $(SPREAD) --timeout=3600 $(CRASHES)

fuzz: $(FOR_WORK)  ## fuzz every decoder; FUZZ_SECONDS says how long each
	@$(PIP) atheris || echo "atheris cannot be installed here: our own fuzzer goes on without it"
	$(BIN)/python tools/fuzz.py --seconds $${FUZZ_SECONDS:-10}

coverage: $(FOR_WORK)  ## which lines and branches of the engines the tests of engines run
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q $(SPREAD) --timeout=900 -k "not postgres" $(OF_ENGINES)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(FOR_WORK)  ## check style, formatting and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(FOR_WORK)  ## check types, strictly
	$(BIN)/mypy
	$(BIN)/mypy tests/typing tools benchmarks

bench: $(FOR_BENCH)  ## compare with LMDB, RocksDB, LevelDB and SQLite, side by side in one run
	$(BIN)/python benchmarks/compare.py

fmt: $(FOR_WORK)  ## format the code and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The virtual environment: emptied when the interpreter's version changed, else refilled.
$(VENV)/$(STAMP): pyproject.toml
	@$(PYTHON) -c '$(IS_NEW_ENOUGH)' || { \
	  echo "conduitstore needs Python 3.11 or newer; '$(PYTHON)' is not. Try: make PYTHON=python3.12"; \
	  exit 1; }
	@test "$$($(BIN)/python -c '$(VERSION)' 2>&1)" = "$$($(PYTHON) -c '$(VERSION)')" \
	  || $(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(FOR_DEMO): $(VENV)/$(STAMP)
	@echo "Installing conduitstore into $(VENV) ..."
	@$(PIP) --editable '.[cli]'
	@touch $@

$(FOR_WORK): $(VENV)/$(STAMP)
	@echo "Installing conduitstore and its development tools into $(VENV) ..."
	@$(PIP) --editable '.[dev]'
	@touch $(FOR_DEMO) $@

$(FOR_COMPILED): setup.py pyproject.toml $(shell find conduitstore migrations -name '*.py')
	@$(PYTHON) -m venv $(COMPILED)
	@echo "Compiling conduitstore into $(COMPILED) ..."
	@rm -rf build
	@CONDUITSTORE_COMPILE=1 $(COMPILED)/bin/python -m pip install --quiet --quiet \
	  --disable-pip-version-check '.[dev]'
	@touch $@

$(FOR_BENCH): $(FOR_WORK)
	@echo "Installing what conduitstore is compared with into $(VENV) ..."
	@$(PIP) --editable '.[bench]'
	@touch $@
