"""Colour spaces agree with scikit-image and with themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raiha_core.image.colour import lab_to_srgb, linear_to_srgb, srgb_to_lab, srgb_to_linear


@pytest.fixture
def rgb():
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_lab_agrees_with_scikit_image(rgb):
    colour = pytest.importorskip("skimage.color")
    expected = colour.rgb2lab(rgb.permute(0, 2, 3, 1).double().numpy())
    assert np.abs(srgb_to_lab(rgb).permute(0, 2, 3, 1).numpy() - expected).max() < 0.02


def test_round_trips(rgb):
    assert torch.allclose(lab_to_srgb(srgb_to_lab(rgb)), rgb, atol=1e-4)
    assert torch.allclose(linear_to_srgb(srgb_to_linear(rgb)), rgb, atol=1e-5)


def test_values_beyond_the_range_survive():
    beyond = torch.tensor([-0.2, 0.0, 0.04045, 1.0, 1.7])
    assert torch.allclose(linear_to_srgb(srgb_to_linear(beyond)), beyond, atol=1e-5)


def test_known_values():
    assert torch.allclose(srgb_to_linear(torch.tensor(0.5)), torch.tensor(0.21404), atol=1e-4)
    white = srgb_to_lab(torch.ones(1, 3, 1, 1)).flatten()
    assert torch.allclose(white, torch.tensor([100.0, 0, 0]), atol=1e-2)
