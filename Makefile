# make demo   install and harmonise the bundled example     make test     install and run lint, types and tests
# make web    lint, types and tests of the browser's side   make lowest   the tests on the oldest versions that are promised
# make mutants   small changes to the code, of which the tests should notice nine in ten
# make hostile   try broken and hostile input by the thousand   make stress    readers of an index against builds, a minute each
# make cluster   build on a Ray cluster of two nodes, with the vectors in PostgreSQL; not part of make test
# Everything lives in .venv; a stamp per set-up makes the second call quick.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# ComfyUI's users get torch and torchvision resolved together, so that the two fit; so do we.
TORCH  := torch torchvision

.PHONY: demo test lint types tests web lowest mutants hostile stress cluster clean

demo: $(VENV)/.demo
	$(BIN)/raiha demo --out demo_out

test: lint types tests

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The nodes are a package only as ComfyUI sees it: below a folder of any name, here one that Python can import.
types: $(VENV)/.test
	$(BIN)/mypy
	@mkdir -p .mypy_cache/comfyui && ln -sfn "$(CURDIR)" .mypy_cache/comfyui/raiha_pack
	cd .mypy_cache/comfyui && "$(CURDIR)/$(BIN)/mypy" --config-file "$(CURDIR)/pyproject.toml" raiha_pack/nodes
	$(BIN)/mypy --explicit-package-bases scripts tests
	MYPYPATH=benchmarks $(BIN)/mypy --explicit-package-bases benchmarks

tests: $(VENV)/.test
	$(BIN)/pytest -q

# Needs node and npm; `make test` runs what of it needs no npm, where there is a node.
web: node_modules/.stamp
	npm run --silent lint
	npm run --silent types
	npm run --silent test

node_modules/.stamp: package.json package-lock.json
	npm ci --no-audit --no-fund
	@touch $@

# Of every dependency and extra the oldest version that pyproject.toml allows, with whatever torch fits them. Not milvus, whose pyarrow
# wants a newer NumPy than the rest.
lowest: .venv-lowest/.stamp
	.venv-lowest/bin/python -m pytest -q tests/image tests/illumination tests/references tests/cli tests/models tests/content tests/evaluation \
		tests/training/test_config.py tests/training/test_augment.py tests/video tests/test_harmonizer.py tests/test_fused.py

.venv-lowest/.stamp: pyproject.toml scripts/lowest_versions.py
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python scripts/lowest_versions.py > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip install --disable-pip-version-check -q -c .venv-lowest/lowest.txt $(TORCH) -e ".[encoders,video,train,bench,test]"
	@touch $@

# Takes hours as a whole; MUTANTS picks some, as raiha_core.image.crop* does. What survived: .venv/bin/mutmut results
mutants: $(VENV)/.test
	$(BIN)/python -m pip install --disable-pip-version-check -q "mutmut>=3.6"
	env -u PYTHONPATH $(BIN)/mutmut run $(MUTANTS)

# Ten thousand hostile pictures, masks, checkpoints, indexes and arguments; an hour or so. A few minutes: make hostile CASES=500
CASES ?= 10000
hostile: $(VENV)/.test
	$(BIN)/python tests/hostile/run.py --cases $(CASES)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check -q $(TORCH) -e .
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check -q $(TORCH) -e ".[encoders,milvus,train,bench,test]"
	@touch $@ $(VENV)/.demo

# Readers against builds, threads and processes, a minute each.
stress: $(VENV)/.test
	RAIHA_STRESS_SECONDS=60 $(BIN)/pytest -q tests/references/test_snapshots.py

# A Ray cluster of two nodes on this machine, one of which is killed, and PostgreSQL with pgvector (pgserver brings a server;
# RAIHA_TEST_PGVECTOR=postgresql://... names another). Some minutes, and 2 GB of memory.
cluster: $(VENV)/.test
	$(BIN)/python -m pip install --disable-pip-version-check -q -e ".[cluster,pgvector]" pgserver
	RAIHA_TEST_CLUSTER=1 $(BIN)/pytest -q -rs tests/references/test_cluster.py tests/references/test_stores.py

clean:
	rm -rf $(VENV) .venv-lowest .venv-3.* node_modules demo_out artifacts .pytest_cache .mypy_cache .ruff_cache .hypothesis
