# The verbs of this project. `make leaderboard` and `make test` do everything on a fresh machine.
BIN := .venv/bin
PYTHON ?= python3

# Tests share the cores, each worker with one thread; a file's tests stay together, and with them its fixtures.
WORKERS := -n auto --dist loadfile --no-loadscope-reorder

# Tests start hundreds of processes: what each imports is compiled once, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install leaderboard test test-engines check affected lint scripts format bench bench-compare docs

install: .venv/.installed

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

# What the first board compares, so that it stays a matter of minutes: `harness run --all` is every method.
FIRST := erm erm-balanced groupdro adv febs febs-released

# Beside it a cohort with a gap whose cause is known: whoever reads the board can see it tell what works from what does not.
CONTROL := erm erm-balanced oracle

# The site is built whatever became of single trials; the status is the run's.
leaderboard: install
	$(BIN)/harness weights fetch mobile-sam
	$(BIN)/harness run $(FIRST) --protocol quick; status=$$?; \
	$(BIN)/harness run $(CONTROL) --protocol planted || status=$$?; \
	$(BIN)/harness report && exit $$status

test: install
	$(BIN)/python -m pytest $(WORKERS) --ignore tests/engines -m 'not slow'

# What needs an engine beside Python (Docker), or minutes by itself. A skip says what it lacks.
test-engines: install
	$(BIN)/python -m pytest $(WORKERS) -m 'docker or slurm or ray or slow'

# Within a minute: lint, types and the tests nearest to what changed since BASE, side by side.
check: install
	@$(MAKE) --no-print-directory --jobs 2 --keep-going --output-sync=target lint affected

BASE ?=
affected: install
	$(BIN)/python tests/affected.py $(BASE)

lint: install scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The pages' scripts: Biome lints them and TypeScript checks their types, at the versions that package.json names.
NPM := $(shell command -v npm)

scripts: $(if $(NPM),node_modules/.installed)
ifdef NPM
	npm run --silent check
else ifeq ($(CI),true)
	@echo "npm is not installed, so leaderboard/assets/*.js cannot be checked: apt-get install nodejs npm" && exit 1
else
	@echo "leaderboard/assets/*.js are not checked: npm is not installed (apt-get install nodejs npm)"
endif

node_modules/.installed: package.json
	npm install --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

# The pages of docs/ as a site that asks for nothing from outside. `make docs DOCS=public/docs` puts it beside a published board.
DOCS ?= site-docs
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir $(DOCS)

format: install $(if $(NPM),node_modules/.installed)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(if $(NPM),npm run --silent format)

bench: install
	$(BIN)/python -m pytest -s tests/benchmarks
	$(BIN)/python tests/benchmarks/rows.py --out bench.json
	$(BIN)/python tests/benchmarks/linear.py
	$(BIN)/python tests/benchmarks/calibration.py
	$(BIN)/python tests/benchmarks/claims.py
	$(BIN)/python tests/benchmarks/scale.py 10000 0
	$(BIN)/python tests/benchmarks/records.py
	$(BIN)/python tests/benchmarks/large_board.py
	$(BIN)/python tests/benchmarks/chaos.py
	MUTANTS=20000 $(BIN)/python -m pytest -s -m slow tests/submission/test_fuzz.py

# The same rows, by this tree's benchmark, of the code of another commit and of this: REF=main make bench-compare
REF ?= HEAD
bench-compare: install
	rm -rf .bench && git worktree prune && git worktree add --quiet --detach .bench $(REF)
	PYTHONPATH=$(CURDIR)/.bench $(BIN)/python tests/benchmarks/rows.py --out bench-before.json; \
	git worktree remove --force .bench
	$(BIN)/python tests/benchmarks/rows.py --out bench.json --against bench-before.json
