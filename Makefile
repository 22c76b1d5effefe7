# make setup | study | test | coverage | lab | lint | screenshots; each sets up .venv first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup study test coverage lab lint screenshots

setup: $(VENV)/.complete

# `pip install -e .` brings requirements.txt and makes `lib` importable from anywhere; it refuses a
# Python that will not do. Made again only when a list of packages changes; the mark is written last.
$(VENV)/.complete: pyproject.toml requirements.txt tests/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e . -r tests/requirements.txt
	touch $@

study: setup
	$(BIN)/python -m lib.study $(ARGS)

# A process more than cores, at most 4: a fifth of the tests' time is spent waiting.
PROCESSES = $(shell $(PYTHON) -c 'import os; print(min(4, 1 + (os.cpu_count() or 1)))')
SUITE = -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

# The whole suite, a file to a process; the browser's tests follow in one process, because pages that
# compete lose keys, and share what the first ones made. With ARGS one process runs what they choose.
test: setup
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && export STUDY_TESTS_FOLDER="$$folder" && \
		$(BIN)/python $(SUITE) --ignore=tests/browser && $(BIN)/python -m pytest tests/browser
endif

# Which branches of lib the tests take, the browser's apart; it fails below pyproject.toml's share.
coverage: setup
	$(BIN)/coverage run $(SUITE) --ignore=tests/browser
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lab: setup
	$(BIN)/python -m jupyter lab --LabApp.default_url=/lab/tree/notebooks

# Pictures of the viewers for the README, from a finished run.
screenshots: setup
	$(BIN)/python -m tests.browser.screenshots $(or $(ARGS),runs/laptop)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
