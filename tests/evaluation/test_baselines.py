"""Baselines: what each promises, and that none touches the background."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from color_matcher import ColorMatcher
from numpy.typing import NDArray
from skimage.color import rgb2lab

from raiha_core import RaihaError
from raiha_core.evaluation.baselines import baselines, color_matcher, match_histograms, poisson, reinhard_lab
from raiha_core.evaluation.metrics import foreground_mse

Array = NDArray[Any]


@pytest.fixture
def picture() -> tuple[Array, Array, Array]:
    """Texture with the same statistics everywhere; the composite's foreground is darker and bluer. Composite, mask, real."""
    rng = np.random.default_rng(3)
    real = np.clip(rng.normal((150, 120, 90), (20, 25, 15), (48, 64, 3)), 0, 255).astype(np.uint8)
    mask = np.zeros((48, 64), np.float32)
    mask[10:40, 12:50] = 1
    changed = np.clip(real * np.array([0.5, 0.6, 0.9]), 0, 255).astype(np.uint8)
    return np.where(mask[..., None] > 0, changed, real), mask, real


@pytest.mark.parametrize("method", baselines(), ids=lambda m: m.name)
def test_statistics_are_matched_where_that_is_the_answer(method: Any, picture: tuple[Array, Array, Array]) -> None:
    composite, mask, real = picture
    before = composite.copy()
    result = method.run(composite, mask, [])
    assert (composite == before).all() and result.dtype == np.uint8
    assert (result[mask == 0] == real[mask == 0]).all()
    # Poisson blending knows the border only, and on noise the border's pixels are noise.
    share = 0.6 if method.name == "Poisson" else 0.05
    assert foreground_mse(result, real, mask > 0.5) < share * foreground_mse(composite, real, mask > 0.5)


@pytest.mark.parametrize(("imaginary", "good"), [(0.0, True), (5.0, False)])
def test_complex_numbers_count_where_they_are_real(
    picture: tuple[Array, Array, Array], monkeypatch: pytest.MonkeyPatch, imaginary: float, good: bool
) -> None:
    """Whatever the NumPy: from 2.5 on eigenvalues are complex, also those of covariances."""
    composite, mask, _ = picture
    plain = color_matcher(composite, mask, method="mkl")
    transfer = ColorMatcher.transfer
    monkeypatch.setattr(ColorMatcher, "transfer", lambda *a, **b: np.real(transfer(*a, **b)) + 1j * imaginary)
    if good:
        assert (color_matcher(composite, mask, method="mkl") == plain).all()
    else:
        with pytest.raises(RaihaError, match="complex"):
            color_matcher(composite, mask, method="mkl")


def test_reinhard_gives_the_background_its_moments(picture: tuple[Array, Array, Array]) -> None:
    composite, mask, _ = picture
    lab = rgb2lab(reinhard_lab(composite, mask))
    inside, outside = lab[mask > 0], lab[mask == 0]
    assert inside.mean(0) == pytest.approx(outside.mean(0), abs=0.5)
    assert inside.std(0) == pytest.approx(outside.std(0), abs=0.5)


def test_histograms_of_flat_regions() -> None:
    composite = np.full((16, 16, 3), 200, np.uint8)
    mask = np.zeros((16, 16), np.float32)
    mask[4:9, 4:9] = 1
    composite[4:9, 4:9] = (10, 20, 30)
    assert (match_histograms(composite, mask) == 200).all()


def test_soft_masks_blend() -> None:
    composite = np.full((16, 16, 3), 200, np.uint8)
    mask = np.zeros((16, 16), np.float32)
    mask[4:9, 4:9] = 0.75
    composite[4:9, 4:9] = 100
    assert set(np.unique(match_histograms(composite, mask)[4:9, 4:9])) == {175}


def test_poisson_removes_an_offset_and_keeps_texture() -> None:
    # A slow ramp, dimmed by a constant inside: the blend must bring the constant back, also at the picture's border.
    real = np.repeat(np.linspace(80, 160, 60)[None, :, None], 50, 0).repeat(3, 2).astype(np.uint8)
    for top in (15, 0):
        mask = np.zeros((50, 60), np.float32)
        mask[top : top + 20, 20:40] = 1
        composite = np.where(mask[..., None] > 0, real - 40, real).astype(np.uint8)
        result = poisson(composite, mask)
        limit = 12 if top else 400  # at the border of the picture the object's own colours hold
        assert foreground_mse(result, real, mask > 0) < limit


def test_degenerate_input_is_named() -> None:
    composite = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(RaihaError, match="no foreground or no background"):
        reinhard_lab(composite, np.ones((16, 16), np.float32))
    mask = np.zeros((16, 16), np.float32)
    mask[0, 0] = 1  # one pixel has no covariance
    with pytest.raises((RaihaError, np.linalg.LinAlgError)):
        color_matcher(composite, mask, method="mkl")


def test_scene_fixture_is_improved_by_some_baseline(scene: Callable[[int], tuple[Array, Array, Array]]) -> None:
    composite, mask, real = scene(3)
    weight = mask.astype(np.float32) / 255
    assert foreground_mse(poisson(composite, weight), real, mask > 0) < foreground_mse(composite, real, mask > 0)
