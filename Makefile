# The verbs of this project. `make leaderboard` and `make test` do everything on a fresh machine.
BIN := .venv/bin
PYTHON ?= python3

.PHONY: install leaderboard test lint format bench

install: .venv/.installed

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

# The site is built whatever became of single trials; the status is the run's.
leaderboard: install
	$(BIN)/harness weights fetch mobile-sam
	$(BIN)/harness run --all --protocol quick; status=$$?; $(BIN)/harness report && exit $$status

test: install
	$(BIN)/python -m pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	$(BIN)/python -m pytest -s tests/benchmarks
	$(BIN)/python tests/benchmarks/calibration.py
