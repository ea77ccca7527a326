# Everything a developer or an operator types. Paths are relative: the checkout may lie anywhere, spaces included.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:

# A Python 3.11 to 3.13; name another one with `make PYTHON=/path/to/python3.12 ...`
PYTHON ?=
UV_VERSION := 0.13.8
VENV := .venv
CLIENT := clients/typescript
PY := $(VENV)/bin/python
MANAGE := $(PY) manage.py
# Servers up for the command, whether `make run` is on or not
WITH := $(MANAGE) with_servers
# Who dumps and restores: here, or a container with PostgreSQL's programs
KEEPER = $(if $(COMPOSE),docker compose -f docker-compose.yml --profile backup run --rm backup,$(WITH))
export UV_LINK_MODE := copy
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PHOTO KEEP

##@ Start here

.PHONY: demo
demo: $(VENV)/.embedded ## the main job, told while it happens: PHOTO=file for your own photo, KEEP=1 to keep it running
	@$(MANAGE) demo $(if $(PHOTO),--photo "$$PHOTO") $(if $(KEEP),--keep)

.PHONY: run
run: $(VENV)/.embedded ## run everything on this machine until Ctrl-C; PORT=8010 SANDBOX_PORT=8011 for other ports
	@$(MANAGE) up

.PHONY: test
test: $(VENV)/.dev $(CLIENT)/node_modules/.made ## everything that must hold: format, lint, layers, types, migrations, OpenAPI, tests
	@$(PY) -m tests.steps

##@ Running

.PHONY: dev
dev: $(VENV)/.embedded ## like run, restarting our processes when code changes
	@$(MANAGE) up --reload

.PHONY: debug
debug: $(VENV)/.dev ## the web process under debugpy, for your editor to attach to DEBUG_PORT (5678); the rest beside it
	@$(MANAGE) with_servers --services postgres,valkey,sandbox,worker,worker-sync,worker-bulk,beat --debugger "127.0.0.1:$${DEBUG_PORT:-5678}" \
		runserver --noreload "$${HOST:-127.0.0.1}:$${PORT:-8000}"

.PHONY: stop
stop: $(VENV)/.embedded ## stop what runs from this checkout
	@$(MANAGE) up --stop

