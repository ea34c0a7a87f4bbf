"""Never in silence: what nothing was done about is said, with the reason."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from raiha_core.errors import RaihaError
from raiha_core.harmonizer import Harmonizer
from raiha_core.image import Picture, from_array, write_image
from raiha_core.image.spaces import decode_curve, make_profile
from raiha_core.models import AffineMap, HarmonizationModel, Prediction

SRGB = ((0.3127, 0.3290), (0.64, 0.33, 0.30, 0.60, 0.15, 0.06))
PROFILES = {
    "p3": make_profile(1.0, SRGB[0], (0.68, 0.32, 0.265, 0.69, 0.15, 0.06), decode_curve()),
    "prophoto": make_profile(1.8, (0.3457, 0.3585), (0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001)),
    "linear": make_profile(1.0, *SRGB),
}


class Fixed(HarmonizationModel):
    """One affine transform whatever it sees; remembers what it was shown."""

    architecture, input_size, crops = "fixed", 32, True

    def __init__(self, gain=0.6, shift=0.02):
        super().__init__()
        self.matrix = torch.tensor([gain, 0, 0, shift, 0, gain, 0, shift, 0, 0, gain, shift]).reshape(12, 1, 1)
        self.shown = []

    def predict(self, composite, mask, references=None, *, attention=False, caution=None):
        self.shown.append((composite, mask, references))
        return Prediction(AffineMap(self.matrix))


@pytest.fixture(scope="module")
def shipped():
    return Harmonizer()


@pytest.fixture
def photo():
    y, x = np.mgrid[0:96, 0:128]
    return np.stack([90 + x, 200 - y, 60 + (x + y) // 2], -1).clip(0, 255).astype(np.uint8)


@pytest.fixture
def mask(photo):
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[30:70, 40:90] = 255
    return mask


def mean_change(before, after, mask):
    return np.abs(np.asarray(after, float) - before)[mask > 0].mean()


@pytest.mark.parametrize("value", [1, 2, 15, 75, 229])
def test_dim_and_label_masks_mean_what_white_ones_mean(shipped, scene, value):
    image, white = scene
    expected = shipped.harmonize(image, white)
    result = shipped.harmonize(image, (white // 255 * value).astype(np.uint8))
    assert np.array_equal(result.image, expected.image) and result.changed == (True,)
    assert result.notices == (f"The mask's brightest value is {value} of 255; it was taken for white.",) and expected.notices == ()


@pytest.mark.parametrize("value", [0.3, 128.0])
def test_float_masks_in_other_units(shipped, scene, value):
    image, white = scene
    result = shipped.harmonize(image, white.astype(np.float32) / 255 * np.float32(value))
    assert np.array_equal(result.image, shipped.harmonize(image, white).image) and "taken for white" in result.notices[0]


def test_a_feathered_mask_gets_the_effect_in_proportion(shipped, scene):
    image, white = scene
    soft = np.asarray(Image.fromarray(white).filter(ImageFilter.GaussianBlur(5)))
    hard = mean_change(image, shipped.harmonize(image, white).image, white)
    share = soft[soft > 0].mean() / 255
    assert mean_change(image, shipped.harmonize(image, soft).image, soft) > 0.6 * share * hard > 1


def test_what_fits_already_is_said(photo, mask):
    result = Harmonizer(Fixed(1.0, 0.0)).harmonize(photo, mask)
    assert np.array_equal(result.image, photo) and result.changed == (False,)
    assert "Nothing was changed" in result.notices[0] and "fits its scene already" in result.notices[0]
    assert Harmonizer(Fixed()).harmonize(photo, mask).notices == ()


def test_other_reasons_are_said(photo, mask):
    model = Harmonizer(Fixed())
    faint = np.full(mask.shape, 2, np.uint8)
    faint[0], faint[50, 50] = 0, 255
    tiny = np.zeros((3000, 4000), np.uint8)
    tiny[::700, ::700] = 1
    cases = [
        (photo, mask, 0.001, "the strength is 0.001"),
        (photo, faint, 1.0, "faint nearly everywhere"),
        (np.full(photo.shape, 3.0, np.float32), mask, 1.0, "black, or beyond white"),
    ]
    models = [model, Harmonizer(Fixed(1.0, 0.0)), Harmonizer(Fixed(1.3, 0.0))]
    for one, (image, area, strength, word) in zip(models, cases, strict=True):
        result = one.harmonize(image, area, strength=strength)
        assert result.changed == (False,) and word in result.notices[-1], result.notices
    result = Harmonizer(Fixed(1.0, 0.001)).harmonize(np.full((3000, 4000, 3), 90, np.uint8), tiny)
    assert "covers less than 4 pixels" in result.notices[-1]
    assert model.harmonize(photo, mask, strength=0).notices == ()


def test_a_batch_says_which_and_masks_may_fade(photo, mask):
    frames = torch.from_numpy(np.stack([photo, photo])).permute(0, 3, 1, 2).float() / 255
    masks = torch.from_numpy(np.stack([mask, mask // 2])).float()[:, None] / 255
    model = Harmonizer(Fixed())
    result = model.harmonize(frames, masks)
    assert result.changed == (True, True)
    whole, half = (float((result.image[i] - frames[i]).abs().mean()) for i in (0, 1))
    assert half == pytest.approx(whole / 2, rel=0.03)
    assert Harmonizer(Fixed(1.0, 0.0)).harmonize(frames, masks[:1]).changed == (False, False)


def test_a_hole_in_an_opaque_alpha_is_the_object(photo, mask):
    model = Harmonizer(Fixed())
    result = model.harmonize(np.dstack([photo, 255 - mask]))
    assert np.array_equal(result.image[..., :3], model.harmonize(photo, mask).image) and "hole" in result.notices[0]
    with pytest.raises(RaihaError, match="nothing lies in it"):
        model.harmonize(np.dstack([np.where(mask[..., None] > 0, 0, photo), 255 - mask]).astype(np.uint8))
    with pytest.raises(RaihaError, match="opaque everywhere"):
        model.harmonize(np.dstack([photo, np.full_like(mask, 255)]))


def test_a_mask_of_the_picture_as_stored_is_turned_with_it(tmp_path, photo, mask):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(photo).save(tmp_path / "x.jpg", exif=exif, quality=95)
    model = Harmonizer(Fixed())
    Image.fromarray(mask).save(tmp_path / "stored.png")
    Image.fromarray(np.rot90(mask, -1)).save(tmp_path / "upright.png")
    upright, stored = (model.harmonize(tmp_path / "x.jpg", tmp_path / f"{n}.png") for n in ("upright", "stored"))
    assert np.array_equal(upright.image.rgb, stored.image.rgb)
    assert upright.notices == () and "EXIF orientation 6" in stored.notices[0]


def test_hidden_colours_steer_nothing(shipped, scene):
    image, white = scene
    alpha = np.full(white.shape, 255, np.uint8)
    alpha[:, :20] = 0
    results = []
    for hidden in ((255, 0, 0), (0, 0, 0)):
        composite = np.dstack([image, alpha])
        composite[alpha == 0, :3] = hidden
        results.append((shipped.harmonize(composite, white).image[white > 0], shipped.harmonize(image, white, [composite]).image))
    assert np.array_equal(results[0][0], results[1][0]) and np.array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("name", PROFILES)
def test_a_photo_in_another_space_ends_as_its_srgb_twin(shipped, scene, name):
    image, white = scene
    space = Picture(image, icc=PROFILES[name]).space
    srgb = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
    own = (space.from_srgb(srgb)[0].permute(1, 2, 0).numpy() * 65535).round().clip(0, 65535).astype(np.uint16)
    wide = Picture(own, icc=PROFILES[name])
    twin = shipped.harmonize(image, white).image
    result = shipped.harmonize(wide, white).image
    back = result.rgb_tensor()[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(back - twin)[white > 0].mean() < 0.5 < 3 < mean_change(image, twin, white)
    assert np.array_equal(result.rgb[white == 0], own[white == 0]) and result.icc == PROFILES[name]


def test_a_float_picture_of_255_ends_as_its_8_bit_twin(shipped, scene, tmp_path):
    image, white = scene
    twin = shipped.harmonize(image, white).image
    result = shipped.harmonize(image.astype(np.float32), white)
    assert result.image.dtype == np.float32 and np.abs(result.image - twin).max() <= 0.51
    assert "255 was taken for white" in result.notices[0]
    path = write_image(tmp_path / "x.tif", from_array(image.astype(np.float32)))
    assert np.array_equal(shipped.harmonize(path, white).image.rgb, result.image)


@pytest.mark.parametrize(
    "bad",
    [
        torch.empty(3, 9, 9, device="meta"),
        torch.zeros(3, 9, 9).to_sparse(),
        torch.quantize_per_tensor(torch.zeros(3, 9, 9), 0.1, 0, torch.quint8),
        torch.zeros(3, 9, 9, dtype=torch.complex64),
        Picture(np.zeros((9, 9), np.uint8)),
        Picture(np.zeros((9, 9, 3), np.int32)),
        Picture(np.zeros((9, 9, 3), np.uint8), np.zeros((4, 4), np.uint8)),
    ],
)
def test_pictures_that_are_none_are_one_sentence(photo, mask, bad):
    model = Harmonizer(Fixed())
    for arguments in ((bad, np.eye(9, dtype=np.float32)), (photo, mask, [bad])):
        with pytest.raises(RaihaError):
            model.harmonize(*arguments)
    if not isinstance(bad, Picture) or bad.rgb.ndim != 2:
        return
    with pytest.raises(RaihaError):
        model.harmonize(photo, bad)


@pytest.mark.parametrize("arguments", [{"strength": "1"}, {"strength": None}, {"references": 5}, {"references": "photo.png"}])
def test_arguments_of_other_kinds_are_one_sentence(photo, mask, arguments):
    with pytest.raises(RaihaError):
        Harmonizer(Fixed()).harmonize(photo, mask, **arguments)


def test_a_device_that_computes_nothing_is_refused():
    with pytest.raises(RaihaError, match="meta"):
        Harmonizer(Fixed(), "meta")
