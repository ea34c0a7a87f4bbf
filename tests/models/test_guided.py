"""Guided upsampling: what the network did to the colours, at the original's sharpness."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from raiha_core.models.guided import LocalColours, fit_local_colours

FULL, SMALL = 256, 64


def photo() -> Tensor:
    """Fine texture over smooth areas, `(1, 3, 256, 256)`."""
    generator = torch.Generator().manual_seed(0)
    coarse = F.interpolate(torch.rand(1, 3, 6, 6, generator=generator), FULL, mode="bicubic")
    fine = torch.rand(1, 1, FULL, FULL, generator=generator) * 0.12
    return (0.2 + 0.6 * coarse + fine).clamp(0.02, 0.98)


def edit(rgb: Tensor) -> Tensor:
    """White balance, a tone curve and a light that falls off to one side."""
    light = torch.linspace(0.7, 1.1, rgb.shape[3])[None] * torch.linspace(1.05, 0.85, rgb.shape[2])[:, None]
    return ((rgb.clamp_min(0) ** 2.2 * torch.tensor([1.2, 1.0, 0.8])[:, None, None] * light) ** (1 / 2.2)) ** 1.15


def small(x: Tensor) -> Tensor:
    return F.interpolate(x, SMALL, mode="bilinear", antialias=True)


def centres(n: int) -> Tensor:
    return (torch.arange(n) + 0.5) / n


def energy(x: Tensor) -> float:
    grey = x.mean(1)
    return float(grey.diff(dim=1).square().sum() + grey.diff(dim=2).square().sum())


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a - b).square().mean().log10())


def test_sharpness_is_kept_and_the_colours_are_right() -> None:
    original = photo()
    real = edit(original)
    mask = torch.ones(1, 1, SMALL, SMALL)
    at = centres(FULL)
    guided = fit_local_colours(small(original), small(real), mask)(original, at, at)
    naive = F.interpolate(small(real), FULL, mode="bicubic")
    assert energy(guided) == pytest.approx(energy(real), rel=0.03)
    assert energy(naive) < 0.5 * energy(real)
    assert psnr(guided, real) > 40 > psnr(naive, real) + 10


def test_only_the_foreground_counts() -> None:
    original = small(photo())
    mask = torch.zeros(1, 1, SMALL, SMALL)
    mask[..., 20:44, 20:44] = 1
    target = torch.where(mask > 0, edit(original), torch.rand_like(original))
    at = centres(SMALL)
    out = fit_local_colours(original, target, mask)(original, at, at)
    assert psnr(out[..., 22:42, 22:42], edit(original)[..., 22:42, 22:42]) > 45


def test_soft_edges_count_by_their_weight() -> None:
    """A disc whose faint rim the network drew in wrong colours: the maps inside, without the residual, are the disc's."""
    original, at = small(photo()), centres(SMALL)
    radius = ((at[:, None] - 0.5).square() + (at - 0.5).square()).sqrt()[None, None] * SMALL
    mask = (radius < 14).float() + 0.02 * ((radius >= 14) & (radius < 18)).float()
    drawn = torch.where(mask == 1, edit(original), 1 - original)
    maps = replace(fit_local_colours(original, drawn, mask), residual=torch.zeros(3, 1, 1))
    inside = (radius < 10).expand_as(original)
    assert psnr(maps(original, at, at)[inside], edit(original)[inside]) > 32


def test_at_the_networks_own_size_it_is_what_the_network_drew() -> None:
    """Also where no smooth change of colours explains it."""
    original, at = small(photo()), centres(SMALL)
    drawn = edit(original) + 0.03 * torch.randn(original.shape, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(1, 1, SMALL, SMALL)
    mask[..., 10:50, 20:60] = 1
    out = fit_local_colours(original, drawn, mask)(original, at, at)
    torch.testing.assert_close(out[..., 10:50, 20:60], drawn[..., 10:50, 20:60], atol=1e-5, rtol=0)


def test_what_changes_nothing_gives_the_identity() -> None:
    original, mask = photo(), torch.ones(1, 1, SMALL, SMALL)
    at = centres(FULL)
    out = fit_local_colours(small(original), small(original), mask)(original, at, at)
    torch.testing.assert_close(out, original, atol=2e-5, rtol=0)
    none = fit_local_colours(small(original), small(edit(original)), torch.zeros_like(mask))(original, at, at)
    assert torch.equal(none, original)


@pytest.mark.parametrize("colour", [0.0, 0.5, 1.0])
def test_one_colour_and_one_pixel_stay_finite(colour: float) -> None:
    flat = torch.full((1, 3, SMALL, SMALL), colour)
    mask = torch.zeros(1, 1, SMALL, SMALL)
    mask[..., 10, 50] = 1
    transform = fit_local_colours(flat, (flat + 0.1).clamp(0, 1), mask)
    at = centres(SMALL)
    out = transform(flat, at, at)
    torch.testing.assert_close(out[..., 10, 50], (flat + 0.1).clamp(0, 1)[..., 10, 50], atol=1e-3, rtol=0)
    beyond = transform(torch.full((1, 3, 4, 4), 3.0), torch.linspace(-1, 2, 4), torch.linspace(-1, 2, 4))
    assert beyond.isfinite().all()


def test_a_part_is_the_part_of_the_whole() -> None:
    original = photo()
    transform = fit_local_colours(small(original), small(edit(original)), torch.ones(1, 1, SMALL, SMALL))
    at = centres(FULL)
    whole = transform(original, at, at)
    part = transform(original[..., 30:90, 100:220], at[100:220], at[30:90])
    torch.testing.assert_close(part, whole[..., 30:90, 100:220])
    moved = transform.to("cpu")
    assert isinstance(moved, LocalColours) and torch.equal(moved(original, at, at), whole)
