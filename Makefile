# Everything starts from nothing: the first target that needs it makes the environment in .venv.
# PYTHON names the interpreter for it: Python 3.11, 3.12 or 3.13.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Tests start many processes: each would compile the project anew where the environment forbids Python its __pycache__.
test long chaos: export PYTHONDONTWRITEBYTECODE :=

.PHONY: repro test long chaos lint ui docs clean env help
.DEFAULT_GOAL := repro

repro: env ## bring all stages up to date, and print the headline figures (scriptsight run)
	@$(BIN)/scriptsight run

test: env ## run the tests
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

long: env ## run the tests that are long by nature
	@$(BIN)/python -m pytest -m long --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

chaos: env ## kill the processes of a small pipeline, and see that it comes back
	@$(BIN)/python -m pytest -m chaos tests/chaos

lint: env ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

ui: env ## serve the pages of Prefect and MLflow on the loopback address, until ctrl-C (scriptsight ui)
	@$(BIN)/scriptsight ui

docs: env ## build the documentation in site/; a warning is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean: ## remove what the stages made; DVC's cache can bring it back (dvc checkout)
	@rm -rf data models plots .checkpoints .features .locks .sweeps .work
	@echo "Removed data, models, plots, checkpoints, features, trials. Kept: .venv, mlruns, metrics, DVC's cache (.dvc/cache)."

env: $(READY) ## make or renew the environment in .venv

help: ## list the targets
	@awk -F ': .*## ' '/^[a-z]+: .*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock tests/requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13: install one and name it, as in: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "Making the environment in .venv (some minutes the first time) ..."
	@set -e; \
	if uv --version >/dev/null 2>&1; then uv=uv; \
	  test -x $(BIN)/python || uv venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv; \
	else \
	  test -x $(BIN)/python || $(PYTHON) -m venv .venv; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; uv=$(BIN)/uv; \
	fi; \
	$$uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock; \
	$$uv pip install --quiet --python $(BIN)/python --require-hashes --no-deps -r tests/requirements.txt; \
	$$uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $(READY)
