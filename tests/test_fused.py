"""One compiled pass gives what torch's passes give, to the bit, and is taken where it pays."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from raiha_core import apply, fused
from raiha_core.apply import PlacedTransform, apply_transform
from raiha_core.image import Box, Picture
from raiha_core.models.base import AffineMap, ColorTransform

SIZE = 83, 611


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(fused, "_found", {})
    monkeypatch.setattr(fused, "_changed", 0)
    yield


def picture(dtype: type, planar: bool = False) -> Picture:
    rng = np.random.default_rng(1)
    white = 1.0 if dtype is np.float32 else float(np.iinfo(dtype).max)
    low, high = (-0.1, 1.2) if dtype is np.float32 else (0.0, 1.0)
    rgb: Any = (rng.uniform(low, high, (3, *SIZE) if planar else (*SIZE, 3)) * white).astype(dtype)
    return Picture(rgb.transpose(1, 2, 0) if planar else rgb)


def mask(soft: bool) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : SIZE[0] * 1j, -1 : 1 : SIZE[1] * 1j]
    distance = 0.7 - np.hypot(x, y)
    return (np.clip(distance * 3 + 0.3, 0, 1) if soft else distance > 0).astype(np.float32)


def placed(rows: int, columns: int) -> PlacedTransform:
    matrix = torch.eye(3, 4).reshape(12, 1, 1) + 0.4 * torch.randn(12, rows, columns, generator=torch.Generator().manual_seed(2))
    return PlacedTransform(AffineMap(matrix), Box(5, -20, 70, 500))


@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("strength", [1.0, 0.35])
@pytest.mark.parametrize("cells", [(32, 32), (1, 1), (2, 5)])
@pytest.mark.parametrize(("dtype", "planar"), [(np.uint8, False), (np.uint16, False), (np.float32, False), (np.float32, True)])
def test_one_pass_gives_the_same_to_the_bit(dtype: type, planar: bool, cells: tuple[int, int], strength: float, soft: bool) -> None:
    pytest.importorskip("numba")
    whole, weights, transform = picture(dtype, planar), mask(soft), placed(*cells)
    several = apply_transform(whole, weights, transform, strength, one_pass=False)
    one = apply_transform(whole, weights, transform, strength, one_pass=True)
    assert np.array_equal(several.rgb, one.rgb)
    assert np.array_equal(one.rgb[weights == 0], whole.rgb[weights == 0]) and not np.array_equal(one.rgb, whole.rgb)


def taken(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Whether the kernel was asked for, call by call."""
    calls: list[Any] = []
    real = fused.sweep
    monkeypatch.setattr(fused, "sweep", lambda *given: calls.append(given) or real(*given))
    return calls


def test_it_is_taken_once_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(fused, "PAYS", 2.5 * SIZE[0] * SIZE[1])
    calls = taken(monkeypatch)
    results = [apply_transform(picture(np.uint8), mask(True), placed(4, 4)).rgb for _ in range(4)]
    assert len(calls) == 1 + 2  # tried out, then used for the third and the fourth
    assert all(np.array_equal(r, results[0]) for r in results)


@pytest.mark.parametrize("why", ["missing", "broken", "different"])
def test_without_it_everything_goes_on(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    monkeypatch.setattr(fused, "PAYS", 0)
    expected = apply_transform(picture(np.uint8), mask(True), placed(4, 4), one_pass=False).rgb
    if why == "missing":
        monkeypatch.setattr("importlib.util.find_spec", lambda *given: None)
    elif why == "broken":
        monkeypatch.setitem(sys.modules, "raiha_core.fused_kernel", None)
    else:
        monkeypatch.setattr(apply, "_both_ways_are_one", lambda *given: False)
    calls = taken(monkeypatch)
    for _ in range(2):
        assert np.array_equal(apply_transform(picture(np.uint8), mask(True), placed(4, 4)).rgb, expected)
    assert len(calls) == (1 if why == "broken" else 0)


def test_what_it_cannot_do_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "PAYS", 0)
    calls = taken(monkeypatch)

    class Darker(ColorTransform):
        def __call__(self, rgb: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return rgb * 0.5

        def to(self, device: torch.device | str) -> Darker:
            return self

    apply_transform(picture(np.uint8), mask(True), PlacedTransform(Darker(), Box(0, 0, *SIZE)))
    apply_transform(picture(np.uint8), mask(True), placed(4, 4), strength=1.5)
    apply_transform(picture(np.uint8), mask(True), placed(4, 4), part_of_change="colour")
    assert not calls


def test_numba_is_neither_imported_early_nor_heard() -> None:
    pytest.importorskip("numba")
    script = (
        "import logging, sys; logging.basicConfig(level=logging.DEBUG)\n"
        "import raiha_core, raiha_core.apply; assert 'numba' not in sys.modules\n"
        "import raiha_core.fused_kernel\n"
        "logging.getLogger('numba.core.ssa').debug('heard'); logging.getLogger('numba.core.byteflow').debug('heard')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "heard" not in done.stderr + done.stdout
    assert logging.getLogger("raiha_core").level == logging.NOTSET
