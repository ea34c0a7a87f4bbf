"""Masks as people hand them over, and the share of the needed change that was made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from raiha_core.evaluation.loose import LOOSE, loosened, with_loose_mask
from raiha_core.evaluation.metrics import share_made


def square() -> np.ndarray:
    mask = np.zeros((64, 64), np.float32)
    mask[20:40, 24:44] = 1
    return mask


def test_the_edge_moves_by_the_pixels_asked_for() -> None:
    for grow in (3, 8, -3):
        row = loosened(square(), grow=grow)[30]
        assert int((row > 0.5).sum()) == 20 + 2 * grow
    assert np.array_equal(loosened(square()), square())


def test_a_feather_fades_over_its_pixels_and_white_is_dimmed() -> None:
    soft = loosened(square(), feather=4)[30]
    assert 0.3 < soft[24] < 0.7 and soft[18] < 0.02 and soft[30] > 0.98
    assert loosened(square(), white=0.9).max() == pytest.approx(0.9)


def test_a_thin_mask_does_not_vanish_when_it_shrinks() -> None:
    thin = np.zeros((32, 32), np.float32)
    thin[10:12, 4:28] = 1
    assert loosened(thin, grow=-3).max() >= 0.5


def test_seven_masks_are_reported() -> None:
    assert len(LOOSE) == 6
    kinds = [loosened(square(), **change) for change in LOOSE.values()]
    assert all(not np.array_equal(a, b) for i, a in enumerate([square(), *kinds]) for b in kinds[i:])


def test_the_method_gets_the_loose_mask() -> None:
    seen: list[np.ndarray] = []

    def run(composite: Any, mask: Any, references: Any) -> Any:
        seen.append(mask)
        return composite

    with_loose_mask(run, {"grow": 8})(np.zeros((64, 64, 3), np.uint8), square(), [])
    assert seen[0].sum() > 1.5 * square().sum()


def test_the_share_of_the_needed_change() -> None:
    given, real = np.full((8, 8, 3), 100, np.uint8), np.full((8, 8, 3), 140, np.uint8)
    inside = np.ones((8, 8), bool)
    inside[:, 4:] = False
    for level, share in ((100, 0.0), (120, 0.5), (140, 1.0), (180, 2.0), (80, -0.5)):
        result = given.copy()
        result[:, :4] = level
        result[:, 4:] = 7  # what happens outside does not count
        assert share_made(result, given, real, inside) == pytest.approx(share)
    sideways = given.astype(float)
    sideways[..., 0] += 40
    sideways[..., 1] -= 40
    assert share_made(sideways, given, real, inside) == pytest.approx(0), "a change of another kind is none of it"
    assert share_made(given, given, given + 2, inside) is None, "hardly anything was needed"
