from __future__ import annotations

import pytest
import torch
from torch import Tensor

from raiha_core.errors import RaihaError
from raiha_core.paste import Placement, place

SIZE = (60, 80)


def cutout(height: int = 20, width: int = 30) -> tuple[Tensor, Tensor]:
    """Noise, and an ellipse of alpha with a ramp at its edge."""
    colours = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(3))
    y, x = torch.linspace(-1.2, 1.2, height)[:, None], torch.linspace(-1.2, 1.2, width)[None]
    return colours, ((1 - (x * x + y * y)) * 4).clamp(0, 1)[None, None]


def background() -> Tensor:
    return torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(4)) * 1.4


def own_size(**more: float) -> Placement:
    return Placement(scale=30 / 80, **more)


def test_in_its_own_size_it_is_not_resampled() -> None:
    colours, alpha = cutout()
    patch = place(colours, alpha, SIZE, own_size())
    mask = patch.mask()
    assert torch.equal(mask[:, :, 20:40, 25:55], alpha) and mask.sum() == pytest.approx(float(alpha.sum()))
    out, scene = patch.onto(background()), background()
    assert torch.equal(out[:, :, 20:40, 25:55][(alpha == 1).expand(-1, 3, -1, -1)], colours[(alpha == 1).expand(-1, 3, -1, -1)])
    assert torch.equal(out[(mask == 0).expand(-1, 3, -1, -1)], scene[(mask == 0).expand(-1, 3, -1, -1)])
    soft = (mask > 0) & (mask < 1)
    assert soft.any() and not torch.equal(out[soft.expand(-1, 3, -1, -1)], scene[soft.expand(-1, 3, -1, -1)])


def test_x_and_y_are_the_middle_and_scale_one_fits() -> None:
    whole = torch.ones(1, 1, 20, 30)
    mask = place(torch.ones(1, 3, 20, 30), whole, SIZE, Placement(x=0.5, y=0.5, scale=1)).mask()[0, 0]
    assert mask.any(0).sum() == 80 and abs(int(mask.any(1).sum()) - 80 * 20 / 30) <= 2
    mask = place(torch.ones(1, 3, 20, 30), whole, SIZE, own_size(x=0.25, y=0.75)).mask()[0, 0]
    rows, columns = mask.nonzero().float().add(0.5).mean(0)
    assert abs(rows - 45) < 0.6 and abs(columns - 20) < 0.6


@pytest.mark.parametrize("factor", [2, 3])
def test_the_same_placement_at_any_resolution(factor: int) -> None:
    colours, alpha = cutout(90, 120)
    small = place(colours, alpha, SIZE, Placement(0.4, 0.6, 0.5, 20)).mask()
    large = place(colours, alpha, (SIZE[0] * factor, SIZE[1] * factor), Placement(0.4, 0.6, 0.5, 20)).mask()
    shrunk = torch.nn.functional.avg_pool2d(large, factor)
    assert (small - shrunk).abs().mean() < 0.01


def test_mirror_and_quarter_turns_keep_every_pixel() -> None:
    colours, alpha = cutout()
    flipped = place(colours, alpha, SIZE, own_size(mirror=True))
    assert torch.equal(flipped.alpha, alpha.flip(3)) and torch.allclose(
        flipped.colours * flipped.alpha, (colours * alpha).flip(3), atol=1e-6
    )
    turned = place(colours, alpha, SIZE, own_size(rotation=90))
    # Clockwise: what was at the left is at the top.
    assert torch.equal(turned.alpha, alpha.rot90(-1, (2, 3)))
    assert torch.equal(place(colours, alpha, SIZE, own_size(rotation=-270)).alpha, turned.alpha)


def test_it_turns_clockwise() -> None:
    alpha = torch.zeros(1, 1, 21, 21)
    alpha[:, :, 2:6, 9:12] = 1  # a spot above the middle
    mask = place(torch.ones(1, 3, 21, 21), alpha, (41, 41), Placement(scale=21 / 41, rotation=45)).mask()[0, 0]
    row, column = mask.nonzero().float().mean(0)
    assert row < 20 < column, "a spot at the top goes to the top right"


