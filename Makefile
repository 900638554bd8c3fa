# Basestock. `make` lists what there is to do; nothing needs more than Python 3.11 to 3.13.
SHELL := /bin/bash
PYTHON ?= python3
PY := .venv/bin/python
ARGS ?=

# Some environments set it; every start of a program would then compile all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo run up down test soak check format fault guards bench screenshots migrate revision requirements clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/ready ## Set everything up and show the main job on real input (ARGS=--exit ends afterwards)
	@$(PY) -m services demo $(ARGS)

run: .venv/ready ## Run each service in a process of its own behind one port until Ctrl-C (ARGS="--port 9000 --broker amqp://...")
	@$(PY) -m services run $(ARGS)

up: ## Build and start the containers, and wait until they are ready (docs/operators.md)
	@docker compose up --detach --build --wait $(ARGS)

down: ## Stop the containers; their data stay (ARGS=-v removes them)
	@docker compose down $(ARGS)

test: .venv/ready-dev ## Set everything up and run all tests (ARGS="tests/unit -k virtual")
	@$(PY) -m pytest -n 2 --dist loadfile $(ARGS)

soak: .venv/ready-dev ## Run the tests that are too long for `make test`
	@$(PY) -m pytest -m soak $(ARGS)

check: .venv/ready-dev ## Lint, formatting, types, the rules between modules, the house rules, that guards apply
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports --no-cache
	@$(PY) -m pytest -q tests/test_tidy.py tests/fault/test_guards.py

format: .venv/ready-dev ## Format the code
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

fault: .venv/ready-dev ## Kill processes, broker and database under real orders (ARGS="--rounds 120 --seed 7")
	@$(PY) -m tests.fault $(ARGS)

guards: .venv/ready-dev ## Take away what keeps each promise, and see its tests fail (ARGS=P4 for one promise)
	@$(PY) -m tests.fault.guards $(ARGS)

bench: .venv/ready-dev ## Measure, each figure beside the ceiling of the same run
	@$(PY) -m bench $(ARGS)

screenshots: .venv/ready-dev ## Pictures of every page of the console, light and dark, into build/screenshots
	@$(PY) -m tests.browser.screenshots

migrate: .venv/ready ## Bring the schemas of BASESTOCK_DSN to their newest version (ARGS=orders for one service)
	@$(PY) -m services migrate $(ARGS)

revision: .venv/ready-dev ## Write a migration for a changed table: make revision s=orders m="add a note"
	@$(PY) -m tests.servers.revision "$(s)" "$(m)"

requirements: .venv/ready-dev ## Pin the newest versions that pyproject.toml allows, with hashes
	@for extra in "" dev; do $(PY) -m uv pip compile -q pyproject.toml $${extra:+--extra $$extra} --upgrade --universal \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  -o requirements$${extra:+-$$extra}.txt || exit 1; done

clean: ## Remove the environment, the demo's data and all caches
	@rm -rf .venv .basestock build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv installs in seconds what takes pip half a minute; where it cannot be had, pip does.
define install
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Basestock needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12 ..."; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || \
	  { echo "The environment could not be made. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Installing $(1) into .venv ..."
	@$(PY) -m pip install -q --disable-pip-version-check uv 2>/dev/null || true
	@$(PY) -m uv pip install -q --python $(PY) --require-hashes -r $(1) 2>/dev/null || \
	  $(PY) -m pip install -q --disable-pip-version-check --require-hashes -r $(1)
	@$(PY) -m uv pip install -q --python $(PY) --no-deps -e . 2>/dev/null || \
	  $(PY) -m pip install -q --disable-pip-version-check --no-deps -e .
endef

.venv/ready: requirements.txt
	$(call install,requirements.txt)
	@touch $@

.venv/ready-dev: requirements-dev.txt
	$(call install,requirements-dev.txt)
	@touch .venv/ready $@
