"""The pictures that the shipped weights make stay as they were looked at."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

LEVELS = 0.4
"""Of 255, of the mean of a cell of some hundred pixels: rounding on other processors stays below a tenth of that."""


@pytest.fixture(scope="module")
def golden() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_cases", Path(__file__).parent / "golden" / "cases.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_shipped_weights_make_the_pictures_that_were_looked_at(golden: ModuleType) -> None:
    with np.load(golden.GOLDEN, allow_pickle=False) as kept:
        expected = {name: kept[name] for name in kept.files}
    made = golden.made()
    assert made.keys() == expected.keys()
    apart = {name: float(np.abs(made[name] - expected[name]).max()) for name in expected}
    assert max(apart.values()) < LEVELS, f"{apart}; if that was meant, look at the pictures and run python tests/golden/cases.py"


def test_a_small_silent_change_would_be_noticed(golden: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: each of these changes of the core moves some picture by more than it allows."""
    from raiha_core.models.raiha_s import edges, evidence, network

    with np.load(golden.GOLDEN, allow_pickle=False) as kept:
        expected = {name: kept[name] for name in kept.files}

    def apart() -> float:
        made = golden.made()
        return max(float(np.abs(made[name] - expected[name]).max()) for name in expected)

    turned = inspect.getattr_static(edges.Edge, "step").fget
    monkeypatch.setattr(edges.Edge, "step", property(lambda edge: -turned(edge)))
    assert apart() > LEVELS
    monkeypatch.undo()
    monkeypatch.setattr(network, "outlined", lambda inside, mask: mask)
    assert apart() > LEVELS
    monkeypatch.undo()
    observed = evidence.observe
    monkeypatch.setattr(network, "observe", lambda c, m: observed(c, m)._replace(steps=torch.zeros(len(c), edges.STEPS)))
    assert apart() > LEVELS