def test_rotation_keeps_colour_and_area() -> None:
    patch = place(torch.full((1, 3, 40, 40), 0.7), torch.ones(1, 1, 40, 40), (120, 120), Placement(scale=1 / 3, rotation=30))
    assert abs(float(patch.alpha.sum()) - 1600) < 20
    assert torch.allclose(patch.colours[(patch.alpha > 0.9).expand(-1, 3, -1, -1)], torch.tensor(0.7), atol=1e-3)
    enlarged = place(torch.full((1, 3, 40, 40), 0.7), torch.ones(1, 1, 40, 40), (120, 120), Placement(scale=0.8))
    assert abs(float(enlarged.alpha.sum()) - 96**2) < 200


def test_what_lies_under_transparency_does_not_bleed() -> None:
    colours, alpha = cutout(80, 120)
    hidden = torch.where(alpha > 0, torch.full_like(colours, 0.5), torch.tensor(9.0))
    patch = place(hidden, alpha, SIZE, Placement(scale=0.4, rotation=10))
    seen = (patch.alpha > 0.05).expand(-1, 3, -1, -1)
    assert (patch.colours[seen] - 0.5).abs().max() < 0.1


@pytest.mark.parametrize("pixels", [1, 2, 5])
def test_shrinking_takes_that_many_pixels(pixels: int) -> None:
    alpha = torch.zeros(1, 1, 40, 40)
    alpha[:, :, 8:32, 8:32] = 1
    shrunk = place(torch.ones(1, 3, 40, 40), alpha, (40, 40), Placement(scale=1), shrink_edge=pixels).mask()[0, 0]
    assert shrunk[20].sum() == shrunk[:, 20].sum() == 24 - 2 * pixels
    # An object that the frame cuts keeps its edge there.
    cut = place(torch.ones(1, 3, 40, 40), torch.ones(1, 1, 40, 40), (40, 40), Placement(y=1, scale=1), shrink_edge=pixels).mask()[0, 0]
    assert cut[-1].max() == 1 and cut[20 + pixels - 1].max() == 0 and cut[20 + pixels].max() == 1


def test_feather_fades_inwards_only() -> None:
    alpha = torch.zeros(1, 1, 60, 60)
    alpha[:, :, 15:45, 15:45] = 1
    hard = place(torch.ones(1, 3, 60, 60), alpha, (60, 60), Placement(scale=1)).mask()
    soft = place(torch.ones(1, 3, 60, 60), alpha, (60, 60), Placement(scale=1), feather=4).mask()
    assert (soft <= hard).all() and soft[0, 0, 30, 30] > 0.99
    row = soft[0, 0, 30, 15:25]
    assert (row.diff() >= 0).all() and row[0] < 0.3 and row[7] > 0.9


def test_glass_stays_half_transparent() -> None:
    alpha = torch.zeros(1, 1, 60, 60)
    alpha[:, :, 15:45, 15:45] = 1
    alpha[:, :, 25:35, 25:35] = 0.4
    mask = place(torch.ones(1, 3, 60, 60), alpha, (60, 60), Placement(scale=1), shrink_edge=1, feather=2).mask()
    assert abs(float(mask[0, 0, 30, 30]) - 0.4) < 1e-3


@pytest.mark.parametrize(
    ("placement", "alpha", "says"),
    [
        (Placement(x=2, scale=0.3), 1.0, "outside the picture"),
        (Placement(), 0.0, "mask is empty"),
        (Placement(scale=0.005), 1.0, None),
    ],
)
def test_what_cannot_be_seen_is_said(placement: Placement, alpha: float, says: str | None) -> None:
    given = torch.ones(1, 3, 20, 30), torch.full((1, 1, 20, 30), alpha), SIZE, placement
    if says is None:
        assert place(*given).alpha.any()
    else:
        with pytest.raises(RaihaError, match=says):
            place(*given)
    with pytest.raises(RaihaError):
        place(*given[:3], Placement(scale=0.1), shrink_edge=30)
