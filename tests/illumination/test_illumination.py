"""The Retinex estimate and the descriptor of light."""

from __future__ import annotations

import pytest
import torch

from raiha_core.illumination import DESCRIPTOR_DIM, describe, estimate, similarity


def scene(seed: int = 0, light: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> torch.Tensor:
    """Random patches (the reflectance) under one light, `(1, 3, 96, 128)` sRGB."""
    patches = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(seed)) * 0.7 + 0.1
    linear = torch.nn.functional.interpolate(patches, scale_factor=8, mode="nearest") * torch.tensor(light).view(1, 3, 1, 1)
    return linear.clamp(0, 1) ** (1 / 2.2)


def box(y0: int, y1: int, x0: int, x1: int) -> torch.Tensor:
    mask = torch.zeros(1, 1, 96, 128)
    mask[..., y0:y1, x0:x1] = 1
    return mask


def test_factors_multiply_to_the_picture():
    picture = scene()
    light = estimate(picture)
    brightest = torch.log2((picture**2.2).amax(1, keepdim=True) + 1 / 512)
    assert torch.allclose(light.brightness + light.reflectance, brightest, atol=0.1)
    assert light.color.amax(1).abs().max() < 1e-5
    assert light.illumination().shape == picture.shape


def test_a_shadow_edge_stays_an_edge_and_texture_goes():
    checks = (torch.arange(96).view(-1, 1) // 4 + torch.arange(128) // 4) % 2
    reflectance = 0.4 + 0.2 * checks
    shadow = torch.where(torch.arange(128) < 64, 0.08, 1.0)
    picture = ((reflectance * shadow) ** (1 / 2.2)).expand(1, 3, 96, 128)
    brightness = estimate(picture).brightness[0, 0]
    step = brightness[:, 80:].mean() - brightness[:, :48].mean()
    assert 2.9 < float(step) < 4.1, "log2(1 / 0.08) = 3.6 f-stops"
    near = brightness[:, 66:74].mean() - brightness[:, 54:62].mean()
    assert float(near) > 0.75 * float(step), "the edge is not smeared"
    assert float(brightness[20:76, 90:].std()) < 0.25 < float(torch.log2(reflectance).std()), "the checks are reflectance"


def test_the_colour_of_the_light():
    light = estimate(scene(light=(1.0, 0.8, 0.5)))
    red, green, blue = light.color.mean((0, 2, 3)).tolist()
    neutral = estimate(scene()).color.mean((0, 2, 3)).tolist()
    assert red - green > neutral[0] - neutral[1] + 0.15
    assert green - blue > neutral[1] - neutral[2] + 0.35


def test_the_foreground_does_not_leak_in():
    picture, mask = scene(), box(20, 70, 30, 90)
    for colour in (0.0, 1.0):
        other = picture.clone()
        other[..., 20:70, 30:90] = colour
        assert torch.equal(describe(picture, mask), describe(other, mask))
        filled = torch.where(mask > 0, torch.tensor(colour), picture)
        assert torch.allclose(
            estimate(picture, 1 - mask).brightness * (1 - mask), estimate(filled, 1 - mask).brightness * (1 - mask), atol=1e-4
        )
    assert not torch.allclose(describe(picture), describe(other))


def test_batches_equal_single_pictures():
    pictures = torch.cat([scene(1), scene(2), scene(3)])
    masks = torch.cat([box(0, 40, 0, 50), box(50, 96, 60, 128), box(10, 11, 10, 11)])
    together = describe(pictures, masks)
    assert together.shape == (3, DESCRIPTOR_DIM)
    for i in range(3):
        assert torch.allclose(together[i : i + 1], describe(pictures[i : i + 1], masks[i : i + 1]), atol=1e-4)


@pytest.mark.parametrize("light", [(0.35, 0.35, 0.35), (1.0, 0.8, 0.5), (0.5, 0.7, 1.0)])
def test_the_same_light_is_more_alike_than_another(light):
    query = describe(scene(4), box(30, 60, 40, 80))
    same, other = describe(scene(5)), describe(scene(5, light))
    assert similarity(query, same) > similarity(query, other) + 0.05
    assert similarity(describe(scene(4, light), box(30, 60, 40, 80)), other) > similarity(describe(scene(4, light)), same) + 0.05


def test_contrast_counts():
    flat, deep = scene(6) * 0.3 + 0.35, scene(6)
    assert similarity(describe(flat), describe(scene(7) * 0.3 + 0.35)) > similarity(describe(flat), describe(deep))


def test_similarity_lies_between_0_and_1():
    a = describe(torch.cat([scene(1), torch.zeros(1, 3, 96, 128), torch.ones(1, 3, 96, 128)]))
    values = similarity(a[:, None], a[None])
    assert torch.allclose(values.diagonal(), torch.ones(3)) and torch.allclose(values, values.T)
    assert float(values.min()) >= 0 and float(values[1, 2]) < 0.25


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (700, 500)])
def test_any_size_and_any_mask(size):
    picture = torch.rand(1, 3, *size)
    for mask in (None, torch.zeros(1, 1, *size), torch.ones(1, 1, *size)):
        assert bool(describe(picture, mask).isfinite().all())
    assert bool(describe(picture * 4 - 1).isfinite().all()), "values outside [0, 1] do no harm"
