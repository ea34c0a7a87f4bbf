"""Fidelity, whatever the picture: any size, depth, mask and strength."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raiha_core import apply as room
from raiha_core.harmonizer import Harmonizer, PlacedTransform
from raiha_core.image import Box, from_array
from raiha_core.models import AffineMap, ColorTransform, HarmonizationModel, Prediction


class Wild(HarmonizationModel):
    """A transform that leaves nothing alone."""

    architecture = "wild"
    input_size = 16
    crops = True

    def __init__(self):
        super().__init__()
        noise = torch.randn(12, 5, 7, generator=torch.Generator().manual_seed(3))
        self.transform = AffineMap(noise)

    def predict(self, composite, mask, references=None, *, attention=False, caution=None):
        assert composite.isfinite().all() and mask.isfinite().all() and float(mask.max()) > 0
        return Prediction(self.transform)


WILD = Harmonizer(Wild())


@st.composite
def cases(draw, dtypes=(np.uint8, np.uint16, np.float16, np.float32, np.float64), channel_counts=(1, 2, 3, 4)):
    """A picture of any size, depth and channels, and a mask with hard, soft and empty parts."""
    height, width = draw(st.integers(1, 200)), draw(st.integers(2, 200))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    channels, dtype = draw(st.sampled_from(channel_counts)), draw(st.sampled_from(dtypes))
    shape = (height, width, channels)
    if np.dtype(dtype).kind == "f":
        # Negative zeros, tiny and large values: what a sloppy copy would change.
        image = np.where(rng.random(shape) < 0.2, rng.choice([-0.0, 1e-7, 1e4, -0.5], shape), rng.random(shape)).astype(dtype)
    else:
        image = rng.integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)
    mask = np.zeros((height, width), np.float32)
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    bottom, right = draw(st.integers(top + 1, height)), draw(st.integers(left + 1, width))
    part = mask[top:bottom, left:right]
    part[:] = draw(st.sampled_from([1.0, 0.5, 1e-6])) if draw(st.booleans()) else rng.random(part.shape) * (rng.random(part.shape) < 0.7)
    if mask.max() == 0:
        mask[top, left] = 1
    if mask.min() >= mask.max():  # the brightest value counts as white, and something must be background
        mask[-1, -1] = 0
    return image, mask


@settings(max_examples=150, deadline=None)
@given(cases(), st.floats(0, 1))
def test_not_one_bit_outside_the_mask_changes(case, strength):
    image, mask = case
    before = image.copy()
    result = WILD.harmonize(image, mask, strength=strength).image
    assert result.dtype == image.dtype and result.shape == image.shape
    assert np.array_equal(image.view(np.uint8), before.view(np.uint8)), "the input was written to"
    outside = mask == 0
    assert result[outside].tobytes() == image[outside].tobytes()
    assert np.isfinite(result.astype(np.float64)).all()
    if image.shape[2] in (2, 4):
        assert result[..., -1].tobytes() == image[..., -1].tobytes()


@settings(max_examples=60, deadline=None)
@given(cases())
def test_strength_zero_is_the_input_bit_for_bit(case):
    image, mask = case
    assert WILD.harmonize(image, mask, strength=0).image.tobytes() == image.tobytes()


@settings(max_examples=60, deadline=None)
@given(cases([np.uint8, np.uint16], [3, 4]), st.floats(0, 1))
def test_soft_masks_and_strength_blend_in_proportion(case, strength):
    image, mask = case
    white = np.iinfo(image.dtype).max
    picture = from_array(image)
    placed, _ = WILD.predict(picture, mask)
    full = WILD.apply(from_array(picture.rgb.astype(np.float32) / white), (mask > 0).astype(np.float32), placed).rgb
    c = picture.rgb.astype(np.float64)
    expected = c + strength * mask[..., None] * (full.astype(np.float64) * white - c)
    result = WILD.apply(picture, mask, placed, strength).rgb
    assert np.abs(result - expected).max() <= 0.5 + 1e-6 * white * 10


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(1, 5000))
def test_strips_of_any_height_give_the_same(case, strip):
    image, mask = case
    whole = WILD.harmonize(image, mask).image
    before = room.STRIP
    room.STRIP = strip
    try:
        parts = WILD.harmonize(image, mask).image
    finally:
        room.STRIP = before
    if image.dtype.kind == "u":
        assert np.abs(whole.astype(int) - parts).max() <= 1
    else:
        assert np.allclose(whole.astype(np.float64), parts.astype(np.float64), rtol=1e-3, atol=1e-4)


class Plain(ColorTransform):
    """The same map through torch's own resampling, as a second opinion."""

    def __init__(self, matrix):
        self.matrix = matrix

    def __call__(self, rgb, x, y):
        grid = torch.stack(torch.meshgrid(x * 2 - 1, y * 2 - 1, indexing="xy"), -1)[None]
        m = torch.nn.functional.grid_sample(self.matrix[None], grid, padding_mode="border", align_corners=False)
        return torch.stack([(m[:, 4 * i : 4 * i + 3] * rgb).sum(1) + m[:, 4 * i + 3] for i in range(3)], 1)

    def to(self, device):
        return Plain(self.matrix.to(device))


@pytest.mark.parametrize("box", [Box(0, 0, 90, 130), Box(20, 30, 60, 100), Box(0, 100, 90, 130)])
def test_full_resolution_equals_plain_resampling(box):
    image = from_array(np.random.default_rng(0).random((90, 130, 3), np.float32))
    mask = np.zeros((90, 130), np.float32)
    mask[10:80, 5:125] = 1
    matrix = WILD.model.transform.matrix
    one = WILD.apply(image, mask, PlacedTransform(AffineMap(matrix), box))
    other = WILD.apply(image, mask, PlacedTransform(Plain(matrix), box))
    assert np.allclose(one.rgb, other.rgb, atol=1e-4)


def test_the_same_look_at_every_resolution():
    """A smooth picture harmonised at twice the size is the harmonised picture at twice the size."""
    y, x = np.mgrid[0:1:64j, 0:1:96j]
    small = np.stack([x, y, 1 - x], -1).astype(np.float32)
    mask = np.zeros((64, 96), np.float32)
    mask[16:48, 16:80] = 1
    large, large_mask = small.repeat(2, 0).repeat(2, 1), mask.repeat(2, 0).repeat(2, 1)
    identity = torch.eye(3, 4).reshape(12, 1, 1)
    transform = AffineMap(identity + 0.1 * WILD.model.transform.matrix)
    box = Box(8, 8, 56, 88)
    a = WILD.apply(from_array(small), mask, PlacedTransform(transform, box)).rgb
    b = WILD.apply(from_array(large), large_mask, PlacedTransform(transform, Box(*(2 * v for v in box)))).rgb
    # Where a cell centre cuts a pixel in two, the mean of its quarters is not its middle's value, by this little.
    assert np.abs(b.reshape(64, 2, 96, 2, 3).mean((1, 3)) - a).max() < 0.02
    assert np.abs(a - small).max() > 0.2
