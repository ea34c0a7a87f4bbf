"""Harmonising: what the caller gives in any form comes back in that form, changed inside the mask alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from raiha_core.errors import RaihaError
from raiha_core.harmonizer import Harmonizer, PlacedTransform, harmonize
from raiha_core.image import Box, Picture, from_array, read_image, write_image
from raiha_core.models import AffineMap, Attention, HarmonizationModel, Prediction

IDENTITY = [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]


def constant(red=1.0, green=1.0, blue=1.0, shift=0.0):
    """One transform for all: gains per channel and a shift."""
    return AffineMap(torch.tensor([red, 0, 0, shift, 0, green, 0, shift, 0, 0, blue, shift]).reshape(12, 1, 1))


class Fixed(HarmonizationModel):
    """Always the same transform; remembers what it was shown."""

    architecture = "fixed"
    crops = True

    def __init__(self, transform, input_size=32):
        super().__init__()
        self.transform, self.input_size, self.shown = transform, input_size, []

    def predict(self, composite, mask, references=None, *, attention=False, caution=None):
        self.shown.append((composite, mask, references))
        look = None
        if attention:
            panels = 1 + len(references or [])
            look = Attention(torch.full((1, 16 * panels), 1 / (16 * panels)), torch.tensor([5]), (4, 4), panels)
        return Prediction(self.transform, look)


@dataclass
class Retrieved:
    """Like a retrieved reference."""

    value: float

    def load(self):
        return torch.full((1, 3, 20, 30), self.value)


@pytest.fixture
def photo():
    return np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8)


@pytest.fixture
def mask():
    m = np.zeros((40, 56), np.float32)
    m[10:25, 20:40] = 1
    m[25, 20:40] = 0.5
    return m


@pytest.fixture
def darker():
    return Harmonizer(Fixed(constant(0.5, 0.5, 0.5)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_the_formula_in_every_depth(darker, photo, mask, dtype):
    image = photo.astype(dtype) * (257 if dtype == np.uint16 else 1 / 255 if np.dtype(dtype).kind == "f" else 1)
    image = image.astype(dtype)
    result = darker.harmonize(image, mask, strength=0.6).image
    assert result.dtype == dtype
    exact = image + 0.6 * mask[..., None] * (0.5 * image.astype(np.float64) - image)
    tolerance = 0.51 if np.dtype(dtype).kind == "u" else 1e-3 if dtype == np.float16 else 1e-6
    assert np.abs(result.astype(np.float64) - exact).max() <= tolerance
    assert np.array_equal(result[mask == 0], image[mask == 0])


def test_strength_scales_and_is_checked(darker, photo, mask):
    assert np.array_equal(darker.harmonize(photo, mask, strength=0).image, photo)
    for bad in (-0.1, 2.1, float("nan"), "1", None):
        with pytest.raises(RaihaError, match="from 0 to 2"):
            darker.harmonize(photo, mask, strength=bad)


def test_the_same_twice(photo, mask):
    model = Harmonizer(Fixed(AffineMap(torch.tensor(IDENTITY).reshape(12, 1, 1) + 0.2 * torch.rand(12, 6, 6))))
    assert np.array_equal(model.harmonize(photo, mask).image, model.harmonize(photo, mask).image)


def test_every_form_gives_the_same(tmp_path, darker, photo, mask):
    expected = darker.harmonize(photo, mask).image
    path = write_image(tmp_path / "c.png", from_array(photo))
    by_path = darker.harmonize(path, mask).image
    assert isinstance(by_path, Picture) and np.array_equal(by_path.rgb, expected)
    assert np.array_equal(darker.harmonize(str(path), mask).image.rgb, expected)
    assert np.array_equal(darker.harmonize(read_image(path), mask).image.rgb, expected)
    by_pil = darker.harmonize(Image.fromarray(photo), Image.fromarray((mask * 255).round().astype(np.uint8))).image
    assert by_pil.mode == "RGB" and np.abs(np.asarray(by_pil).astype(int) - expected).max() <= 1
    tensor = torch.from_numpy(photo).permute(2, 0, 1)
    by_bytes = darker.harmonize(tensor, torch.from_numpy(mask)).image
    assert by_bytes.dtype == torch.uint8 and np.array_equal(by_bytes.permute(1, 2, 0).numpy(), expected)
    by_float = darker.harmonize((tensor / 255)[None], torch.from_numpy(mask)[None, None]).image
    assert by_float.shape == (1, 3, 40, 56) and np.abs(by_float[0].permute(1, 2, 0).numpy() * 255 - expected).max() < 0.51


@pytest.mark.parametrize("channels", [3, 4])
def test_tensors_and_arrays_come_to_the_same_and_stay_as_they_are(darker, channels) -> None:
    pixels = torch.rand(2, channels, 40, 50, generator=torch.Generator().manual_seed(0)).mul(0.5).add(0.25)
    mask = torch.zeros(1, 1, 40, 50)
    mask[..., 8:30, 10:35] = 1
    given = pixels.clone(), mask.clone()
    results = darker.harmonize(pixels, mask).image
    assert torch.equal(pixels, given[0]) and torch.equal(mask, given[1])
    for frame, result in zip(pixels, results, strict=True):
        array = darker.harmonize(np.ascontiguousarray(frame.permute(1, 2, 0).numpy()), mask[0, 0].numpy()).image
        np.testing.assert_allclose(result.permute(1, 2, 0).numpy(), array, atol=1e-6)
        assert not torch.equal(result, frame)


@pytest.mark.parametrize(
    ("suffix", "dtype"), [(".png", "u1"), (".png", "u2"), (".tif", "u1"), (".tif", "u2"), (".tif", "f4"), (".webp", "u1")]
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_from_file_to_file_nothing_outside_the_mask_changes(tmp_path, darker, photo, mask, suffix, dtype, channels):
    image = np.dstack([photo, photo[..., :1]])[..., :channels].astype(dtype) * {"u1": 1, "u2": 251, "f4": np.float32(1 / 255)}[dtype]
    source = write_image(tmp_path / f"a{suffix}", from_array(image.astype(dtype)))
    result = darker.harmonize(source, mask).image
    before, after = read_image(source), read_image(write_image(tmp_path / f"b{suffix}", result))
    assert after.rgb.dtype == np.dtype(dtype) and after.grey == before.grey
    assert after.native()[mask == 0].tobytes() == before.native()[mask == 0].tobytes()
    assert not np.array_equal(after.rgb[mask == 1], before.rgb[mask == 1])
    assert channels < 4 or np.array_equal(after.alpha, before.alpha)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "I;16", "F"])
def test_pil_modes_stay(darker, mask, mode):
    rng = np.random.default_rng(0)
    image = {
        "I;16": lambda: Image.fromarray(rng.integers(0, 65536, (40, 56), dtype=np.uint16)),
        "F": lambda: Image.fromarray(rng.random((40, 56), dtype=np.float32)),
    }.get(mode, lambda: Image.fromarray(rng.integers(0, 256, (40, 56, 4), dtype=np.uint8)).convert(mode))()
    image.info["icc_profile"] = None
    result = darker.harmonize(image, mask).image
    assert result.mode == mode
    assert np.array_equal(np.asarray(result)[mask == 0], np.asarray(image)[mask == 0])


def test_alpha_is_carried_and_serves_as_mask(darker, photo, mask):
    image = np.dstack([photo, (mask * 255).round().astype(np.uint8)])
    result = darker.harmonize(image).image
    assert np.array_equal(result[..., 3], image[..., 3])
    assert np.array_equal(result[..., :3], darker.harmonize(photo, image[..., 3]).image)
    with pytest.raises(RaihaError, match="no alpha"):
        darker.harmonize(photo)


def test_grey_stays_grey(photo, mask):
    coloured = Harmonizer(Fixed(constant(1.2, 0.8, 0.4)))
    result = coloured.harmonize(photo[..., 0], mask).image
    assert result.shape == (40, 56)
    gain = 0.2126 * 1.2 + 0.7152 * 0.8 + 0.0722 * 0.4
    inside = mask == 1
    assert np.abs(result[inside] - photo[..., 0][inside] * gain).max() <= 0.51
    assert coloured.harmonize(from_array(photo[..., 0]), mask).image.grey


def test_premultiplied_colours_change_as_the_straight_ones(mask):
    straight = np.full((40, 56, 3), 0.6, np.float32)
    alpha = np.linspace(0.2, 1, 56, dtype=np.float32)[None].repeat(40, 0)
    model = Harmonizer(Fixed(constant(0.5, 0.5, 0.5, 0.1)))
    expected = model.harmonize(straight, mask).image * alpha[..., None]
    result = model.harmonize(Picture(straight * alpha[..., None], alpha, premultiplied=True), mask).image
    assert np.allclose(result.rgb, expected, atol=1e-5)


def test_values_above_one_survive_in_floats_and_integers_are_clipped(photo, mask):
    brighter = Harmonizer(Fixed(constant(2, 2, 2)))
    hdr = np.full((40, 56, 3), 3.0, np.float32)
    darker = Harmonizer(Fixed(constant(0.5, 0.5, 0.5)))
    assert np.allclose(darker.harmonize(hdr, mask).image[12, 30], 1.5)
    assert np.array_equal(brighter.harmonize(hdr, mask).image, hdr)
    assert brighter.harmonize(photo, mask).image[mask == 1].max() == 255


def test_batches(darker, photo, mask):
    frames = torch.from_numpy(np.stack([photo, photo[::-1].copy()])).permute(0, 3, 1, 2).float() / 255
    masks = torch.from_numpy(np.stack([mask, mask[::-1].copy()]))[:, None]
    result = darker.harmonize(frames, masks, attention=True)
    assert result.image.shape == frames.shape and len(result.attention) == len(result.transform) == 2
    assert torch.equal(result.image[1], darker.harmonize(frames[1], masks[1]).image)
    one = darker.harmonize(frames, masks[:1])
    assert torch.equal(one.image[0], result.image[0])
    with_alpha = torch.cat([frames, masks], 1)
    assert torch.equal(darker.harmonize(with_alpha).image[:, :3], result.image)
    for bad, word in (
        (masks.repeat(2, 1, 1, 1), "4 masks for 2 frames"),
        (masks[:, :, :-1], "39 but the composite is"),
        (masks * 0, "empty"),
    ):
        with pytest.raises(RaihaError, match=word):
            darker.harmonize(frames, bad)
    with pytest.raises(RaihaError, match="empty"):
        darker.harmonize(frames[:0], masks)


def test_references_in_every_form(tmp_path, photo, mask):
    model = Fixed(constant())
    path = write_image(tmp_path / "r.png", from_array(photo))
    references = [path, str(path), Image.fromarray(photo), photo, torch.from_numpy(photo).permute(2, 0, 1), Retrieved(0.25)]
    result = Harmonizer(model).harmonize(photo, mask, references)
    shown = model.shown[-1][2]
    assert len(shown) == 6 and all(r.shape == (1, 3, 32, 32) for r in shown)
    assert all(torch.equal(r, shown[0]) for r in shown[:5]) and torch.allclose(shown[5], torch.tensor(0.25))
    assert len(result.references) == 6
    bad: Any
    for bad in ("none.png", 7, np.zeros((0, 3, 3), np.uint8)):
        with pytest.raises(RaihaError):
            Harmonizer(model).harmonize(photo, mask, [bad])


@pytest.mark.parametrize(
    "composite", ["none.png", 3.0, None, np.zeros((4, 4, 7), np.uint8), np.full((4, 4, 3), np.nan), torch.zeros(5, 9, 9)]
)
def test_what_is_no_composite_is_refused(darker, composite):
    with pytest.raises(RaihaError):
        darker.harmonize(composite, np.ones((4, 4), np.float32))


def test_mask_of_another_size(darker, photo, mask):
    with pytest.raises(RaihaError, match="resize_mask"):
        darker.harmonize(photo, mask[::2, ::2])
    assert darker.harmonize(photo, mask[::2, ::2], resize_mask=True).image.shape == photo.shape


def test_the_transform_belongs_to_the_crop(photo):
    # Left half of the model's picture halves, right half keeps: what matters is where the crop lies, not the frame.
    matrix = torch.tensor(IDENTITY).reshape(12, 1, 1).repeat(1, 1, 2)
    matrix[[0, 5, 10], :, 0] = 0.0
    image = np.full((400, 400, 3), 1.0, np.float32)
    mask = np.zeros((400, 400), np.float32)
    mask[300:340, 300:340] = 1
    result = Harmonizer(Fixed(AffineMap(matrix))).harmonize(image, mask)
    box = result.transform[0].box
    assert box != Box(0, 0, 400, 400)
    for column in range(300, 340):
        at = ((column + 0.5 - box.left) / box.width * 2 - 0.5).__float__()
        assert result.image[320, column, 0] == pytest.approx(min(max(at, 0), 1), abs=1e-5)
    whole = Fixed(AffineMap(matrix))
    whole.crops = False
    assert Harmonizer(whole).harmonize(image, mask).transform[0].box == Box(0, 0, 400, 400)


def test_predict_and_apply_apart_with_a_box_of_ones_own(photo, mask):
    model = Harmonizer(Fixed(constant(0.5, 0.5, 0.5)))
    picture, box = from_array(photo), Box(0, 0, 30, 56)
    placed, look = model.predict(picture, mask, box=box, attention=True)
    assert placed.box == box and look is not None
    assert isinstance(placed.transform, AffineMap)
    averaged = PlacedTransform(AffineMap((placed.transform.matrix + constant(1, 1, 1).matrix) / 2), box)
    assert np.abs(model.apply(picture, mask, averaged).rgb[15, 30] - photo[15, 30] * 0.75).max() <= 0.51


def test_a_hairline_mask_is_seen(photo):
    model = Fixed(constant())
    mask = np.zeros((2000, 3000), np.float32)
    mask[1000, :] = 1
    Harmonizer(model).harmonize(np.zeros((2000, 3000, 3), np.uint8), mask)
    assert float(model.shown[-1][1].max()) > 0.05


def test_unknown_models_and_devices(photo, mask):
    with pytest.raises(RaihaError, match="no model named"):
        harmonize(photo, mask, model="raiha-xxl")
    with pytest.raises(RaihaError, match="device"):
        harmonize(photo, mask, model=Fixed(constant()), device="warp:9")
    for device in ("hpu", True, 5, [1]):
        with pytest.raises(RaihaError, match="device"):
            harmonize(photo, mask, device=device)
    for model in (5, None, b"raiha-s"):
        with pytest.raises(RaihaError, match="The model is a"):
            harmonize(photo, mask, model=model)


@pytest.mark.parametrize(
    "made",
    [{"icc": 5}, {"exif": "x"}, {"xmp": 5}, {"white": "a"}, {"white": float("nan")}, {"white": 0}, {"notices": 5}, {"chunks": 5}],
    ids=str,
)
def test_pictures_made_by_hand_are_checked_where_they_are_used_and_written(tmp_path, darker, photo, mask, made):
    picture = Picture(photo, **made)
    with pytest.raises(RaihaError, match="The composite has"):
        darker.harmonize(picture, mask)
    with pytest.raises(RaihaError, match="The picture has"):
        write_image(tmp_path / "x.png", picture)
    with pytest.raises(RaihaError, match="The picture has"):
        write_image(tmp_path / "x.png", Picture(photo[..., 0]))


def test_what_is_no_picture_of_pil_or_numpy_any_more(tmp_path, darker, photo, mask):
    Image.fromarray(photo).save(tmp_path / "x.png")
    closed = Image.open(tmp_path / "x.png")
    closed.close()
    grey = Image.fromarray(photo).convert("L")
    grey.info["transparency"] = "a"
    for image in (closed, grey):
        with pytest.raises(RaihaError, match="The composite cannot be read"):
            darker.harmonize(image, mask)
    with pytest.raises(RaihaError, match="nested"):
        darker.harmonize(torch.rand(2, 3, 8, 8), torch.nested.nested_tensor([torch.rand(8, 8), torch.rand(8, 8)]))
    assert darker.harmonize(photo, np.matrix(mask)).changed == (True,)


PEAK = """
import resource, sys
import numpy as np
from raiha_core.harmonizer import Harmonizer
from raiha_core.models.raiha_s import RaihaS
image = np.full((4000, 6000, 3), 120, np.uint8)
mask = np.zeros((4000, 6000), np.float32)
mask[400:3600, 500:5500] = 1
Harmonizer(RaihaS()).harmonize(image, mask)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
if sys.platform == "linux":  # there that figure remembers the process that started this one
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
print(peak)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs the resource module")
def test_24_megapixels_in_2_5_gigabytes():
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2.5e9


def test_colours_under_full_transparency_of_a_reference_say_nothing(scene):
    photo, mask = scene
    alpha = np.full(photo.shape[:2], 255, np.uint8)
    alpha[:, 64:] = 0
    hidden = photo.copy()
    hidden[:, 64:] = (255, 0, 255)
    harmonizer = Harmonizer()
    results = [harmonizer.harmonize(photo, mask, [np.dstack([p, alpha])]).image for p in (photo, hidden)]
    assert (results[0] == results[1]).all()


@pytest.mark.parametrize("name", ["attention", "resize_mask"])
def test_a_switch_that_is_an_array_is_refused(name: str) -> None:
    photo = np.full((32, 32, 3), 90, np.uint8)
    mask = np.zeros((32, 32), np.float32)
    mask[8:20, 8:20] = 1
    options: Any = {name: torch.ones(3)}
    with pytest.raises(RaihaError, match=f"{name} is neither true nor false but Tensor"):
        Harmonizer("raiha-s").harmonize(photo, mask, **options)
