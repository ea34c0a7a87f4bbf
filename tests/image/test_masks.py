"""Masks of every kind mean what their maker meant."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from raiha_core.errors import RaihaError
from raiha_core.image import alpha_mask, fit_mask, from_array, mask_from, mask_of, read_image, read_mask
from raiha_core.inputs import as_mask

SHAPE = np.zeros((20, 30), bool)
SHAPE[5:12, 8:20] = True


def rgba(colour_in, colour_out, alpha_in, alpha_out):
    picture = np.zeros((*SHAPE.shape, 4), np.uint8)
    picture[SHAPE] = (*colour_in, alpha_in)
    picture[~SHAPE] = (*colour_out, alpha_out)
    return Image.fromarray(picture)


WHITE, BLACK, RED = (255, 255, 255), (0, 0, 0), (255, 0, 0)
KINDS = {
    "1.png": Image.fromarray(SHAPE),
    "grey.png": Image.fromarray(SHAPE.astype(np.uint8) * 255),
    "deep.png": Image.fromarray(SHAPE.astype(np.uint16) * 65535),
    "labels.png": Image.fromarray(SHAPE.astype(np.uint8)),
    "red.png": rgba(RED, BLACK, 255, 255).convert("RGB"),
    "palette.png": rgba(RED, BLACK, 255, 255).convert("RGB").quantize(4),
    "opaque.png": rgba(WHITE, BLACK, 255, 255),
    "white on nothing.png": rgba(WHITE, WHITE, 255, 0),
    "black on nothing.png": rgba(BLACK, BLACK, 255, 0),
    "cut-out.png": rgba((90, 120, 30), (10, 20, 30), 255, 0),
    "noisy.jpg": Image.fromarray(SHAPE.astype(np.uint8) * 255),
    "float.tif": Image.fromarray(SHAPE.astype(np.float32)),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_mask(tmp_path, name):
    KINDS[name].save(tmp_path / name, **({"quality": 90} if name.endswith("jpg") else {}))
    mask = read_mask(tmp_path / name)
    assert mask.dtype == np.float32 and mask.shape == SHAPE.shape
    if name.endswith("jpg"):
        # The edges ring; what is far from them is clean.
        assert (mask[16:] == 0).all() and (mask[7:10, 11:16] == 1).all() and (mask >= 0).all() and (mask <= 1).all()
    else:
        assert np.array_equal(mask, SHAPE.astype(np.float32))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_what_a_jpeg_says_of_nearly_black_and_nearly_white_is_noise(tmp_path, suffix):
    # In blocks of 8 px, which JPEG keeps to a level: 12 and 243 of 255 are noise, 19 and 236 are meant.
    levels = np.array([0, 12, 19, 128, 236, 243, 255], np.uint8)
    Image.fromarray(np.kron(levels, np.ones((8, 8), np.uint8))).save(tmp_path / f"m.{suffix}", quality=100)
    seen = read_mask(tmp_path / f"m.{suffix}")[4, 4::8] * 255
    assert np.allclose(seen, [0, 0, 19, 128, 236, 255, 255] if suffix == "jpg" else levels, atol=1.1)
    assert seen[0] == 0 and seen[-1] == 255 and (suffix == "png" or (seen[1] == 0 and seen[5] == 255))


def test_black_and_white_drawing_with_transparency():
    picture = np.asarray(rgba(WHITE, BLACK, 255, 255)).copy()
    picture[0] = 0
    assert np.array_equal(mask_of(from_array(picture)), SHAPE.astype(np.float32))


def test_soft_values_are_kept_in_proportion():
    ramp = np.linspace(0, 65535, 100).astype(np.uint16)[None].repeat(3, 0)
    assert np.allclose(mask_from(ramp), ramp / 65535, atol=1e-6)
    assert np.allclose(mask_from(np.array([[-1.0, 0.25, 2.0]], np.float32)), [[0, 0.25, 1]])


@pytest.mark.parametrize("form", ["array", "bool", "tensor", "tensor4", "pil", "picture", "path"])
def test_forms_of_masks(tmp_path, form):
    eight = SHAPE.astype(np.uint8) * 255
    Image.fromarray(eight).save(tmp_path / "m.png")
    forms = {
        "array": eight,
        "bool": SHAPE,
        "tensor": torch.from_numpy(SHAPE),
        "tensor4": torch.from_numpy(SHAPE).float()[None, None],
        "pil": Image.fromarray(SHAPE),
        "picture": from_array(eight),
        "path": str(tmp_path / "m.png"),
    }
    assert np.array_equal(as_mask(forms[form]), SHAPE.astype(np.float32))


def test_alpha_as_mask(tmp_path):
    rgba((1, 2, 3), (4, 5, 6), 255, 0).save(tmp_path / "x.png")
    assert np.array_equal(alpha_mask(read_image(tmp_path / "x.png")), SHAPE.astype(np.float32))
    with pytest.raises(RaihaError, match="no alpha"):
        alpha_mask(from_array(np.zeros((4, 4, 3), np.uint8)))


def test_another_size_is_refused_with_the_fix_and_can_be_scaled():
    mask = SHAPE.astype(np.float32)
    with pytest.raises(RaihaError, match=r"30 x 20 .* 60 x 40.*--resize-mask.*resize_mask=True"):
        fit_mask(mask, (40, 60))
    fitted = fit_mask(mask, (40, 60), resize=True)
    assert fitted.shape == (40, 60) and abs(fitted.mean() - mask.mean()) < 0.01 and fitted.min() >= 0 and fitted.max() <= 1
    assert fit_mask(mask, mask.shape) is mask


@pytest.mark.parametrize(("mask", "word"), [(np.zeros((4, 4)), "empty"), (np.ones((4, 4)), "covers the whole")])
def test_masks_that_say_nothing(mask, word):
    with pytest.raises(RaihaError, match=word):
        fit_mask(mask.astype(np.float32), (4, 4))


@pytest.mark.parametrize(
    "bad", [np.full((3, 3), np.nan, np.float32), np.zeros((0, 3), np.float32), np.zeros((3, 3), np.int64), "none.png", 7]
)
def test_bad_masks(bad):
    with pytest.raises(RaihaError):
        as_mask(bad)