.PHONY: logs
logs: ## follow the logs of what runs
	@tail -n 20 -F var/log/*.log

.PHONY: shell
shell: $(VENV)/.embedded ## a Python shell with the models at hand
	@$(WITH) shell

.PHONY: doctor
doctor: $(VENV)/.embedded ## what this machine has and lacks for all of this
	@$(MANAGE) doctor

##@ Database

.PHONY: migrate
migrate: $(VENV)/.embedded ## bring the tables up to date
	@$(WITH) migrate

.PHONY: migrations
migrations: $(VENV)/.dev ## write migrations for changed models
	@$(WITH) makemigrations

.PHONY: seed
seed: $(VENV)/.embedded ## add what is missing of the rows that an installation begins with: prices, operations, groups
	@$(WITH) migrate --verbosity 0 && $(WITH) seed

.PHONY: rollback
rollback: $(VENV)/.embedded ## take the last migration back (asks first)
	@$(WITH) rollback

.PHONY: backup
backup: $(VENV)/.embedded ## dump the database to the storage; COMPOSE=1 in the containers
	@$(KEEPER) backup

.PHONY: restore
restore: $(VENV)/.embedded ## bring a backup back, proved before it takes the place (asks first): BACKUP=name, or the newest
	@$(KEEPER) restore $(BACKUP)

.PHONY: restore-drill
restore-drill: $(VENV)/.embedded ## show that the newest backup can be restored, its books balance and its audit log is whole
	@$(KEEPER) restore --drill $(BACKUP)

.PHONY: reset-db
reset-db: $(VENV)/.embedded ## throw the development data away and begin anew (asks first)
	@$(MANAGE) reset_db

##@ In containers (Docker with Compose 2.24 or newer, and .env from deploy/env)

.PHONY: up
up: ## everything for developing, in containers: the sandbox too
	@docker compose up --build --detach --wait

.PHONY: down
down: ## stop the containers; their volumes stay
	@docker compose --profile production --profile backup down

##@ Tests

.PHONY: test-unit
test-unit: $(VENV)/.dev ## the tests without whole stories and browsers
	@$(PY) -m pytest -n auto --maxprocesses 16 --dist loadfile -m "not scenario and not browser and not deep"

.PHONY: test-e2e
test-e2e: $(VENV)/.dev $(CLIENT)/node_modules/.made ## whole stories over HTTP, with real processes and browsers
	@$(PY) -m pytest -m "(scenario or browser) and not deep"

.PHONY: test-deep
test-deep: $(VENV)/.dev ## the same tests with bigger numbers; takes long
	@$(PY) -m pytest -n auto --maxprocesses 16 --dist loadfile --timeout 3600

.PHONY: fuzz
fuzz: $(VENV)/.dev ## every operation of the schema asked with made-up input, at length
	@$(PY) -m pytest tests/scenarios/test_schema.py --timeout 14400

.PHONY: coverage
coverage: $(VENV)/.dev ## which lines the tests never reach
	@rm -rf var/coverage && mkdir -p var/coverage
	@$(PY) -m coverage run -m pytest -m "not deep" -n auto --maxprocesses 16 --dist loadfile
	@$(PY) -m coverage combine -q && $(PY) -m coverage report --skip-covered --sort=cover

.PHONY: bench
bench: $(VENV)/.dev ## measure against named peers; prints ratios
	@for bench in $$(grep -l '__name__ == "__main__"' bench/*.py); do \
		name=$$(basename "$$bench" .py); echo "== $$name"; $(PY) -m "bench.$$name" || exit 1; done

.PHONY: photogrammetry
photogrammetry: $(VENV)/.photogrammetry ## what 3D models take (330 MB), and their tests; without it they are off

.PHONY: browser
browser: ## what browser tests need from Debian, installed by root, else named
	@if command -v chromium >/dev/null; then echo "chromium is there."; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium; \
	else echo "Browser tests are skipped without chromium: sudo apt-get install chromium"; fi

##@ Code

.PHONY: format
format: $(VENV)/.dev ## write the code in our format
	@$(PY) -m ruff format .

.PHONY: lint
lint: $(VENV)/.dev ## ruff's rules
	@$(PY) -m tests.steps lint

.PHONY: fix
fix: $(VENV)/.dev ## mend what ruff can mend, then format
	@$(PY) -m ruff check --fix . ; $(PY) -m ruff format .

.PHONY: types
types: $(VENV)/.dev ## mypy
	@$(PY) -m tests.steps types

.PHONY: layers
layers: $(VENV)/.dev ## imports go downwards only
	@$(PY) -m tests.steps layers

.PHONY: check
check: $(VENV)/.dev ## all of `make test` but the tests, and whether a dependency is known to be vulnerable
	@$(PY) -m tests.steps format lint layers types migrations openapi secrets audit

.PHONY: openapi
openapi: $(VENV)/.dev ## write docs/openapi.yaml, docs/postman.json and, where npm is, the client anew
	@ENVIRONMENT=test $(MANAGE) spectacular --api-version v1 --validate --fail-on-warn --file docs/openapi.yaml
	@ENVIRONMENT=test $(MANAGE) postman
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory client; fi

.PHONY: client
client: $(CLIENT)/node_modules/.made ## write the TypeScript client's types anew from docs/openapi.yaml, and compile it
	@cd $(CLIENT) && npm run --silent generate && npm run --silent build

.PHONY: settings
settings: $(VENV)/.dev ## write docs/settings.md anew
	@ENVIRONMENT=test $(MANAGE) settings_page > docs/settings.md

.PHONY: lock
lock: $(VENV)/.embedded ## compile requirements*.txt from pyproject.toml
	@set -e; uv="$(PY) -m uv pip compile -q --python-version 3.11 --universal --no-header"; \
	$$uv pyproject.toml -o requirements.txt; \
	$$uv pyproject.toml --extra embedded -c requirements.txt -o requirements-embedded.txt; \
	$$uv pyproject.toml --extra embedded --extra dev -c requirements-embedded.txt -o requirements-dev.txt; \
	$$uv pyproject.toml --extra photogrammetry -c requirements-dev.txt -o requirements-photogrammetry.txt

.PHONY: clean
clean: ## remove caches and the virtual environment; var/ stays
	@rm -rf $(VENV) $(CLIENT)/node_modules $(CLIENT)/dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile
	@echo

# --- The virtual environment: made once, filled anew when the pinned requirements change ------------------------------

$(VENV)/.made: Makefile
	@umask 022; \
	suits() { "$$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }; \
	python=; \
	for found in "$(PYTHON)" python3 python3.13 python3.12 python3.11; do \
		if [ -n "$$found" ] && command -v "$$found" >/dev/null && suits "$$found"; then python=$$found; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "Atelier needs Python 3.11, 3.12 or 3.13; here is $$(python3 --version 2>&1 || echo none)." >&2; \
		echo "Install one (Debian: sudo apt-get install python3.11 python3.11-venv), or name it: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; \
	fi; \
	if ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then \
		version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		echo "Python's venv module is missing. Debian and Ubuntu: sudo apt-get install python$$version-venv" >&2; \
		exit 1; \
	fi; \
	if ! $(PY) -c 'import sys, pip; sys.exit(sys.version_info[:2] < (3, 11))' 2>/dev/null; then \
		echo "Making $(VENV) ..."; "$$python" -m venv --clear $(VENV) || exit 1; \
	fi; \
	$(PY) -m pip install -q "uv==$(UV_VERSION)" || echo "uv is not to be had here; pip does its work." >&2; \
	touch $@

$(VENV)/.embedded: requirements-embedded.txt $(VENV)/.made
	@$(call install,requirements-embedded.txt)

$(VENV)/.dev: requirements-dev.txt $(VENV)/.made
	@$(call install,requirements-dev.txt)

$(VENV)/.photogrammetry: requirements-photogrammetry.txt $(VENV)/.made
	@$(call install,requirements-photogrammetry.txt,--only-binary pycolmap) || { \
		echo "3D models stay off: pycolmap has wheels for Linux on x86-64 and macOS 14 on ARM only." >&2; exit 1; }

# Never fails: who has no npm tests all but this client.
$(CLIENT)/node_modules/.made: $(CLIENT)/package-lock.json
	@if ! command -v npm >/dev/null; then \
		echo "The TypeScript client stays untested without npm: Node 20 or newer, or sudo apt-get install npm" >&2; \
	else echo "Installing $(CLIENT) ..."; npm ci --silent --prefix $(CLIENT) && touch $@ || \
		echo "The TypeScript client stays untested: npm could not install its tools." >&2; fi

# What one installs is in the other too: versions are the same, so neither undoes the other.
define install
umask 022; echo "Installing $(1) ..."; \
if $(PY) -m uv --version >/dev/null 2>&1; then $(PY) -m uv pip install -q --python $(PY) $(2) -r $(1); \
else $(PY) -m pip install -q $(2) -r $(1); fi && touch $@
endef
