# `make run` starts the demo, `make test` checks everything. Both make .venv first, from the locks.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTHON ?= python3
BUILD_LOCK := requirements-build.lock
PEERS := tests/peers/node_modules/.package-lock.json
FAST := tests/unit tests/contract tests/conformance tests/architecture

.PHONY: help run test check soak bench bench-setup lock clean
.DELETE_ON_ERROR:

help:
	@echo "make run          the demo: a gateway and two stand-in backends on 127.0.0.1 (Ctrl-C stops it)"
	@echo "make test         everything that can fail: format, lint, types, floors, all tests, in two processes"
	@echo "make check        the fast part of it, in half a minute"
	@echo "make soak         fuzz and chaos with full counts; writes docs/soak.md"
	@echo "make chaos        kill -9 under load with failing disks, flaky backends and a jumping clock; KILLS=50"
	@echo "make coverage     how much of gateway/ unit and integration tests reach; TESTS=\"tests/unit\" for a part"
	@echo "make bench        side by side with Postfix, rspamd and Haraka, 20 minutes (root; 'make bench-setup' installs those)"
	@echo "make lock         resolve the dependencies again and write the locks"
	@echo "make clean        remove what the above made"

run: $(VENV)/run.stamp
	@exec $(BIN)/waypost demo

# Two processes share the tests; what measures time runs after them. A test that fails beside others is run once more, alone.
test: $(VENV)/dev.stamp lint peers
	@failed=0; \
	$(BIN)/pytest -m "not alone" -n 2 --dist loadfile --durations=25 || \
		$(BIN)/pytest -m "not alone" --last-failed --last-failed-no-failures none || failed=1; \
	$(BIN)/pytest -m alone --durations=10 || failed=1; \
	exit $$failed

check: $(VENV)/dev.stamp lint
	$(BIN)/pytest -q -m "not slow" $(FAST)

.PHONY: lint
lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-logo

# The independent verifier of tests/peers; without npm its tests are skipped visibly.
.PHONY: peers
peers:
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(PEERS); \
	else echo "npm is not installed: no independent verifier"; fi

$(PEERS): tests/peers/package.json tests/peers/package-lock.json
	npm ci --prefix tests/peers --ignore-scripts --no-fund --no-audit --loglevel=error
	@touch $@

# How much of gateway/ the unit and integration tests reach, also in the processes that they start.
.PHONY: coverage
coverage: $(VENV)/dev.stamp
	rm -f .coverage .coverage.*
	-$(BIN)/coverage run -m pytest -q -p no:cacheprovider $(or $(TESTS),$(FAST) tests/integration)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --sort=cover --skip-covered

# Verifiers that are missing are skipped, and the report names them: `sh .ci/install libmail-dkim-perl opendkim rspamd`.
soak: $(VENV)/dev.stamp peers
	WAYPOST_SOAK=1 WAYPOST_SOAK_REPORT=docs/soak.md \
		$(BIN)/pytest tests/fuzz tests/differential tests/chaos tests/integration/13-attacks

.PHONY: chaos
chaos: $(VENV)/dev.stamp
	$(BIN)/python -m tests.chaos.gateway_chaos --kills $(or $(KILLS),50)

# The gateway is measured on the distribution's Python, as its image has it: other builds are up to a sixth slower.
BENCH_PYTHON ?= /usr/bin/python3
BENCH_VENV := bench/build/venv

bench: $(BENCH_VENV)/stamp
	$(BENCH_VENV)/bin/python -m bench $(BENCH)

$(BENCH_VENV)/stamp: $(BUILD_LOCK) requirements.lock pyproject.toml
	@mkdir -p bench/build
	@PYTHON="$(BENCH_PYTHON)" sh .ci/make-venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip --quiet install --require-hashes -r $(BUILD_LOCK)
	$(BENCH_VENV)/bin/pip --quiet install --require-hashes --no-build-isolation -r requirements.lock
	$(BENCH_VENV)/bin/pip --quiet install --no-deps --no-build-isolation --editable .
	@touch $@

bench-setup:
	sh bench/setup.sh

# The environment is renewed when a lock or the package's own metadata is newer than it.
$(VENV)/run.stamp: $(BUILD_LOCK) requirements.lock pyproject.toml
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || PYTHON="$(PYTHON)" sh .ci/make-venv $(VENV)
	$(PIP) install --require-hashes -r $(BUILD_LOCK)
	$(PIP) install --require-hashes --no-build-isolation -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements-dev.lock
	$(PIP) install --require-hashes --no-build-isolation -r requirements-dev.lock
	@touch $@

# Indexes and caches that only this machine knows must not reach the locks: pip's configuration is left out.
COMPILE := env -u PIP_FIND_LINKS -u PIP_INDEX_URL -u PIP_EXTRA_INDEX_URL PIP_CONFIG_FILE=/dev/null \
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes \
	--no-emit-index-url --no-emit-find-links

lock: $(VENV)/dev.stamp
	$(COMPILE) --output-file $(BUILD_LOCK) requirements-build.in
	$(COMPILE) --constraint $(BUILD_LOCK) --output-file requirements.lock pyproject.toml
	$(COMPILE) --constraint $(BUILD_LOCK) --constraint requirements.lock --extra dev \
		--output-file requirements-dev.lock pyproject.toml

clean:
	rm -rf $(VENV) var bench/build tests/peers/node_modules dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
