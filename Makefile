# make demo   install and harmonise the bundled example     make test   install and run lint, types and tests
# make hostile   try broken and hostile input by the thousand
# Everything lives in .venv; a stamp per set-up makes the second call quick.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# ComfyUI's users get torch and torchvision resolved together, so that the two fit; so do we.
TORCH  := torch torchvision

.PHONY: demo test lint types tests hostile stress clean

demo: $(VENV)/.demo
	$(BIN)/raiha demo --out demo_out

test: lint types tests

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/mypy

tests: $(VENV)/.test
	$(BIN)/pytest -q

# Ten thousand hostile pictures, masks, checkpoints, indexes and arguments; an hour or so. A few minutes: make hostile CASES=500
CASES ?= 10000
hostile: $(VENV)/.test
	$(BIN)/python -m tests.hostile --cases $(CASES)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check -q $(TORCH) -e ".[demo]"
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check -q $(TORCH) -e ".[demo,encoders,milvus,train,bench,test]"
	@touch $@ $(VENV)/.demo

# Readers against builds, threads and processes, a minute each.
stress: $(VENV)/.test
	RAIHA_STRESS_SECONDS=60 $(BIN)/pytest -q tests/references/test_snapshots.py

clean:
	rm -rf $(VENV) demo_out artifacts .pytest_cache .mypy_cache .ruff_cache .hypothesis
