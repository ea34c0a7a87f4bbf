"""Attention as pictures: the heat lies where the foreground looked, and a person can read it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from raiha_core.attention import attention_panels, colour_scale, heat_map, render_attention
from raiha_core.errors import RaihaError
from raiha_core.image import Box
from raiha_core.image.colour import srgb_to_lab
from raiha_core.models import Attention

GRID = 8


@pytest.fixture
def scene():
    """A mid-grey composite of 64 x 96 with a foreground at the left, and two references of other shapes."""
    composite = np.full((64, 96, 3), 128, np.uint8)
    mask = np.zeros((64, 96), np.float32)
    mask[16:48, 12:36] = 1
    return composite, mask, [np.full((40, 80, 3), 90, np.uint8), np.full((90, 30, 3), 160, np.uint8)]


@pytest.fixture
def attention(scene):
    """The upper foreground token looks at the composite's lower right, the lower one at the first reference's upper left."""
    queries = torch.tensor([2 * GRID + 1, 5 * GRID + 2])
    weights = torch.zeros(2, 3 * GRID * GRID)
    weights[0, GRID * GRID - 1] = 1
    weights[1, GRID * GRID : GRID * GRID + 2] = 0.5
    return Attention(weights, queries, (GRID, GRID), 3)


def redness(panel):
    return panel[..., 0] - panel[..., 2]


def test_the_colour_scale_is_perceptually_even():
    colours = colour_scale()
    assert colours.shape == (256, 3) and colours.min() >= 0 and colours.max() <= 1
    lab = srgb_to_lab(torch.from_numpy(colours).T[None, :, :, None])[0, :, :, 0]
    steps = (lab[:, 1:] - lab[:, :-1]).norm(dim=0)
    assert float(steps.std() / steps.mean()) < 0.25
    assert bool((lab[0].diff() > 0).all()), "lightness must rise, so that the scale also reads without colours"


def test_heat_is_measured_against_an_even_spread(attention):
    heat = heat_map(attention)
    assert heat.times.shape == (3, GRID, GRID) and heat.query is None
    assert sum(heat.shares) == pytest.approx(1)
    assert heat.shares == pytest.approx((0.5, 0.5, 0.0))
    keys = 3 * GRID * GRID - 2
    assert heat.times[0, 7, 7] == pytest.approx(0.5 * keys)
    even = Attention(torch.full((1, 64), 1 / 63), torch.tensor([9]), (8, 8), 1)
    even.weights[0, 9] = 0
    flat = heat_map(even)
    assert np.allclose(np.delete(flat.times.ravel(), 9), 1) and flat.top >= 2


def test_one_point_has_a_map_of_its_own(attention):
    upper, lower = heat_map(attention, (0, 0)), heat_map(attention, (7, 3))
    assert upper.query == (2, 1) and upper.shares == pytest.approx((1, 0, 0))
    assert lower.query == (5, 2) and lower.shares == pytest.approx((0, 1, 0))


def test_panels_show_the_heat_in_its_place(attention, scene):
    composite, mask, references = scene
    panels = attention_panels(attention, composite, mask, references, side=192)
    assert [p.shape for p in panels] == [(128, 192, 3), (192, 192, 3), (192, 192, 3)]
    assert all(p.dtype == np.float32 and p.min() >= 0 and p.max() <= 1 for p in panels)
    first = redness(panels[0])
    assert first[120:, 180:].mean() > 0.2 and abs(first[:40, 100:].mean()) < 0.02
    # The first reference is 80 x 40, so it takes the middle rows of its square.
    assert redness(panels[1])[50:56, 4:30].mean() > 0.1 > abs(redness(panels[1])[100:140, 100:].mean())
    assert not panels[1][:40].any()
    # The foreground itself stays as it was, with an outline around it.
    assert np.allclose(panels[0][50:78, 34:62], 128 / 255, atol=0.01)
    assert (panels[0][28:34, 30:60] > 0.9).all(-1).any() and (panels[0][26:40, 20:76] < 0.15).all(-1).any()


def test_the_crop_that_the_model_saw_is_shown(attention, scene):
    composite, mask, references = scene
    composite = composite.copy()
    composite[:, 60:] = 0
    panels = attention_panels(attention, composite, mask, references, box=Box(0, 0, 64, 60), side=128)
    assert panels[0].shape == (128, 120, 3)
    assert panels[0][:40, 110:].mean() > 0.2


def test_a_query_point_is_marked_and_chosen_within_the_crop(attention, scene):
    composite, mask, references = scene
    one = attention_panels(attention, composite, mask, references, query=(0.15, 0.3), side=192)
    whole = attention_panels(attention, composite, mask, references, side=192)
    assert redness(one[0])[120:, 180:].mean() > 0.2
    assert abs(redness(one[1])[50:60, :40].mean()) < 0.05 < redness(whole[1])[50:60, :40].mean()
    y, x = round(2.5 / 8 * 128), round(1.5 / 8 * 192)
    assert (one[0][y - 8 : y + 9, x - 8 : x + 9, 2] > 0.9).any() and not (whole[0][y - 2 : y + 3, x - 2 : x + 3, 2] > 0.9).any()
    with pytest.raises(RaihaError, match="query point"):
        attention_panels(attention, composite, mask, references, query=(1.2, 0.5))


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_the_sheet_has_every_panel_and_fits_a_screen(scene, count):
    composite, mask, references = scene
    panels = 1 + count
    attention = Attention(torch.full((1, panels * 64), 1 / (panels * 64 - 1)), torch.tensor([17]), (8, 8), panels)
    used = (references * 4)[:count]
    sheet = render_attention(attention, composite, mask, used, labels=["a very long name that cannot fit under its panel" * 3], side=512)
    assert sheet.mode == "RGB" and 512 <= sheet.width <= 1100 and sheet.height <= 800
    pixels = np.asarray(sheet)
    assert (pixels[-8:] == pixels[-1, -1]).all() and (pixels[:, -8:] == pixels[-1, -1]).all(), "nothing runs over the edge"
    plain = render_attention(attention, composite, mask, used, side=512)
    assert (plain.tobytes() != sheet.tobytes()) == (count > 0), "labels are drawn under references"


def test_shapes_that_are_hard_to_draw():
    attention = Attention(torch.full((1, 64), 1 / 63), torch.tensor([0]), (8, 8), 1)
    for size in ((1, 500), (500, 1), (1, 2), (3000, 40)):
        mask = np.zeros(size, np.float32)
        mask.flat[0] = 1
        for image in (np.zeros((*size, 3), np.uint16), np.full((*size, 3), 2.5, np.float32)):
            sheet = render_attention(attention, image, mask)
            assert min(sheet.size) > 40


def test_what_does_not_belong_together_is_refused(attention, scene):
    composite, mask, references = scene
    with pytest.raises(RaihaError, match="2 references, but 1"):
        render_attention(attention, composite, mask, references[:1])
    with pytest.raises(RaihaError, match="The mask is"):
        render_attention(attention, composite, mask[:-1], references)
    with pytest.raises(RaihaError, match="at least 64"):
        attention_panels(attention, composite, mask, references, side=10)
    with pytest.raises(RaihaError, match="does not exist"):
        render_attention(attention, "none.png", mask, references)


def test_pictures_of_pil_and_tensors_serve_too(attention, scene):
    composite, mask, references = scene
    arrays = attention_panels(attention, composite, mask, references, side=96)
    others = attention_panels(
        attention,
        Image.fromarray(composite),
        torch.from_numpy(mask),
        [Image.fromarray(references[0]), torch.from_numpy(references[1]).permute(2, 0, 1).float() / 255],
        side=96,
    )
    assert all(np.allclose(a, b, atol=0.01) for a, b in zip(arrays, others, strict=True))
