# Every command a developer needs. `make demo` shows the product, `make test` tests it; `make help` lists the rest.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
NODE := tests/sdk/node_modules
PORT ?= 8000
EMULATOR_PORT ?= 9201
# The suite's PostgreSQL. Empty: .ci/postgres starts a throw-away server from the installed packages.
TEST_POSTGRES_URL ?=
WORKERS ?= 2
CHAOS_MINUTES ?= 10
CHAOS_RATE ?= 50

.DEFAULT_GOAL := help
.PHONY: help demo test test-sqlite test-postgres check format sdk vendor screenshots bench chaos clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.run ## Run everything with a local Microsoft beside it (PORT=8000 EMULATOR_PORT=9201)
	@exec $(BIN)/python -m dashboard.demo --port $(PORT) --emulator-port $(EMULATOR_PORT)

test: test-sqlite test-postgres ## Run the whole suite on SQLite and on PostgreSQL, browser tests included

test-sqlite: $(VENV)/.dev $(NODE)/.made tests/server_helpers/node_modules/.made tests/pages/node_modules/.made tests/vendor/node_modules/.made
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

# Without the browser tests: pages, the SDK and scripts are the same on both databases.
test-postgres: $(VENV)/.dev
	@url=$$(TEST_POSTGRES_URL='$(TEST_POSTGRES_URL)' .ci/postgres start) || exit 1; \
	 DATABASE_URL=$$url $(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not browser" \
		--ignore tests/sdk --ignore tests/server_helpers --ignore tests/vendor; code=$$?; \
	 .ci/postgres stop "$$url"; exit $$code

check: $(VENV)/.dev ## Format, lint, types and missing migrations; fast enough for every commit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python manage.py makemigrations --check --dry-run
	DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python manage.py check --fail-level ERROR

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

sdk: $(NODE)/.made ## Minify static/sdk/source to what pages load
	node tests/sdk/build.mjs

vendor: $(VENV)/.dev tests/vendor/node_modules/.made ## Cut Tabler, Chart.js and the fonts to what pages use
	node tests/vendor/build.mjs
	$(BIN)/python -m tests.vendor.fonts

screenshots: $(VENV)/.dev ## Draw every page into docs/screenshots, light, dark and on a phone
	$(BIN)/python -m tests.pages.screenshots

bench: $(VENV)/.dev ## Measure against ceilings of the same run (docs/performance.md)
	@url=$$(TEST_POSTGRES_URL='$(TEST_POSTGRES_URL)' .ci/postgres start durable) || exit 1; \
	 $(BIN)/python -m tests.bench --postgres "$$url"; code=$$?; \
	 .ci/postgres stop "$$url"; exit $$code

chaos: $(VENV)/.dev ## Kill processes at random under load, then compare the books (CHAOS_MINUTES=10 CHAOS_RATE=50)
	@url=$$(TEST_POSTGRES_URL='$(TEST_POSTGRES_URL)' .ci/postgres start) || exit 1; \
	 $(BIN)/python -m tests.chaos --postgres "$$url" --minutes $(CHAOS_MINUTES) --rate $(CHAOS_RATE); code=$$?; \
	 .ci/postgres stop "$$url"; exit $$code

clean: ## Delete the virtual environment and the demo's data
	rm -rf $(VENV) .demo tests/*/node_modules

# The virtual environment. A stamp is made only when its install has ended, so an interrupted one is done again.

$(VENV)/.run: requirements.txt
	@$(MAKE) --no-print-directory $(VENV)/.made
	@echo "Installing what Convultra runs on ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt
	@$(MAKE) --no-print-directory $(VENV)/.made
	@echo "Installing what building and testing needs ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/.run

# What tests need of npm. Without it they are skipped, or fail where CI is set, so a machine without it is no error here.
tests/%/node_modules/.made: tests/%/package.json tests/%/package-lock.json
	@echo "Installing what tests/$* needs of npm ..."
	@npm --prefix tests/$* ci --silent --ignore-scripts --no-audit --no-fund && touch $@ \
	 || echo "npm is missing or failed (Debian: apt-get install npm); tests that need it are skipped"

$(VENV)/.made:
	@command -v "$(PYTHON)" >/dev/null || { echo "Convultra needs Python 3.11 or newer, and there is no $(or $(PYTHON),python3). Install it, or name one: make demo PYTHON=/path/to/python3.11"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "Convultra needs Python 3.11 or newer; $(PYTHON) is older. Name another: make demo PYTHON=/path/to/python3.11"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module. On Debian: apt-get install python3-venv"; exit 1; }
	@"$(PYTHON)" -m venv --clear $(VENV)
	@touch $@

# What builds and checks the browser SDK.
$(NODE)/.made: tests/sdk/package.json tests/sdk/package-lock.json
	@command -v npm >/dev/null || { echo "The browser SDK is built and checked with Node 18 or newer. On Debian: apt-get install nodejs npm"; exit 1; }
	@echo "Installing what builds the browser SDK ..."
	@npm ci --prefix tests/sdk --silent --no-audit --no-fund
	@touch $@
