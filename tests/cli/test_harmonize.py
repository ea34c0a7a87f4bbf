"""`raiha harmonize` of one picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Call = Callable[..., tuple[int, str, str]]
OneLine = Callable[[str], str]


def test_single_file(scene_files: tuple[Path, Path], tmp_path: Path, call: Call) -> None:
    composite, mask = scene_files
    out = tmp_path / "out.png"
    status, text, err = call("harmonize", composite, mask, "-o", out)
    assert (status, err) == (0, "") and str(out) in text
    before, after, m = (np.asarray(Image.open(p)) for p in (composite, out, mask))
    assert (before[m == 0] == after[m == 0]).all()
    assert (before[m > 0] != after[m > 0]).any()


def test_json_is_all_there_is(scene_files: tuple[Path, Path], tmp_path: Path, call: Call) -> None:
    composite, mask = scene_files
    status, text, err = call("harmonize", composite, mask, "-o", tmp_path / "o.png", "--references", composite, "--json")
    row = json.loads(text)
    assert status == 0 and err == ""
    assert row["output"] == str(tmp_path / "o.png") and row["references"] == [{"path": str(composite)}]


def test_alpha_is_the_mask(scene: tuple[np.ndarray, np.ndarray], tmp_path: Path, call: Call) -> None:
    source, out = tmp_path / "c.png", tmp_path / "o.png"
    Image.fromarray(np.dstack(scene)).save(source)
    assert call("harmonize", source, "-o", out)[0] == 0
    after = np.asarray(Image.open(out))
    assert (after[:, :, 3] == scene[1]).all()
    assert (after[:, :, :3][scene[1] == 0] == scene[0][scene[1] == 0]).all()


def test_strength_zero_gives_the_input(scene_files: tuple[Path, Path], tmp_path: Path, call: Call) -> None:
    composite, mask = scene_files
    out = tmp_path / "o.png"
    assert call("harmonize", composite, mask, "-o", out, "--strength", 0)[0] == 0
    assert (np.asarray(Image.open(out)) == np.asarray(Image.open(composite))).all()


def test_attention_is_drawn(scene_files: tuple[Path, Path], tmp_path: Path, call: Call) -> None:
    composite, mask = scene_files
    drawn = tmp_path / "a.png"
    status, _, err = call("harmonize", composite, mask, "-o", tmp_path / "o.png", "--attention", drawn, "-r", composite)
    assert status == 0, err
    with Image.open(drawn) as image:
        assert min(image.size) >= 256 and np.asarray(image.convert("RGB")).std() > 5


def test_nothing_changed_is_said(scene: tuple[np.ndarray, np.ndarray], tmp_path: Path, call: Call) -> None:
    flat, mask, out = tmp_path / "c.png", tmp_path / "m.png", tmp_path / "o.png"
    Image.new("RGB", (128, 96), (90, 90, 90)).save(flat)
    Image.fromarray(scene[1] // 255 * 15).save(mask)
    status, text, err = call("harmonize", flat, mask, "-o", out)
    assert status == 0 and "Nothing was changed" in err and "15 of 255" in err and "wrote" in text
    row = json.loads(call("harmonize", flat, mask, "-o", out, "--json")[1])
    assert row["changed"] is False and any("Nothing was changed" in n for n in row["notices"])


def test_pages(scene: tuple[np.ndarray, np.ndarray], tmp_path: Path, call: Call, one_line: OneLine) -> None:
    pages, mask, out = tmp_path / "c.tif", tmp_path / "m.png", tmp_path / "o.png"
    frames = [Image.fromarray(scene[0]), Image.fromarray(scene[0][:, ::-1].copy())]
    frames[0].save(pages, save_all=True, append_images=frames[1:])
    Image.fromarray(scene[1]).save(mask)
    status, _, err = call("harmonize", pages, mask, "-o", out)
    assert status == 0 and "holds 2 frames or pages" in one_line(err)
    assert (np.asarray(Image.open(out))[scene[1] == 0] == scene[0][scene[1] == 0]).all()
    status, _, err = call("harmonize", pages, mask, "-o", out, "--page", 2)
    assert status == 0 and "frames or pages" not in err
    assert (np.asarray(Image.open(out))[scene[1] == 0] == scene[0][:, ::-1][scene[1] == 0]).all()
    status, _, err = call("harmonize", pages, mask, "-o", out, "--page", 3)
    assert status == 2 and "no page 3" in one_line(err)


def test_references_come_from_an_index(scene_files: tuple[Path, Path], tmp_path: Path, call: Call) -> None:
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    rng = np.random.default_rng(1)
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize((96, 96)).save(gallery / f"{i}.png")
    assert call("index", "build", tmp_path / "my.index", gallery)[0] == 0
    status, text, err = call("harmonize", *scene_files, "-o", tmp_path / "o.png", "--index", tmp_path / "my.index", "--top-k", 2, "--json")
    assert status == 0, err
    references = json.loads(text)["references"]
    assert len(references) == 2 and {Path(r["path"]).parent for r in references} == {gallery}
    assert all(0 <= r[score] <= 1 for r in references for score in ("content", "illumination"))
