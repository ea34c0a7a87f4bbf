"""Transforms of a clip, averaged: those of raiha-s (affine maps) and of rhnet (local colours)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from raiha_core import video
from raiha_core.errors import RaihaError
from raiha_core.harmonizer import PlacedTransform
from raiha_core.image import Box
from raiha_core.models.base import AffineMap, ColorTransform
from raiha_core.models.guided import fit_local_colours

BOX = Box(0, 0, 64, 64)


def affine(gain: float) -> ColorTransform:
    return AffineMap((torch.eye(3, 4) * gain).reshape(12, 1, 1).repeat(1, 4, 4))


def local(gain: float) -> ColorTransform:
    """What rhnet gives for a network that multiplies by `gain` and draws a chequered pattern on top of it."""
    photo = F.interpolate(torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(0)), 64, mode="bicubic").clamp(0, 1)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 8:56, 8:56] = 1
    chequers = 0.05 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(32, 32)
    return fit_local_colours(photo, photo * gain + chequers, mask)


def clip(kind: object, gains: tuple[float, ...]) -> list[PlacedTransform]:
    return [PlacedTransform(kind(g), BOX) for g in gains]  # type: ignore[operator]


def grey(placed: PlacedTransform) -> Tensor:
    at = torch.tensor([0.4, 0.6])
    return placed.transform(torch.full((1, 3, 2, 2), 0.5), at, at)


@pytest.mark.parametrize("kind", [affine, local])
def test_one_transform_is_the_mean(kind: object) -> None:
    one = video.average(clip(kind, (0.6, 0.8, 1.0)))
    assert video.flicker(one) == 0
    assert torch.allclose(grey(one[0]), torch.tensor(0.4), atol=0.01), "0.5 times the mean gain, without one frame's pattern"


@pytest.mark.parametrize("kind", [affine, local])
def test_smoothing_takes_most_of_the_flicker(kind: object) -> None:
    jumping = clip(kind, (0.7, 1.0) * 6)
    assert video.flicker(video.smooth(jumping, 2.0)) < 0.2 * video.flicker(jumping)
    steady = clip(kind, (0.8,) * 5)
    assert torch.allclose(grey(video.smooth(steady, 2.0)[0]), torch.tensor(0.4), atol=0.01)


def test_flicker_is_in_steps_of_8_bit_values() -> None:
    # Half of the mean of the colours 0, 0.5 and 1, times 255.
    assert video.flicker(clip(affine, (1.0, 0.5))) == pytest.approx(0.5 * 0.5 * 255)
    assert video.flicker(clip(affine, (1.0,))) == 0


def test_what_cannot_be_averaged_is_refused() -> None:
    with pytest.raises(RaihaError, match="each frame on its own"):
        video.average([*clip(affine, (1.0,)), *clip(local, (1.0,))])
    first, second = clip(affine, (1.0, 0.9))
    apart = [first, replace(second, box=Box(1, 0, 64, 64))]
    with pytest.raises(RaihaError, match="each frame on its own"):
        video.smooth(apart, 1.0)
    with pytest.raises(RaihaError, match="one common box"):
        video.flicker(apart)
    for frames in (0.0, float("nan")):
        with pytest.raises(RaihaError, match="positive"):
            video.smooth([first, second], frames)
