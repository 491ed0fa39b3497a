# Only Python 3.11+ and make are needed; everything else goes into .venv.
PYTHON ?= python3
PY := .venv/bin/python

.PHONY: help setup demo test types pytest stories e2e postgresql bench soak docs lock clean

help:  ## what can be made
	@grep -E '^[a-z0-9]+:.*##' Makefile | awk -F':.*## *' '{printf "%-10s %s\n", $$1, $$2}'

setup: .venv/.ready  ## make the virtual environment

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 15) else "Python 3.11 to 3.14 is needed, this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 " + "setup")'
	@echo "Setting up .venv (a minute or two the first time) ..."
	@$(PYTHON) -m venv .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch .venv/.ready

demo: setup  ## run the main job against a local Moodle and CommCare
	@$(PY) -m flows demo

# Compiled tests and modules are kept, whatever the environment says: three workers and all processes load them.
test pytest stories e2e postgresql: export PYTHONDONTWRITEBYTECODE :=

test: setup  ## check style and types, run the tests and a part of each proof (minutes)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(MAKE) --no-print-directory --jobs 2 types pytest

types: setup  ## check types only
	@$(PY) -m mypy

pytest: setup  ## run the tests only
	@$(PY) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

stories: setup  ## run what happens to cases over many runs, with trouble on the way (minutes)
	@$(PY) -m pytest tests/flows -m "story and not e2e" --numprocesses 3 --dist loadfile --no-loadscope-reorder

e2e: setup  ## run whole installations: in a browser, killed in the middle, on several machines (minutes)
	@$(PY) -m pytest -m e2e -rs --numprocesses 2 --dist loadfile $(ONLY)
	@$(if $(ONLY),,$(MAKE) --no-print-directory postgresql)

postgresql: setup  ## run the tests and stories of the engine with their books on a private PostgreSQL server
	@$(PY) -m pytest $(or $(ONLY),tests/flows) --postgresql -m "not e2e" -rs --numprocesses 2 --dist loadfile

bench: setup  ## measure: many courses, memory; mappings by hand; what Prefect costs
	@$(PY) -m bench.courses
	@$(PY) -m bench.mapping
	@$(PY) -m bench.orchestration

soak: setup  ## the proofs without a limit of time (hours; goes on where it was stopped), and docs/guarantees.md
	@$(PY) -m tests.proofs.soak
	@$(PY) -m pytest -m "" tests/proofs tests/flows/test_at_any_moment.py
	@$(PY) -m tests.proofs.lives
	@$(PY) -m tests.proofs.walks
	@$(PY) -m tests.proofs.kills --kills 1000
	@$(PY) -m tests.proofs.kills --kills 1000 --postgresql
	@$(PY) -m tests.proofs.guarantees

docs: setup  ## write anew what the documentation takes from the code
	@$(PY) -m tests.references

lock:  ## pin what is new, and what no longer fits (needs uv; the index comes from your environment)
	@printf 'setuptools>=77\n' | uv pip compile pyproject.toml - --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet -o requirements.lock

clean:  ## remove the virtual environment and what runs left behind
	@rm -rf .venv var build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
