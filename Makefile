# make setup | study | test | lab | lint | screenshots; each sets up .venv first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup study test lab lint screenshots

setup: $(VENV)/.complete

# Made again only when a list of packages changes; the mark is written last.
$(VENV)/.complete: requirements.txt tests/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r tests/requirements.txt
	touch $@

study: setup
	$(BIN)/python -m lib.study $(ARGS)

test: setup
	$(BIN)/python -m pytest $(ARGS)

lab: setup
	$(BIN)/python -m jupyter lab notebooks/

# Pictures of the viewers for the README, from a finished run.
screenshots: setup
	PYTHONPATH=. $(BIN)/python tests/browser/screenshots.py $(or $(ARGS),runs/laptop)

lint: setup
	$(BIN)/ruff check .
