# Every target works alone on a machine that has only make and Python 3.11 or newer: it makes .venv first.
# The interpreter is chosen by hand with `make setup PYTHON=/path/to/python3.13`.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.bench-installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	--no-emit-index-url --no-annotate --no-header

.DEFAULT_GOAL := help
.PHONY: help setup test exhaustive bench bench-full sim replay lint docs demo lock clean

# How large the tests' campaigns are in `make exhaustive`; each has a small default where it is read.
CAMPAIGNS := GENERATED_FILES=3000 SCHEDULE_SEEDS=1000 REPORT_EXAMPLES=3000 JOURNAL_CRASHES=40 SIMULATION_SEEDS=1000 \
	STRANGERS_SEEDS=1000 CRASH_POINTS=all POWER_CUTS=1000 MACHINE_EXAMPLES=3000 FORECASTS=40

help: ## print this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv and install the package into it, every dependency checked against its hash

# Made anew whenever the lock or the package's own description changes.
$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; install one, or give PYTHON=/path/to/python3" >&2; exit 2; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "make: python -m venv failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	@echo "Installing into $(VENV) (once) ..."
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# Four workers on two cores, for half of their time most tests wait for a disk or for another process.  In the order of
# their names, files that take long come first and the short ones of tests/unit fill the end.
test: lint ## everything that must be green before a change is shared
	$(BIN)/python -m pytest --quiet --numprocesses 4 --dist loadfile --no-loadscope-reorder

exhaustive: lint ## the same with campaigns of thousands of seeds, files and crashes
	$(CAMPAIGNS) $(BIN)/python -m pytest --quiet --numprocesses 2 --dist loadfile

SEEDS ?= 0..100
sim: $(STAMP) ## live through simulated worlds: make sim SEEDS=0..100
	@$(BIN)/python -m tests.simulation.campaign $(SEEDS)

replay: $(STAMP) ## live through one again, twice, and tell what happened: make replay SEED=7
	@test -n "$(SEED)" || { echo "make: say which: make replay SEED=7" >&2; exit 2; }
	@$(BIN)/python -m tests.simulation.campaign $(SEED)

bench: $(BENCH_STAMP) ## measure what is promised, write bench/results.json and the README; at most 15 minutes
	@$(BIN)/python -m bench

bench-full: $(BENCH_STAMP) ## the same with large files everywhere
	@$(BIN)/python -m bench --full

# What is compared with comes into the same environment, and only for the benchmarks.
$(BENCH_STAMP): $(STAMP) bench/requirements.lock
	@echo "Installing what the benchmarks compare with (once) ..."
	@$(PIP) install --require-hashes --requirement bench/requirements.lock
	@touch $@

lint: $(STAMP) ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP) ## write anew what follows from the code: the reference, and what becomes of malformed input
	$(BIN)/python -m tests.docs_reference
	$(BIN)/python -m bench.malformed

demo: $(STAMP) ## start a local Marketo, import a generated file of about 100 MB into it, write the report
	@$(BIN)/orchestrator demo; code=$$?; test $$code -eq 3 || exit $$code

lock: $(STAMP) ## write requirements.lock and bench/requirements.lock anew
	$(COMPILE) --extra dev --output-file requirements.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --output-file bench/requirements.lock bench/requirements.in

clean: ## remove .venv and everything that tools leave behind
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* build dist
