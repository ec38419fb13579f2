# Everything a person or CI does with this checkout. `make` alone lists it.
#
# A stamp file stands for each thing that was installed and lives inside it, so that a second run does nothing,
# and deleting .venv or node_modules also deletes the claim that they are complete.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
NODE := tests/node

# -qq leaves errors only. pip builds the project with hatchling in an environment of its own, which -c does not reach;
# that one reads the two variables, the first in pip before 25.3 and the second since. The path is relative because
# pip would split an absolute one at a space.
PIP_INSTALL := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
  $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

# Where the tests keep their databases: in memory if there are 2 GB to spare, because half of the time of a test over
# SQLite is spent waiting for the disk. Fault tests stay on the disk.
TEST_FOLDER := $(shell df -k --output=avail /dev/shm 2>/dev/null | awk 'NR == 2 && $$1 > 2000000 { print "/dev/shm" }')

.DEFAULT_GOAL := help
.PHONY: help setup run test faults check bench fmt clean node-packages

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(VENV)/.runtime ## Make .venv with the program: .venv/bin/userfold

run: $(VENV)/.runtime ## Start the server: make run ARGS="--port 9000"
	@exec $(BIN)/userfold serve $(ARGS)

test: $(VENV)/.dev node-packages ## Run every test but the slow fault tests: make test ARGS="tests/core -x"
	PYTEST_DEBUG_TEMPROOT=$(TEST_FOLDER) $(BIN)/python -m pytest -n auto $(ARGS)

faults: $(VENV)/.dev ## Run the slow fault tests
	$(BIN)/python -m pytest -m faults $(ARGS)

# bench is named only where it exists because mypy refuses a folder that does not.
check: $(VENV)/.dev ## Check format, lint, types and the floors
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy src tests $(wildcard bench)
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/.dev ## Run the benchmarks: make bench ARGS=...
	$(BIN)/python -m bench $(ARGS)

# Lint first: its repairs may need formatting.
fmt: $(VENV)/.dev ## Format, and repair what the linter can
	$(BIN)/ruff check --fix --exit-zero
	$(BIN)/ruff format

# userfold-data stays: it holds users.
clean: ## Remove what make and the tools made, but no data
	rm -rf $(VENV) $(NODE)/node_modules dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .schemathesis
	find src tests $(wildcard bench) -name __pycache__ -type d -prune -exec rm -rf {} +

# Asked before venv is made, because Python's own errors for all three are long and do not say what to do.
$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "Userfold needs Python 3.11 or newer, and there is no $(PYTHON) here. Another one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Userfold needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Another one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Making $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing Userfold into $(VENV)"
	@$(PIP_INSTALL) -e .
	@touch $@

# The dev extra brings the runtime too, hence both stamps.
$(VENV)/.dev: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing Userfold and its development tools into $(VENV)"
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $(VENV)/.runtime $@

# Node is optional on a developer's machine, where the tests that need it say that they were skipped. In CI a
# skipped test would look like a passed one.
node-packages:
	@if command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' 2>/dev/null; then \
	  $(MAKE) -s --no-print-directory $(NODE)/node_modules/.installed; \
	elif [ "$$CI" = true ]; then \
	  echo "Node.js 20 or newer with npm is missing, and CI must run the tests of the vendors' own clients." >&2; exit 1; \
	else \
	  echo "No Node.js 20 or newer with npm here: the tests of the vendors' own clients cannot run." >&2; \
	fi

$(NODE)/node_modules/.installed: $(NODE)/package.json $(NODE)/.npmrc
	@echo "Installing the vendors' own clients into $(NODE)/node_modules"
	@cd $(NODE) && npm install --no-package-lock --no-audit --no-fund --loglevel=error
	@touch $@
