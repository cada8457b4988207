# make demo | test | check | bench | lock. Each does all its own set-up, inside .venv only.
PORT ?= 8080
DATA_DIR ?= .data/demo
PYTHON ?=
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
UV := UV_NO_PROGRESS=1 VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip
# Compiling at install time would be paid by those who only check; importing compiles what is used.
STAMP_VENV := $(VENV)/.stamp-venv
STAMP_RUNTIME := $(VENV)/.stamp-runtime
STAMP_DEV := $(VENV)/.stamp-dev
# What is compiled when the product is installed.
COMPILED := $(wildcard src/wedsync_apm/*/*.pyx src/wedsync_apm/*/*.pxd)
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

.PHONY: help demo test check bench lock

help:
	@echo "make demo   the product with its demo on http://127.0.0.1:$(PORT) (PORT=, DATA_DIR=)"
	@echo "make test   every test (ARGS= goes to pytest)"
	@echo "make check  format, lint, types, import layers, SQL lints"
	@echo "make bench  the benchmarks; writes benchmarks/results/"
	@echo "make lock   locks the requirements anew (UPGRADE=1 for newer versions)"

demo: $(STAMP_RUNTIME)
	@exec $(BIN)/wedsync-apm up --demo --port "$(PORT)" --data-dir "$(DATA_DIR)"

test: $(STAMP_DEV)
	@sh .ci/browser
	@# Hundreds of processes import the same files: compiled once, whatever the environment says of it.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(STAMP_DEV)
	@$(BIN)/ruff format --check --quiet . --output-format concise && $(BIN)/ruff check --quiet --output-format concise . && echo "format, lint: fine"
	@$(BIN)/mypy src tests
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m tests.support.sql_lint

bench: $(STAMP_DEV)
	@$(BIN)/python -m benchmarks $(ARGS)

lock: $(STAMP_VENV)
	$(LOCK) $(if $(UPGRADE),--upgrade) requirements/runtime.in -o requirements/runtime.txt
	$(LOCK) $(if $(UPGRADE),--upgrade) -c requirements/runtime.txt requirements/dev.in -o requirements/dev.txt
	$(LOCK) $(if $(UPGRADE),--upgrade) -c requirements/dev.txt requirements/setup.in -o requirements/setup.txt
	for clients in requirements/clients-*.in; do $(LOCK) $(if $(UPGRADE),--upgrade) "$$clients" -o "$${clients%.in}.txt" || exit 1; done

$(STAMP_VENV): requirements/setup.txt
	@python=$$(sh .ci/find-python "$(PYTHON)") && \
	if [ ! -x $(BIN)/python ]; then echo "making $(VENV) with $$python"; "$$python" -m venv $(VENV) || { \
	echo "Could not make $(VENV). On Debian and Ubuntu the package python3-venv is needed." >&2; rm -rf $(VENV); exit 1; }; fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/setup.txt
	@touch $@

# What the product needs, for those who only want to see it.
$(STAMP_RUNTIME): $(STAMP_VENV) requirements/runtime.txt pyproject.toml $(COMPILED)
	@echo "installing what the product needs"
	@$(UV) install --quiet --require-hashes -r requirements/runtime.txt
	@$(UV) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(STAMP_DEV): $(STAMP_VENV) requirements/dev.txt pyproject.toml $(COMPILED)
	@echo "installing what the tests and checks need"
	@$(UV) sync --quiet --require-hashes requirements/dev.txt
	@$(UV) install --quiet --no-deps --no-build-isolation -e .
	@touch $(STAMP_RUNTIME) $@
