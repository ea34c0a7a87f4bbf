"""Where the object ends, whatever the mask says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from scipy import ndimage
from torch import Tensor

from raiha_core.models import load_model
from raiha_core.models.raiha_s import RaihaS
from raiha_core.models.raiha_s.outline import (
    REACH,
    Outline,
    across,
    directions,
    nearest_contour,
    outline_loss,
    outlined,
    profiles,
    signed_distance,
)
from raiha_core.training.masks import grown


@pytest.fixture
def scene() -> tuple[Tensor, Tensor]:
    """A bright disc on a dark ground, `(1, 3, 64, 64)`, and where it is."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    disc = (((y - 30) ** 2 + (x - 34) ** 2) < 14**2).float()[None, None]
    return 0.2 + 0.5 * disc.expand(-1, 3, -1, -1), disc


def test_distances_are_those_of_chessboard_and_taxicab(scene: tuple[Tensor, Tensor]) -> None:
    mask = scene[1][0, 0].numpy() > 0
    measured: Any = ndimage.distance_transform_cdt  # whose stubs do not know names of metrics
    for channel, metric in enumerate(("chessboard", "taxicab")):
        outside, inside = measured(~mask, metric), measured(mask, metric)
        wanted = torch.from_numpy(outside + (1 - inside) * mask).float().clamp(-REACH, REACH)
        assert torch.equal(signed_distance(scene[1])[0, channel], wanted)


@pytest.mark.parametrize("radius", [-3, 0, 4])
@pytest.mark.parametrize("diamond", [False, True])
def test_colours_step_most_across_the_contour_that_is_the_outline(scene: tuple[Tensor, Tensor], radius: int, diamond: bool) -> None:
    rgb, disc = scene
    mask = grown(disc, torch.tensor([radius]), torch.tensor([diamond]))
    distance = signed_distance(mask)
    profile, share = profiles(across(rgb, distance), distance, directions(mask))
    assert float(share.sum()) == pytest.approx(1) and float(share.min()) > 0.03
    seen = (profile.reshape(16, 2, 6, -1)[:, int(diamond), 3] * share.reshape(16, 1)).sum(0)
    # What is wrong by r lies at the distance -r: the disc's last pixels, or the first beside them.
    assert int(seen[1:-1].argmax()) + 1 - REACH in (-radius, -radius + 1)


def test_steps_across_lead_outwards() -> None:
    """An object on the left half, darker than what is beside it by 0.5."""
    mask, rgb = torch.zeros(1, 1, 32, 32), torch.full((1, 3, 32, 32), 0.7)
    mask[..., :16], rgb[..., :16] = 1, 0.2
    wanted = torch.zeros_like(rgb)
    wanted[..., 15:17] = 0.5  # over two pixels, so on both sides of the edge
    torch.testing.assert_close(across(rgb, signed_distance(mask)), wanted)
    torch.testing.assert_close(across(rgb, signed_distance(1 - mask)), -wanted)
    torch.testing.assert_close(across(rgb.mT, signed_distance(mask.mT)), wanted.mT)


def test_directions_go_round_the_middle_of_the_mask() -> None:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 20:29, 30:39] = 1  # its middle is (24, 34)
    sector = directions(mask)[0, 0]
    right, below, left, above = sector[25, 50], sector[50, 33], sector[23, 10], sector[5, 35]
    assert [int(x) for x in (right, below, left, above)] == [8, 12, 0, 4]
    assert int(sector.flatten().bincount(minlength=16).min()) > 50, "every sector is somewhere"


def test_a_likely_outline_is_drawn_steep_about_even_odds() -> None:
    inside = torch.tensor([0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 1.0]).reshape(1, 1, 1, 7)
    wanted = torch.tensor([0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0]).reshape(1, 1, 1, 7)
    torch.testing.assert_close(outlined(inside, torch.ones_like(inside)), wanted)
    # A twentieth of what the mask covers must be left; with less the mask stands.
    mask, little = torch.ones(1, 1, 10, 10), torch.zeros(1, 1, 10, 10)
    little[..., 0, :6] = 1
    assert torch.equal(outlined(little, mask), little)
    little[..., 0, 4:6] = 0
    assert torch.equal(outlined(little, mask), mask)


