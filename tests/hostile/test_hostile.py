"""A short, seeded run of the hostile corpus; `make hostile` is the long one."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("raiha_hostile_run", Path(__file__).with_name("run.py"))
assert spec is not None and spec.loader is not None
run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run)
judge = run.corpus()
SEEDS = {"picture": 120, "mask": 40, "checkpoint": 25, "index": 8, "arguments": 60, "command": 60}


@pytest.mark.parametrize("kind", SEEDS)
def test_every_outcome_is_a_result_or_a_sentence(kind, monkeypatch):
    monkeypatch.setenv("RAIHA_MEMORY_GB", "2")
    ends = Counter(judge.judge(kind, seed) for seed in range(SEEDS[kind]))
    assert ends["sentence"], "nothing hostile was tried"
    assert ends["result"] or kind == "index", "nothing sound was tried"


def test_a_fault_is_told_from_a_sentence(monkeypatch):
    def fails(seed, folder):
        raise judge.RaihaError("two\nlines")

    monkeypatch.setitem(judge._TRY, "picture", fails)
    with pytest.raises(judge.FaultError):
        judge.judge("picture", 0)
