# Every verb makes its own environment first; nothing but Python 3.11 or later is needed.
#   PYTHON=…  the interpreter the environment is made from (default: the first that is new enough)
#   ARGS=…    passed on to the command, as in: make test ARGS="-k cancel"

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup run demo test chaos bench check protos sync format

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make the environment in .venv

run: $(STAMP) ## start the server with the example agents
	@$(BIN)/runwire serve --config examples/langgraph.json $(ARGS)

demo: $(STAMP) ## show the main job in one terminal
	@$(BIN)/python examples/demo.py $(ARGS)

test: $(STAMP) ## run the whole test suite
	@$(BIN)/pytest -n 3 --dist worksteal $(ARGS)

chaos: $(STAMP) ## run the long tests that kill servers over and over
	@$(BIN)/pytest -m chaos --timeout 1800 $(ARGS)

bench: $(STAMP) ## measure a real server against LangGraph in process
	@$(BIN)/python -m benchmarks $(ARGS)

check: $(STAMP) ## everything that is checked without running the server
	$(BIN)/python protos/generate.py --check
	$(BIN)/python client/make_sync.py --check
	$(BIN)/python client/make_cli_docs.py --check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	@released=$$(git describe --tags --match 'v*' --abbrev=0 2>/dev/null) || exit 0; \
	echo "$(BIN)/buf breaking --against .git#tag=$$released"; \
	$(BIN)/buf breaking --against ".git#tag=$$released"
	$(BIN)/hadolint Dockerfile

protos: $(STAMP) ## format the contract and generate its code
	$(BIN)/buf format --write
	$(BIN)/python protos/generate.py

sync: $(STAMP) ## make the synchronous client, and the page about the command line
	$(BIN)/python client/make_sync.py
	$(BIN)/python client/make_cli_docs.py

format: $(STAMP) ## format code and contract, and fix what can be fixed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/buf format --write

# The stamp is older than pyproject.toml whenever a dependency may have changed.
$(STAMP): pyproject.toml
	@python="$(PYTHON)"; \
	for candidate in python3 python3.14 python3.13 python3.12 python3.11; do \
		[ -z "$$python" ] || break; \
		if $$candidate -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
		then python=$$candidate; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "Runwire needs Python 3.11 or later with its venv module (Debian: apt-get install" \
			"python3-venv). Is it elsewhere? Say: make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		echo "Making $(VENV) with $$python (a minute or two, once)"; \
		"$$python" -m venv --clear $(VENV); \
	fi
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[server,dev]'
	@touch $@
