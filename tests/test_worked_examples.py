"""Small examples worked by hand, of what a user would see change if a sign, a width or a share were another.

No shipped weights are needed here; what these make of pictures is held by tests/test_golden.py.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from raiha_core import video
from raiha_core.content import ContentFeatures
from raiha_core.harmonizer import PlacedTransform
from raiha_core.illumination import describe, similarity
from raiha_core.image import Box, crop_box, shrink
from raiha_core.models import AffineMap, apply_affine
from raiha_core.models.fusion import cosine_attention
from raiha_core.models.raiha_s.edges import edge_colours
from raiha_core.references.query import foreground_vector


def shifts(*values: float) -> list[PlacedTransform]:
    """Transforms that add these values to every colour, one per frame."""
    identity = torch.eye(3, 4)
    return [PlacedTransform(AffineMap((identity + v * torch.eye(4)[3]).reshape(12, 1, 1)), Box(0, 0, 8, 8)) for v in values]


def shift_of(placed: PlacedTransform) -> float:
    return float(cast(AffineMap, placed.transform).matrix[3])


def test_a_clip_is_smoothed_by_a_gaussian_of_the_width_that_was_asked_for() -> None:
    frames, middle = 41, 20
    for width in (1.0, 2.0, 4.0):
        response = [shift_of(t) for t in video.smooth(shifts(*(float(i == middle) for i in range(frames))), width)]
        assert math.isclose(response[middle] / response[middle + 2], math.exp(4 / (2 * width**2)), rel_tol=1e-4)
        spread = sum(r * (i - middle) ** 2 for i, r in enumerate(response)) / sum(response)
        assert math.isclose(spread**0.5, width, rel_tol=0.02), "its standard deviation is the setting"
    steady = video.smooth(shifts(*[0.25] * 9), 3.0)
    assert all(math.isclose(shift_of(t), 0.25, rel_tol=1e-5) for t in steady), "the ends of the clip are not drawn to 0"


def test_light_counts_three_times_as_much_as_contrast_and_layout_hardly() -> None:
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    described = describe(images)
    light, contrast, layout = described[:, :250], described[:, 250:266], described[:, 266:]
    torch.testing.assert_close(light.square().sum(1), torch.full((3,), 0.75))
    torch.testing.assert_close(contrast.square().sum(1), torch.full((3,), 0.25))
    assert float(layout.square().sum(1).max()) < 0.1


def test_similarity_of_light_falls_with_the_squared_distance() -> None:
    a, b = torch.zeros(4), torch.tensor([0.6, 0.0, 0.8, 0.0])
    assert float(similarity(a, a)) == 1.0
    assert float(similarity(a, b)) == pytest.approx(math.exp(-1.0))


def test_warm_light_is_nearer_to_warm_light_than_to_cold() -> None:
    ramp = torch.linspace(0.2, 0.8, 64)[None, None, None].expand(1, 3, 64, 64)
    warm, warm_too, cold = (ramp * torch.tensor(c)[None, :, None, None] for c in ((1.0, 0.8, 0.6), (0.95, 0.8, 0.6), (0.6, 0.8, 1.0)))
    one, near, far = (describe(x) for x in (warm, warm_too, cold))
    assert float(similarity(one, near)) > 0.8 > 0.5 > float(similarity(one, far))


def test_what_the_foreground_shows_is_asked_for_not_the_new_background() -> None:
    cat, street = torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0])
    dense = street[:, None, None].repeat(1, 4, 4)
    dense[:, 1:3, 1:3] = cat[:, None, None]
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    whole = torch.nn.functional.normalize(dense.mean((1, 2)), dim=0)
    features = ContentFeatures(whole[None], dense[None])
    torch.testing.assert_close(foreground_vector(features, mask), cat)
    torch.testing.assert_close(foreground_vector(features, 1 - mask), street)
    other = torch.tensor([[0.0, 0, 1.0]])  # an encoder whose vector is not the mean of its map
    torch.testing.assert_close(foreground_vector(ContentFeatures(other, dense[None]), mask), other[0])


def test_attention_takes_the_colour_of_what_is_alike() -> None:
    keys = torch.tensor([[1.0, 0.0, 0.9], [0.0, 1.0, 0.1]])[None]  # columns: like the query, unlike, nearly like but not allowed
    colours = torch.tensor([[0.2, 0.8, 0.5]])[None]
    allowed = torch.tensor([[True, True, False]])
    attended, weights = cosine_attention(torch.tensor([[[2.0], [0.0]]]), keys, colours, allowed, 20.0)
    assert float(weights[0, 0, 2]) == 0 and float(weights[0, 0, 0]) == pytest.approx(1 / (1 + math.exp(-20)), abs=1e-6)
    assert float(attended) == pytest.approx(0.2, abs=1e-4)
    _, biased = cosine_attention(torch.tensor([[[2.0], [0.0]]]), keys, colours, allowed, 20.0, torch.tensor([[0.0, 40.0, 99.0]]))
    assert float(biased[0, 0, 1]) > 0.99 and float(biased[0, 0, 2]) == 0


def test_the_step_at_an_edge_leads_from_inside_to_outside() -> None:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    rgb = 0.7 - 0.4 * mask.repeat(1, 3, 1, 1)  # a dark object before a bright wall
    edge = edge_colours(rgb, mask)
    seen = edge.weight[0, 0] > 0.5
    assert seen.any() and float(edge.step[0, :, seen].min()) > 0.1, "to fit, the object must become brighter"
    assert float(edge_colours(1 - rgb, mask).step[0, :, seen].max()) < -0.1


def test_colours_are_mapped_row_by_row() -> None:
    matrix = torch.tensor([0.0, 1, 0, 0.1, 0, 0, 1, 0.2, 1, 0, 0, 0.3]).reshape(1, 12, 1, 1)
    moved = apply_affine(torch.tensor([0.1, 0.2, 0.3]).reshape(1, 3, 1, 1), matrix)
    torch.testing.assert_close(moved.flatten(), torch.tensor([0.3, 0.5, 0.4]))


def test_the_crop_is_one_and_a_half_times_the_object_or_ten_times_its_area() -> None:
    mask = np.zeros((1000, 1600), np.float32)
    mask[400:600, 700:900] = 1  # 200 x 200: by its area, 632 px; by its sides, 300
    assert crop_box(mask) == Box(184, 484, 816, 1116)
    mask[:] = 0
    mask[480:520, 500:900] = 1  # a rod of 40 x 400: by its sides, 600 px; by its area, 400
    assert crop_box(mask) == Box(200, 400, 800, 1000)
    mask[:] = 0
    mask[50:950, 300:1300] = 1
    assert crop_box(mask) == Box(0, 0, 1000, 1600), "a crop of nearly everything is everything"
    mask[:] = 0
    mask[500, 800] = 0.4  # a faint pixel: as much as can be seen around it
    assert crop_box(mask) == Box(484, 784, 516, 816)


def test_a_picture_made_small_is_its_area_averaged() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4, :4] = 255
    small = shrink(picture, Box(0, 0, 8, 8), 2)
    assert small.shape == (1, 3, 2, 2) and float(small[0, 0, 0, 0]) > 0.7 > 0.1 > float(small[0, 0, 1, 1])
    assert float(small.mean()) == pytest.approx(0.25, abs=0.01)
    assert float(shrink(picture, Box(0, 0, 4, 4), 2).min()) == 1.0
    deep = shrink(picture.astype(np.uint16) * 257, Box(0, 0, 8, 8), 2)
    torch.testing.assert_close(deep, small)


def test_the_belief_is_taught_what_was_changed() -> None:
    pytest.importorskip("msgspec")
    from raiha_core.models.raiha_s.outline import Outline
    from raiha_core.training.objective import RaihaSObjective

    mask = torch.zeros(2, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    truth = torch.full((2, 3, 64, 64), 0.5)
    composite = truth + mask * torch.tensor([0.2, 0.0])[:, None, None, None]  # the first was changed, the second fits
    touched = torch.zeros(2, requires_grad=True)
    identity = torch.eye(3, 4).reshape(1, 12, 1, 1)
    found = Outline()(composite, mask)
    out = SimpleNamespace(matrix=identity.repeat(2, 1, 8, 8), overall=identity.repeat(2, 1, 1, 1), touched=touched, outline=found)
    batch = SimpleNamespace(composite=composite, mask=mask, real=truth, cut=mask, references=None)
    RaihaSObjective.loss(cast(Any, SimpleNamespace()), cast(Any, lambda *_: out), cast(Any, batch)).backward()
    assert touched.grad is not None
    assert touched.grad[0] < 0 < touched.grad[1], "one step makes it believe more of the changed one, less of the other"