def test_what_is_said_of_a_contour_is_what_lies_on_it() -> None:
    """A square that is 0.4 brighter than its surroundings, seen through its own mask."""
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 20:44, 20:44] = 1
    rgb = torch.full((1, 3, 64, 64), 0.3) + 0.4 * mask
    distance = signed_distance(mask)
    profile, share = profiles(across(rgb, distance), distance, directions(mask))
    steps, size, steepest, length = profile.reshape(16, 2, 6, -1)[:, 0].split([3, 1, 1, 1], 1)
    on, near, off = REACH, REACH + 1, REACH + 5  # the last pixels inside, the first outside, some further out
    for contour, step in ((on, 0.4), (near, 0.4), (off, 0.0)):
        torch.testing.assert_close(steps[..., contour].mean(), torch.tensor(8 * step), atol=0.15, rtol=0)
        torch.testing.assert_close(size[..., contour].mean(), torch.tensor(8 * step), atol=0.15, rtol=0)
    assert float(steepest[..., on].mean()) > 7 and float(steepest[..., off].max()) == 0
    assert float((length[:, 0, on] * share[0]).sum()) == pytest.approx(0.5), "as long as the edge itself, at half"
    assert float(length[..., [0, -1]].abs().max()) == 0
    assert float(length[:, 0, off].mean()) > 0.5 > float(length[:, 0, on - 5].mean()), "contours grow outwards"


def test_the_nearest_contour_is_that_of_the_cut(scene: tuple[Tensor, Tensor]) -> None:
    disc = scene[1]
    for radius in (-3, 0, 4):
        near = nearest_contour(signed_distance(grown(disc, torch.tensor([radius]))), disc)
        assert float(near.sum()) == pytest.approx(1, abs=1e-5)
        assert int(near[0, 0].argmax()) - REACH == -radius


def test_masks_grow_by_diamonds_as_by_single_pixels(scene: tuple[Tensor, Tensor]) -> None:
    disc = scene[1]
    cross = ndimage.generate_binary_structure(2, 1)
    for radius, change in ((3, ndimage.binary_dilation), (-3, ndimage.binary_erosion)):
        wanted = change(disc[0, 0].numpy() > 0, cross, 3)
        made = grown(disc, torch.tensor([radius]), torch.tensor([True]))
        assert torch.equal(made[0, 0] > 0, torch.from_numpy(wanted))


def test_an_outline_that_has_not_learnt_is_the_mask(scene: tuple[Tensor, Tensor]) -> None:
    rgb, mask = scene
    torch.manual_seed(0)
    untaught = Outline().eval()
    assert torch.equal(outlined(untaught(rgb, mask).inside, mask), mask)


def test_an_outline_learns_that_masks_are_grown(scene: tuple[Tensor, Tensor]) -> None:
    """A few steps on one kind of mistake mend that mistake, on a picture that was not shown."""
    torch.manual_seed(0)
    outline = Outline()
    optimiser = torch.optim.Adam(outline.parameters(), 0.01)
    shifts = [(dy, dx) for dy in (-8, 0, 9) for dx in (-9, 0, 7)]
    rgb = torch.cat([torch.roll(scene[0], shift, (2, 3)) for shift in shifts])
    cut = torch.cat([torch.roll(scene[1], shift, (2, 3)) for shift in shifts])
    mask = grown(cut, torch.full((9,), 4))
    before = float(outline_loss(outline(rgb[1:], mask[1:]), cut[1:]).detach())
    for _ in range(30):
        optimiser.zero_grad()
        outline_loss(outline(rgb[1:], mask[1:]), cut[1:]).backward()
        optimiser.step()
    with torch.no_grad():
        after = float(outline_loss(outline(rgb[1:], mask[1:]), cut[1:]))
        found = outlined(outline(rgb, mask).inside, mask)[:1]
    assert after < before / 4
    assert float((found - cut[:1]).abs().sum()) < 0.25 * float((mask - cut)[:1].sum())


def test_a_mask_of_which_nothing_would_be_left_is_kept(scene: tuple[Tensor, Tensor]) -> None:
    mask = scene[1]
    assert torch.equal(outlined(torch.zeros_like(mask), mask), mask)
    found = outlined(mask, torch.ones_like(mask))
    assert torch.equal(found, mask)


def test_weights_from_before_there_were_outlines_load(tmp_path: Path, scene: tuple[Tensor, Tensor]) -> None:
    model = RaihaS(64)
    state = {k: v.contiguous() for k, v in model.state_dict().items() if not k.startswith("outline.")}
    save_file(state, tmp_path / "old.safetensors", {"architecture": "raiha-s", "config": '{"input_size": 64}'})
    loaded = load_model(tmp_path / "old.safetensors")
    assert isinstance(loaded, RaihaS)
    out = loaded.eval()(*scene)
    assert torch.equal(outlined(out.outline.inside, scene[1]), scene[1])
