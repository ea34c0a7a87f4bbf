"""What models are shown: sRGB, an object and no haze, and no colours that nobody can see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from raiha_core.image import Box, Picture, from_array, shrink
from raiha_core.image.spaces import decode_curve, make_profile
from raiha_core.image.view import fill_hidden, full_view, view, view_mask

P3 = make_profile(1.0, (0.3127, 0.3290), (0.68, 0.32, 0.265, 0.69, 0.15, 0.06), decode_curve())


@pytest.fixture
def scene():
    y, x = np.mgrid[0:90, 0:120]
    return np.stack([60 + x, 200 - y, 40 + (x + y) // 2], -1).astype(np.uint8)


@pytest.fixture
def mask():
    mask = np.zeros((90, 120), np.float32)
    mask[30:60, 40:80] = 1
    return mask


BOX = Box(5, 0, 85, 110)


def test_an_ordinary_picture_is_shown_as_it_is(scene, mask):
    assert torch.equal(view(from_array(scene), BOX, 32, mask), shrink(scene, BOX, 32))


@pytest.mark.parametrize("size", [16, 64])
def test_a_profile_shows_as_its_srgb_twin(scene, mask, size):
    wide = Picture(scene, icc=P3)
    twin = wide.rgb_tensor()[0].permute(1, 2, 0).numpy()
    assert float((view(wide, BOX, size, mask) - view(from_array(twin), BOX, size, mask)).abs().max()) < 2e-3
    assert float((view(wide, BOX, size, mask) - shrink(scene, BOX, size)).abs().max()) > 0.02


@pytest.mark.parametrize("premultiplied", [False, True])
def test_hidden_colours_do_not_show(scene, mask, premultiplied):
    alpha = np.full((90, 120), 255, np.uint8)
    alpha[:, 85:] = 0
    shown = []
    for hidden in (0, 255):
        colours = scene.copy()
        colours[alpha == 0] = 0 if premultiplied else hidden
        picture = Picture(colours, alpha, premultiplied=premultiplied)
        shown.append((view(picture, BOX, 32, mask), full_view(picture, mask)))
    assert torch.allclose(shown[0][0], shown[1][0]) and torch.allclose(shown[0][1], shown[1][1])
    assert torch.allclose(shown[0][0][..., :20], shrink(scene, BOX, 32)[..., :20], atol=2e-3)
    assert float(shown[0][0][..., 28:].min()) > 0.05, "hidden parts continue what is visible"


def test_an_alpha_that_is_the_mask_hides_nothing(scene, mask):
    for alpha in (mask, 1 - mask):
        picture = Picture(scene, (alpha * 255).astype(np.uint8))
        assert torch.equal(view(picture, BOX, 32, mask), shrink(scene, BOX, 32))
        assert torch.equal(full_view(picture, mask), picture.rgb_tensor())


def test_references_without_anything_visible_are_grey():
    blank = Picture(np.full((9, 9, 3), 200, np.uint8), np.zeros((9, 9), np.uint8))
    assert torch.allclose(view(blank, Box(0, 0, 9, 9), 8), torch.tensor(0.5))
    assert torch.allclose(fill_hidden(torch.rand(1, 3, 7, 5), torch.zeros(1, 1, 7, 5)), torch.tensor(0.5))


def test_hard_masks_are_shown_as_they_are(mask):
    assert torch.equal(view_mask(mask, BOX, 32), shrink(mask, BOX, 32).clamp(0, 1))
    disc = Image.fromarray((mask * 255).astype(np.uint8)).resize((480, 360), Image.Resampling.NEAREST)
    soft = np.asarray(disc.filter(ImageFilter.GaussianBlur(1))).astype(np.float32) / 255
    assert torch.equal(view_mask(soft, Box(0, 0, 360, 480), 32), shrink(soft, Box(0, 0, 360, 480), 32).clamp(0, 1))


def test_a_wide_feather_is_shown_as_an_object(mask):
    soft = np.asarray(Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(8))).astype(np.float32) / 255
    shown, hard = view_mask(soft / soft.max(), BOX, 64), view_mask(mask, BOX, 64)
    assert float(((shown - hard).abs() > 0.5).float().mean()) < 0.03
    assert float(((shown > 0.05) & (shown < 0.95)).float().mean()) < 0.1


def test_hairlines_are_as_strong_as_they_can_be_seen():
    mask = np.zeros((2000, 3000), np.float32)
    mask[1000] = 1
    assert float(view_mask(mask, Box(0, 0, 2000, 3000), 32).max()) == 1
