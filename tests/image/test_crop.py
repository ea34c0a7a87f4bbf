"""The model is shown the foreground with context, at any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raiha_core.image import Box, bounding_box, crop_box, shrink
from raiha_core.image.crop import block_means


@st.composite
def masks(draw):
    height, width = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    bottom, right = draw(st.integers(top + 1, height)), draw(st.integers(left + 1, width))
    mask = np.zeros((height, width), np.float32)
    mask[top:bottom, left:right] = draw(st.sampled_from([1.0, 0.3, 0.01]))
    return mask


@settings(max_examples=150, deadline=None)
@given(masks())
def test_the_crop_lies_inside_and_holds_the_foreground_with_context(mask):
    box, inner, (height, width) = crop_box(mask), bounding_box(mask), mask.shape
    assert 0 <= box.top <= inner.top < inner.bottom <= box.bottom <= height
    assert 0 <= box.left <= inner.left < inner.right <= box.right <= width
    assert box.height >= min(height, round(1.5 * inner.height)) and box.width >= min(width, round(1.5 * inner.width))
    assert box.height * box.width <= 0.7 * height * width or box == Box(0, 0, height, width)
    shown = shrink(mask, box, 64)
    assert shown.shape == (1, 1, 64, 64) and float(shown.max()) > 0


def test_a_small_object_in_a_large_photo_is_seen_large():
    mask = np.zeros((4000, 6000), np.float32)
    mask[100:446, 5600:5946] = 1  # 0.5 % of 24 megapixels, near a corner
    box = crop_box(mask)
    assert mask[box.top : box.bottom, box.left : box.right].sum() >= 0.09 * box.height * box.width
    assert float((shrink(mask, box, 192) > 0.5).float().mean()) > 0.09


def test_one_pixel_is_still_seen():
    mask = np.zeros((3000, 4000), np.float32)
    mask[2999, 0] = 1
    assert float(shrink(mask, crop_box(mask), 192).max()) > 0.5


@pytest.mark.parametrize(("height", "width"), [(37, 53), (1000, 37), (3, 2000), (700, 500)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_shrinking_keeps_the_mean_and_the_gradient(height, width, dtype):
    white = 1 if dtype == np.float32 else np.iinfo(dtype).max
    ramp = (np.linspace(0.1, 0.9, height)[:, None] * np.ones(width)[None] * white).astype(dtype)
    small = shrink(np.dstack([ramp] * 3), Box(0, 0, height, width), 16)
    assert small.shape == (1, 3, 16, 16)
    expected = 0.1 + 0.8 * (torch.arange(16) + 0.5) / 16
    assert torch.allclose(small[0, 1, :, 7], expected, atol=0.03) or height < 16
    assert abs(float(small.mean()) - 0.5) < 0.02


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from(["top", "bottom", "left", "right"]))
def test_nothing_at_a_border_gets_lost(height, width, side):
    mask = np.zeros((height, width), np.float32)
    borders: dict[str, Any] = {"top": np.s_[:1], "bottom": np.s_[-1:], "left": np.s_[:, :1], "right": np.s_[:, -1:]}
    mask[borders[side]] = 1
    assert float(shrink(mask, Box(0, 0, height, width), 16).max()) > 0.02


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(
    ("height", "width", "ky", "kx"), [(12, 18, 2, 3), (13, 17, 4, 5), (7, 9, 3, 1), (300, 20, 256, 7), (700, 9, 300, 2), (5, 5, 1, 2)]
)
def test_block_means_are_those_of_pooling(dtype: type, height: int, width: int, ky: int, kx: int) -> None:
    white = 1.0 if dtype == np.float32 else np.iinfo(dtype).max
    # Bright: what would overflow narrow sums must not.
    rows: Any = (np.random.default_rng(0).uniform(0.5, 1, (height, width, 3)) * white).astype(dtype)
    planes = torch.from_numpy(np.ascontiguousarray(rows.transpose(2, 0, 1), np.float32))[None]
    pooled = torch.nn.functional.avg_pool2d(planes, (ky, kx), ceil_mode=True)[0]
    exact = dtype == np.uint8 and ky * kx < 2**15 // 255
    torch.testing.assert_close(torch.from_numpy(block_means(rows, ky, kx)), pooled, rtol=0 if exact else 1e-5, atol=0)


def test_strips_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.random.default_rng(1).integers(0, 256, (1300, 1700, 3)).astype(np.uint8)
    whole = shrink(array, Box(11, 7, 1290, 1693), 64)
    monkeypatch.setattr("raiha_core.image.crop._STRIP", 50_000)
    assert torch.equal(shrink(array, Box(11, 7, 1290, 1693), 64), whole)
