"""Whatever training reads, it sees as viewers show it and as the index and the harmoniser see it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from raiha_core.errors import RaihaError
from raiha_core.evaluation.datasets import Item
from raiha_core.image.reduced import read_reduced
from raiha_core.training.pack import build_pack, find_photos
from raiha_core.training.triplets import TripletSource
from raiha_core.training.validate import Validation

SIDE = 48


def scene() -> np.ndarray:
    """Light from the left, `(48, 64, 3)` uint8."""
    x = np.linspace(0.2, 0.9, 64)[None, :, None]
    return (np.ones((48, 1, 1)) * x * np.array([200, 160, 120])).astype(np.uint8)


def lying(path: Path) -> Path:
    """A picture that EXIF turns."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(scene()).save(path.with_suffix(".jpg"), quality=95, exif=exif)
    return path.with_suffix(".jpg")


def floating(path: Path) -> Path:
    """A float TIFF, white at 1."""
    tifffile.imwrite(path.with_suffix(".tif"), scene().astype(np.float32) / 255, photometric="rgb")
    return path.with_suffix(".tif")


def clear(path: Path) -> Path:
    """Half of it is transparent, with a loud colour under it."""
    pixels = np.dstack([scene(), np.full((48, 64), 255, np.uint8)])
    pixels[:, 32:] = (255, 0, 255, 0)
    Image.fromarray(pixels).save(path.with_suffix(".png"))
    return path.with_suffix(".png")


def whole_triplets(root: Path, make: Callable[[Path], Path]) -> Item:
    """A triplet folder of one picture, which needs no harmonising."""
    for name in ("composite", "real", "mask"):
        (root / name).mkdir(parents=True)
    shape = (64, 48) if make is lying else (48, 64)
    Image.fromarray(np.full(shape, 255, np.uint8)).save(root / "mask" / "a.png")
    composite, real = make(root / "composite" / "a"), make(root / "real" / "a")
    (root / "index.jsonl").write_text(json.dumps({"name": "a", "kind": "edit"}))
    return Item("a", "edit", composite, root / "mask" / "a.png", real)


@pytest.mark.parametrize("make", [lying, floating, clear])
def test_all_of_training_sees_what_the_index_sees(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    item = whole_triplets(tmp_path / "val", make)
    shown = read_reduced(item.composite, 10_000)[0]
    expected = np.array(shown.resize((SIDE, SIDE), Image.Resampling.BOX))
    raw = TripletSource([item], SIDE, whole=True).draw(1, np.random.default_rng(0))
    assert raw.composite is not None and np.array_equal(raw.composite[0].permute(1, 2, 0), expected)
    validation = Validation(tmp_path / "val", SIDE)
    assert torch.allclose(validation.composite[0].permute(1, 2, 0), torch.from_numpy(expected) / 255)
    (tmp_path / "photos").mkdir()
    make(tmp_path / "photos" / "a")
    packed = build_pack(tmp_path / "photos", tmp_path / "pack", SIDE, progress=False).photos[0]
    assert np.array_equal(packed, shown.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def test_masks_mean_what_they_mean_to_the_product(tmp_path: Path) -> None:
    """A cut-out's alpha, a label of 1, and 16 bits are masks."""
    inside = np.zeros((48, 64), bool)
    inside[8:40, 16:48] = True
    alpha = np.dstack([scene(), np.where(inside, 255, 0).astype(np.uint8)])
    Image.fromarray(alpha).save(tmp_path / "cut.png")
    Image.fromarray(inside.astype(np.uint8)).save(tmp_path / "label.png")
    tifffile.imwrite(tmp_path / "deep.tif", inside.astype(np.uint16) * 65535)
    picture = tmp_path / "a.png"
    Image.fromarray(scene()).save(picture)
    for name in ("cut.png", "label.png", "deep.tif"):
        mask = TripletSource([Item("a", "", picture, tmp_path / name, picture)], 16, whole=True).draw(1, np.random.default_rng(0)).mask
        assert mask.float().mean() == pytest.approx(255 * inside.mean(), abs=2), name


def test_one_list_of_suffixes(tmp_path: Path) -> None:
    for name in ("a.gif", "b.jp2", "c.jfif", "d.tga"):
        Image.fromarray(scene()).save(tmp_path / name, format={".jfif": "JPEG", ".jp2": "JPEG2000"}.get(Path(name).suffix))
    (tmp_path / "notes.txt").write_text("no photo")
    assert [p.name for p in find_photos(tmp_path)] == ["a.gif", "b.jp2", "c.jfif", "d.tga"]


def test_an_unreadable_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8 no")
    with pytest.raises(RaihaError, match=r"a\.jpg cannot be read as a picture .*repair it or take it out"):
        build_pack(tmp_path, tmp_path / "pack", SIDE, progress=False)
