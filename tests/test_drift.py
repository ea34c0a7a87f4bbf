"""A VAE's shift of colour, told by what lies outside the mask and taken back; light and colour apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from raiha_core.drift import undo_drift
from raiha_core.errors import RaihaError
from raiha_core.image import from_array, read_image
from raiha_core.image.colour import srgb_to_lab
from raiha_core.parts import only

GALLERY = Path(__file__).parents[1] / "raiha_core" / "demo_data" / "gallery"


def shift(rgb: np.ndarray) -> np.ndarray:
    """Less contrast, warmer, more so to the right."""
    right = np.linspace(0, 1, rgb.shape[1], dtype=np.float32)[None, :, None]
    return (rgb * np.float32([0.93, 0.9, 0.86]) + 0.04 + right * np.float32([0.03, 0.01, -0.02])).astype(np.float32)


@pytest.fixture(scope="module")
def inpainted() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The original, the picture with something painted in before the shift, and the mask."""
    original = read_image(GALLERY / "coffee.jpg").rgb.astype(np.float32) / 255
    other = read_image(GALLERY / "chelsea.jpg").rgb.astype(np.float32) / 255
    h, w = (min(a, b) for a, b in zip(original.shape[:2], other.shape[:2], strict=True))
    original, other = original[:h, :w], other[:h, :w]
    y, x = np.mgrid[:h, :w]
    mask = np.clip(8 - 8 * np.hypot((y - h / 2) / (h / 4), (x - w / 2) / (w / 4)), 0, 1).astype(np.float32)
    return original, original * (1 - mask[..., None]) + other * mask[..., None], mask


def test_the_shift_is_taken_back_inside_and_outside_is_the_original(inpainted: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    original, painted, mask = inpainted
    result = undo_drift(from_array(shift(painted)), from_array(original), mask).rgb
    assert np.array_equal(result[mask == 0], original[mask == 0])
    before, after = (np.abs(x - painted)[mask == 1].mean() for x in (shift(painted), result))
    assert after < 0.25 * before


def test_without_a_shift_nothing_moves(inpainted: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    original, painted, mask = inpainted
    result = undo_drift(from_array(painted), from_array(original), mask).rgb
    assert np.abs(result - painted)[mask == 1].mean() < 0.004


def test_depths_may_differ(inpainted: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    original, painted, mask = inpainted
    deep = (original * 65535).astype(np.uint16)
    result = undo_drift(from_array(shift(painted)), from_array(deep), mask).rgb
    assert result.dtype == np.uint16 and np.array_equal(result[mask == 0], deep[mask == 0])
    assert np.abs(result / 65535 - painted)[mask == 1].mean() < 0.02


def test_mistakes_are_one_sentence(inpainted: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    original, painted, mask = inpainted
    with pytest.raises(RaihaError, match=r"the original .* connect the crop"):
        undo_drift(from_array(painted), from_array(original[:-8]), mask)
    with pytest.raises(RaihaError, match="too little of the original"):
        undo_drift(from_array(painted), from_array(original), np.ones_like(mask))


def test_parts_of_a_change() -> None:
    generator = torch.Generator().manual_seed(0)
    before, after = (torch.rand(1, 3, 20, 20, generator=generator) * 0.5 + 0.25 for _ in range(2))
    lab = srgb_to_lab
    assert only("both", before, after) is after
    light, colour = only("brightness", before, after), only("colour", before, after)
    assert torch.allclose(lab(light)[:, :1], lab(after)[:, :1], atol=0.02) and torch.allclose(
        lab(light)[:, 1:], lab(before)[:, 1:], atol=0.05
    )
    assert torch.allclose(lab(colour)[:, 1:], lab(after)[:, 1:], atol=0.05) and torch.allclose(
        lab(colour)[:, :1], lab(before)[:, :1], atol=0.02
    )
    grey = before.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    assert torch.allclose(only("colour", grey, grey * 0.5), grey, atol=2e-3)
