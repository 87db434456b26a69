# Everything runs in .venv, which is made when it is first needed.
#
#   make demo                       hear a made-up forest and open its atlas
#   make demo ARCHIVE=~/recordings  the same with your own recordings
#   make test                       linters, types, import rules, tests
#   make bars                       slow tests and benchmarks
#   make docs                       the manual, as pages for a browser

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
MINUTES ?= $(if $(ARCHIVE),8,2)
WORKSPACE := $(if $(ARCHIVE),oscine-workspace,demo/forest.oscine)

.DEFAULT_GOAL := help
.PHONY: help install demo test bars docs lint format clean

help:
	@sed -n 's/^#   //p' $(firstword $(MAKEFILE_LIST))

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Oscine needs Python 3.11 or newer; here $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name another one: make install PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

ifdef ARCHIVE
demo: $(INSTALLED)
	$(BIN)/oscine learn "$(patsubst ~/%,$(HOME)/%,$(ARCHIVE))" -w "$(WORKSPACE)" --minutes $(MINUTES)
else
demo: $(INSTALLED)
	$(BIN)/oscine synth demo/recordings
	$(BIN)/oscine learn demo/recordings -w "$(WORKSPACE)" --minutes $(MINUTES)
endif
	@echo "Open in a browser: $(CURDIR)/$(WORKSPACE)/reports/atlas.html"

test: lint
	$(BIN)/pytest -m "not slow" -n auto --dist loadfile

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bars: $(INSTALLED)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[bars]'
	$(BIN)/pytest -m slow
	@for bar in benchmarks/*.py; do echo "$$bar"; $(BIN)/python "$$bar" --json || exit 1; done

docs: $(INSTALLED)
	$(BIN)/python tools/reference.py
	$(BIN)/zensical build --strict
	@echo "Open in a browser: $(CURDIR)/build/manual/index.html"

clean:
	rm -rf .venv demo build dist .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
