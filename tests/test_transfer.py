"""The look of a version at the original's detail: measured on photos whose change of light is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from raiha_core.errors import RaihaError
from raiha_core.image import from_array, read_image
from raiha_core.image.colour import linear_to_srgb, srgb_to_linear
from raiha_core.image.spaces import decode_curve, make_profile, space_of
from raiha_core.transfer import fit_look, transfer_look

GALLERY = Path(__file__).parents[1] / "raiha_core" / "demo_data" / "gallery"


@pytest.fixture(scope="module")
def photo() -> Tensor:
    """`(1, 3, 288, 384)`."""
    return F.interpolate(read_image(GALLERY / "chelsea.jpg").rgb_tensor(), size=(288, 384), mode="bicubic", antialias=True).clamp(0, 1)


def relit(photo: Tensor) -> Tensor:
    """Brighter to the right, warm to the left, in linear light."""
    x = torch.linspace(-1, 1, photo.shape[3])
    gain = torch.stack([torch.exp(0.5 * x - 0.3 * x.abs()), torch.exp(0.6 * x), torch.exp(0.8 * x)])[:, None]
    return linear_to_srgb((srgb_to_linear(photo) * gain).clamp(0, 1)).clamp(0, 1)


def softened(x: Tensor, size: tuple[int, int] = (144, 192)) -> Tensor:
    """Half as large and blurred, as a generator gives it."""
    small = F.interpolate(x, size=size, mode="bicubic", antialias=True)
    for _ in range(2):
        small = F.avg_pool2d(F.pad(small, (1, 1, 1, 1), "replicate"), 3, 1)
    return small.clamp(0, 1)


def away(a: Tensor, b: Tensor) -> float:
    """Mean difference in 8-bit steps."""
    return float((a - b).abs().mean() * 255)


def test_the_light_comes_over_and_the_detail_stays(photo: Tensor) -> None:
    truth = relit(photo)
    version = softened(truth)
    result = transfer_look(photo[0], version[0])[None]
    assert away(result, truth) < 0.2 * away(photo, truth)
    enlarged = F.interpolate(version, size=photo.shape[2:], mode="bicubic")
    low = lambda p: F.avg_pool2d(F.pad(p, (8, 8, 8, 8), "replicate"), 17, 1)  # noqa: E731
    separated = low(enlarged) + photo - low(photo)
    assert away(result, truth) < away(separated, truth) < away(enlarged, truth)


def test_an_unchanged_version_changes_nothing(photo: Tensor) -> None:
    assert away(transfer_look(photo[0], softened(photo)[0])[None], photo) < 1.0


def test_what_was_invented_does_not_come_over(photo: Tensor) -> None:
    truth = relit(photo)
    version = softened(truth)
    other = read_image(GALLERY / "rocket.jpg").rgb_tensor()
    version[:, :, 40:100, 60:120] = F.interpolate(other, size=(60, 60), mode="bilinear", antialias=True)
    look = fit_look(from_array(photo[0].permute(1, 2, 0).numpy()), from_array(version[0].permute(1, 2, 0).numpy()))
    inside = look.confidence[384 * 50 // 144 : 384 * 90 // 144, 384 * 70 // 192 : 384 * 110 // 192]
    assert inside.mean() < 0.5 < look.confidence[:, :80].mean(), "and it is known where"
    result = transfer_look(photo[0], version[0])[None]
    assert away(result[:, :, :, 280:], truth[:, :, :, 280:]) < 0.3 * away(photo[:, :, :, 280:], truth[:, :, :, 280:])
    # Inside, the cat is still there: its detail correlates with the original's, not with the rocket's.
    part = (slice(None), slice(None), slice(90, 190), slice(130, 230))
    fine = [(x - F.avg_pool2d(F.pad(x, (3, 3, 3, 3), "replicate"), 7, 1))[part].flatten() for x in (result, photo)]
    assert torch.corrcoef(torch.stack(fine))[0, 1] > 0.9


def test_a_version_that_moved_is_moved_back(photo: Tensor) -> None:
    truth = relit(photo)
    moved = F.pad(softened(truth)[:, :, 3:, 4:], (0, 4, 0, 3), "replicate")
    straight = away(transfer_look(photo[0], softened(truth)[0])[None], truth)
    assert away(transfer_look(photo[0], moved[0])[None], truth) < straight + 1.0


def test_a_mask_bounds_it_bit_for_bit(photo: Tensor) -> None:
    original = (photo[0].permute(1, 2, 0).numpy() * 65535).astype(np.uint16)
    version = softened(relit(photo))[0].permute(1, 2, 0).numpy()
    mask = np.zeros((288, 384), np.float32)
    mask[60:200, 100:300] = 1
    result = transfer_look(original, version, mask)
    assert result.dtype == np.uint16 and np.array_equal(result[mask == 0], original[mask == 0])
    assert not np.array_equal(result[mask == 1], original[mask == 1])
    assert np.array_equal(transfer_look(original, version, mask, strength=0), original)
    whole = transfer_look(original, version, np.ones_like(mask))
    assert np.array_equal(whole, transfer_look(original, version))
    half = transfer_look(original, version, strength=0.5).astype(int)
    assert np.abs(half - (original.astype(int) + transfer_look(original, version)) / 2).max() <= 1


def test_every_kind_of_picture(photo: Tensor, tmp_path: Path) -> None:
    image = Image.fromarray((photo[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    version = image.resize((97, 73))
    result = transfer_look(image, version)
    assert isinstance(result, Image.Image) and result.size == image.size
    image.save(tmp_path / "a.png")
    version.save(tmp_path / "b.png")
    assert np.array_equal(transfer_look(tmp_path / "a.png", tmp_path / "b.png").rgb, np.asarray(result))
    bright = photo[0].permute(1, 2, 0).numpy().copy()
    bright[10, 10] = 3.0
    assert transfer_look(bright, np.asarray(version)).max() > 1.0, "values above white survive"


def test_mistakes_are_one_sentence(photo: Tensor) -> None:
    with pytest.raises(RaihaError, match=r"384 x 288 but the version 288 x 288, which are other proportions"):
        transfer_look(photo[0], photo[0, :, :, :288])
    with pytest.raises(RaihaError, match=r"strength is 1\.5"):
        transfer_look(photo[0], photo[0], strength=1.5)
    with pytest.raises(RaihaError, match="mask is empty"):
        transfer_look(photo[0], photo[0], torch.zeros(288, 384))


def test_the_spaces_of_both_files_count(photo: Tensor) -> None:
    """An original in Display P3 and a version that counts to 255 are the same pictures as their sRGB twins."""
    srgb = from_array((photo[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    version = from_array((relit(photo)[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    primaries = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
    icc = make_profile(1.0, (0.3127, 0.3290), primaries, decode_curve())
    space = space_of(icc)
    assert space is not None
    own = space.from_srgb(srgb.rgb_tensor())[0].permute(1, 2, 0).numpy()
    wide = replace(srgb, rgb=(own * 65535).round().clip(0, 65535).astype(np.uint16), icc=icc)
    twin, result = transfer_look(srgb, version), transfer_look(wide, version)
    assert away(result.rgb_tensor(), twin.rgb_tensor()) < 1.0 < away(twin.rgb_tensor(), srgb.rgb_tensor())
    counted = from_array(version.rgb.astype(np.float32))
    assert counted.white == 255
    assert away(transfer_look(srgb, counted).rgb_tensor(), twin.rgb_tensor()) < 0.5


@pytest.mark.parametrize("wrong", ["1", None, float("nan"), 2, 10**400, torch.tensor([0.5, 0.5]), torch.empty((), device="meta")])
def test_a_strength_that_is_none_is_one_sentence(wrong: object) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(RaihaError, match="give a number from 0 to 1"):
        transfer_look(picture, picture, strength=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["cuda:99", "warp", "hpu", "meta", 5, object()])
def test_a_device_that_is_not_there_is_one_sentence(wrong: object) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(RaihaError, match="device"):
        transfer_look(picture, picture, device=wrong)  # type: ignore[arg-type]
