"""Large pictures by windows: the same pixels as whole, whatever the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from raiha_core import large
from raiha_core.cli import main
from raiha_core.errors import EmptyMaskError, RaihaError
from raiha_core.harmonizer import Harmonizer
from raiha_core.image import direct, files, limits, read_image, windows, write
from raiha_core.image.masks import read_noted_mask
from raiha_core.image.picture import Picture
from raiha_core.image.windows import ArrayRows, MaskRows, TiffRows, Window

Photo = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def photo() -> Photo:
    """A scene of 150 x 210 with a soft disc of another colour, and its mask."""
    generator = torch.Generator().manual_seed(0)
    ground = torch.nn.functional.interpolate(torch.rand(1, 3, 9, 12, generator=generator), (150, 210), mode="bicubic")[0].clamp(0, 1)
    y, x = np.mgrid[:150, :210]
    mask = np.clip(14 - 0.4 * np.hypot(y - 70, x - 90), 0, 1)
    scene = ground.permute(1, 2, 0).numpy() * (1 - mask[..., None]) + mask[..., None] * np.array([0.9, 0.5, 0.2])
    return np.ascontiguousarray(scene.clip(0, 1)), mask


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (limits, direct, write):
        monkeypatch.setattr(module, "LARGE", 10_000)
    monkeypatch.setattr(windows, "BAND", 3 * 210 * 32)
    monkeypatch.setattr(windows, "TILE", 32)


def tiff(path: Path, samples: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, samples, compression=options.pop("compression", "zlib"), metadata=None, **options)
    return path


@pytest.mark.parametrize("layout", [{"tile": (64, 48)}, {"rowsperstrip": 17}, {"tile": (32, 32), "bigtiff": True, "compression": "lzw"}])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_any_window_of_a_tiff(tmp_path: Path, photo: Photo, layout: dict[str, Any], dtype: type) -> None:
    samples = (photo[0] * (1 if dtype is np.float32 else np.iinfo(dtype).max)).astype(dtype)
    file = tiff(tmp_path / "t.tif", samples, photometric="rgb", **dict(layout))
    with tifffile.TiffFile(file) as handle:
        page: Any = handle.pages[0]
        assert windows.by_windows(page)
        rows = TiffRows(handle, page)
        assert rows.shape == (150, 210, 3) and rows.dtype == dtype
        for top, bottom, left, right in ((0, 150, 0, 210), (31, 66, 47, 49), (149, 150, 209, 210), (5, 6, 0, 210)):
            assert np.array_equal(rows.read(top, bottom, left, right), samples[top:bottom, left:right])
    assert windows.kind_of(file) == (150 * 210, True)


def test_what_cannot_be_read_by_windows(tmp_path: Path, photo: Photo) -> None:
    samples = (photo[0] * 255).astype(np.uint8)
    odd = (
        {"photometric": "rgb", "tile": (64, 64), "planarconfig": "separate"},
        {"photometric": "rgb", "tile": (64, 64), "extratags": [(274, "H", 1, 6, True)]},
        {"photometric": "ycbcr", "tile": (64, 64), "compression": "jpeg"},
    )
    for options in odd:
        data = samples.transpose(2, 0, 1) if options.get("planarconfig") else samples
        with tifffile.TiffFile(tiff(tmp_path / "o.tif", data, **dict(options))) as handle:
            assert not windows.by_windows(handle.pages[0])
    alpha = tiff(tmp_path / "a.tif", np.dstack([samples, samples[..., 0]]), photometric="rgb", extrasamples=["unassalpha"], tile=(64, 64))
    assert windows.kind_of(alpha) == (150 * 210, False)
    assert windows.kind_of(tmp_path / "none.tif") == (0, False)


def test_a_window_looks_like_an_array() -> None:
    array = np.arange(4 * 5 * 3).reshape(4, 5, 3)
    window = Window(ArrayRows(array).read, array.shape, array.dtype)
    assert np.array_equal(window[1:3], array[1:3]) and np.array_equal(window[1:4, 2:9][1:], array[2:4, 2:])
    assert np.array_equal(np.asarray(window[:2, 1:]), array[:2, 1:]) and window[1:3, 1:2].shape == (2, 1, 3)


@pytest.mark.parametrize("kind", ["jpg", "png", "grey.jpg", "grey.png", "one.png", "palette.png", "colour.png", "dim.png"])
def test_masks_are_those_that_are_read_whole(tmp_path: Path, photo: Photo, kind: str) -> None:
    plane = (photo[1] * 255).astype(np.uint8)
    image = Image.fromarray(np.stack([plane // 3, plane, plane // 2], 2) if "colour" in kind else np.stack([plane] * 3, 2))
    image = image.convert({"grey": "L", "one": "1", "palette": "P"}.get(kind.split(".")[0], "RGB"))
    image = image.point(lambda v: v // 2) if "dim" in kind else image
    file = tmp_path / f"m.{kind}"
    image.save(file)
    found = windows.plane_of_mask(file)
    assert found is not None
    rows, whole = MaskRows(ArrayRows(found[0]), found[1]), read_noted_mask(file)
    assert np.array_equal(np.concatenate([band for _, band in rows.bands()]), whole.mask)
    assert len(rows.notices) == len(whole.notices)


CASES = ["tiled", "strips", "grey", "16", "float", "png", "jpg", "profile", "hard"]


@pytest.mark.parametrize("case", CASES)
def test_the_same_as_whole_to_the_bit(tmp_path: Path, photo: Photo, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, soft = photo
    mask = tmp_path / "m.png"
    Image.fromarray(((soft > 0.5 if case == "hard" else soft) * 255).astype(np.uint8)).save(mask)
    top, dtype = {"16": (65535, np.uint16), "float": (1, np.float32)}.get(case, (255, np.uint8))
    samples = (scene * top).astype(dtype)
    samples = samples[..., 1] if case == "grey" else samples
    photometric = "minisblack" if case == "grey" else "rgb"
    suffix = {"png": ".png", "jpg": ".jpg"}.get(case, ".tif")
    source, out, whole = (tmp_path / (name + suffix) for name in ("source", "out", "whole"))
    if suffix == ".tif":
        icc = read_profile() if case == "profile" else None
        layout = {"rowsperstrip": 20} if case == "strips" else {"tile": (48, 64)}
        tiff(source, samples, photometric=photometric, iccprofile=icc, resolution=(300, 300), software="x", **layout)
    else:
        Image.fromarray(samples).save(source, quality=90)
    seen: list[int] = []
    own = large.LargeComposite.harmonized
    monkeypatch.setattr(large.LargeComposite, "harmonized", lambda *a, **k: seen.append(1) or own(*a, **k))
    assert main(["harmonize", str(source), str(mask), "-o", str(out)]) == 0 and seen
    for module in (limits, direct, write):
        monkeypatch.setattr(module, "LARGE", 10**9)
    assert main(["harmonize", str(source), str(mask), "-o", str(whole)]) == 0 and len(seen) == 1
    one, other, before = (read_image(p) for p in (out, whole, source))
    assert np.array_equal(one.rgb, other.rgb) and one.rgb.dtype == before.rgb.dtype and one.grey == before.grey
    assert one.icc == other.icc and (one.icc is None) == (case != "profile")
    assert not np.array_equal(one.rgb, before.rgb)
    if suffix == ".tif":
        with tifffile.TiffFile(out) as handle:
            page: Any = handle.pages[0]
            assert page.is_tiled and page.tags.valueof(305) == "x" and page.tags.valueof(282)[0] == 300
        outside = soft <= 0
        assert np.array_equal(one.rgb[outside], before.rgb[outside])


def read_profile() -> bytes:
    from raiha_core.image.spaces import make_profile

    return make_profile(1.8, (0.3127, 0.3290), (0.64, 0.33, 0.21, 0.71, 0.15, 0.06), None, False)


def test_json_references_and_reasons(
    tmp_path: Path, photo: Photo, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiff(tmp_path / "s.tif", (photo[0] * 255).astype(np.uint8), photometric="rgb", tile=(64, 64))
    mask = tiff(tmp_path / "m.tif", (photo[1] * 255).astype(np.uint8), photometric="minisblack", tile=(64, 64))
    out = tmp_path / "o.tif"
    assert main(["harmonize", str(source), str(mask), "-o", str(out), "-r", str(source), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["changed"] and row["references"] == [{"path": str(source)}] and row["notices"] == []
    assert main(["harmonize", str(source), str(mask), "-o", str(out), "--strength", "0.01", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert not row["changed"] and "strength is 0.01" in row["notices"][0]
    assert main(["harmonize", str(source), str(mask), "-o", str(tmp_path / "o.png")]) == 0, "another kind of file is made in memory"
    small = tiff(tmp_path / "small.tif", (photo[1][:100] * 255).astype(np.uint8), photometric="minisblack", tile=(64, 64))
    capsys.readouterr()
    assert main(["harmonize", str(source), str(small), "-o", str(out)]) == 2
    assert "The mask is 210 x 100 but the composite is 210 x 150" in capsys.readouterr().err
    assert main(["harmonize", str(source), str(small), "-o", str(out), "--resize-mask"]) == 0


def test_large_composites_are_checked(photo: Photo) -> None:
    rows = ArrayRows((photo[0] * 255).astype(np.uint8))
    template = Picture(rows.array)

    def composite(mask: np.ndarray) -> large.LargeComposite:
        return large.LargeComposite(rows, MaskRows(ArrayRows(mask[..., None])), template)

    with pytest.raises(EmptyMaskError):
        composite(np.zeros((150, 210), np.uint8))
    with pytest.raises(RaihaError, match="covers the whole picture"):
        composite(np.full((150, 210), 255, np.uint8))
    picture, mask = composite((photo[1] * 255).astype(np.uint8)).reduced()
    assert picture.shape == (1, 3, 150, 210) and mask.shape == (1, 1, 150, 210)
    assert np.abs(picture[0].permute(1, 2, 0).numpy() - photo[0]).max() < 0.005


def test_what_the_model_sees_is_the_same(photo: Photo) -> None:
    from raiha_core.inputs import as_mask

    samples = (photo[0] * 255).astype(np.uint8)
    mask = (photo[1] * 255).astype(np.uint8)
    harmonizer = Harmonizer()
    by_rows = large.LargeComposite(ArrayRows(samples), MaskRows(ArrayRows(mask[..., None])), Picture(samples)).shown(harmonizer)
    whole = harmonizer.shown(Picture(samples), as_mask(mask))
    assert by_rows.box == whole.box
    assert torch.allclose(by_rows.picture, whole.picture, atol=1e-6) and torch.allclose(by_rows.mask, whole.mask, atol=1e-6)


def test_large_pngs_and_jpegs_are_decoded_in_place(tmp_path: Path, photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = (photo[0] * 255).astype(np.uint8)
    for name, image in (("c", samples), ("g", samples[..., 0])):
        for suffix in (".png", ".jpg"):
            file = tmp_path / (name + suffix)
            Image.fromarray(image).save(file)
            with monkeypatch.context() as patch:
                patch.setattr(files, "_samples", lambda image: pytest.fail("Pillow decoded it"))
                found = read_image(file)
            assert np.array_equal(found.native().squeeze(), np.asarray(Image.open(file)))
    cut = tmp_path / "cut.jpg"
    cut.write_bytes((tmp_path / "c.jpg").read_bytes()[:900])
    with pytest.raises(RaihaError, match="cannot be read as a picture"):
        read_image(cut)


def test_large_jpegs_keep_their_metadata(tmp_path: Path, photo: Photo, exif_of: Any) -> None:
    picture = Picture((photo[0] * 255).astype(np.uint8), icc=read_profile(), exif=exif_of(1) if callable(exif_of) else None)
    file = write.write_image(tmp_path / "o.jpg", picture)
    again = read_image(file)
    assert again.icc == picture.icc and (again.exif is None) == (picture.exif is None)
    expected = imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(picture.rgb, level=95, subsampling="444"))
    assert np.array_equal(again.rgb, expected)


def test_claims_beyond_measure_are_refused_unread(tmp_path: Path, photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tiff(tmp_path / "s.tif", (photo[0] * 255).astype(np.uint8), photometric="rgb", tile=(64, 64))
    with tifffile.TiffFile(file) as handle:
        monkeypatch.setattr(windows, "MOST", 1000)
        with pytest.raises(RaihaError, match="more than 0 megapixels; cut it"):
            windows.check_size(file, handle.pages[0])
