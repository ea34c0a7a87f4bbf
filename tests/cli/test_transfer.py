from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raiha_core.cli import main

GALLERY = Path(__file__).parents[2] / "raiha_core" / "demo_data" / "gallery"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A photo and a smaller, darker version of it."""
    photo = Image.open(GALLERY / "chelsea.jpg").convert("RGB").resize((240, 160))
    photo.save(tmp_path / "photo.png")
    photo.resize((120, 80)).point([round(v * 0.6) for v in range(256)] * 3).save(tmp_path / "version.png")
    return tmp_path / "photo.png", tmp_path / "version.png"


def test_one_picture(pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.png"
    assert main(["transfer", *map(str, pair), "-o", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["output"] == str(out)
    before, after = (np.asarray(Image.open(p), float) for p in (pair[0], out))
    assert after.shape == before.shape and abs(after.mean() / before.mean() - 0.6) < 0.02
    mask = np.zeros((160, 240), np.uint8)
    mask[40:120, 60:180] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert main(["transfer", *map(str, pair), str(tmp_path / "mask.png"), "-o", str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    masked = np.asarray(Image.open(out), float)
    assert np.array_equal(masked[mask == 0], before[mask == 0]) and masked[mask > 0].mean() < 0.7 * before[mask > 0].mean()


def test_folders_go_on_after_a_bad_file(pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, file in (("originals", pair[0]), ("versions", pair[1])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(file.read_bytes())
        (tmp_path / folder / "b.png").write_bytes(file.read_bytes() if folder == "originals" else b"no picture")
    arguments = ["transfer", str(tmp_path / "originals"), str(tmp_path / "versions"), "-o", str(tmp_path / "out")]
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert "1 written, 1 failed" in told.out and "b.png" in told.err and (tmp_path / "out" / "a.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{photo}", "{version}", "-o", "{photo}"], "would be overwritten"),
        (["{photo}", "{folder}", "-o", "x.png"], "Some are files and some are folders"),
        (["{folder}", "{folder}", "-o", "x.png"], "needs a folder"),
        (["{photo}", "{version}", "-o", "x.png", "--strength", "2"], "from 0 to 1"),
        (["{photo}", "{nothing}", "-o", "{out}"], "nothing.png"),
        (["{photo}", "{version}", "-o", "x.gif"], "suffix"),
        (["{photo}", "{version}", "-o", "{out}", "--device", "cuda:99"], "device"),
        (["{photo}", "{version}", "-o", "{out}", "--device", "meta"], "computes nothing"),
    ],
)
def test_mistakes_are_one_sentence(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    names = {"photo": pair[0], "version": pair[1], "folder": tmp_path, "nothing": tmp_path / "nothing.png", "out": tmp_path / "o.png"}
    assert main(["transfer", *(a.format(**names) for a in arguments)]) == 2
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1 and not (tmp_path / "o.png").exists()


def test_nothing_changed_is_said(pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.png"
    assert main(["transfer", str(pair[0]), str(pair[0]), "-o", str(out)]) == 0
    assert "Nothing was changed that could be seen" in capsys.readouterr().err
    assert main(["transfer", *map(str, pair), "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["changed"] and told["notices"] == []


def test_what_was_found_in_reading_is_said(pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.zeros((160, 240), np.uint8)
    mask[40:120, 60:180] = 75
    Image.fromarray(mask).save(tmp_path / "mask.png")
    frames = [Image.open(pair[1]), Image.open(pair[0])]
    frames[0].save(tmp_path / "version.tif", save_all=True, append_images=frames[1:])
    assert main(["transfer", str(pair[0]), str(tmp_path / "version.tif"), str(tmp_path / "mask.png"), "-o", str(tmp_path / "o.png")]) == 0
    told = capsys.readouterr().err
    assert "75 of 255" in told and "holds 2 frames or pages" in told


def test_what_cannot_be_done_of_a_batch_is_named_and_the_rest_is_done(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    originals, versions, masks, out = (tmp_path / name for name in ("originals", "versions", "masks", "out"))
    for folder, names in ((originals, "abc"), (versions, "abx"), (masks, "abc")):
        folder.mkdir()
        for name in names:
            if folder == masks:
                Image.new("L", (240, 160), 255 if name == "a" else 0).save(folder / f"{name}.png")
            else:
                (folder / f"{name}.png").write_bytes(pair[folder == versions].read_bytes())
    (originals / "notes.txt").touch()
    assert main(["transfer", *map(str, (originals, versions, masks)), "-o", str(out)]) == 2
    told = capsys.readouterr()
    assert "2 written, 1 failed" in told.out and "c.png has no partner" in told.err
    assert "left out 2 files" in told.err and "notes.txt" in told.err and "x.png" in told.err
    assert "b.png has an empty mask and was copied" in told.err
    assert np.array_equal(np.asarray(Image.open(out / "b.png")), np.asarray(Image.open(pair[0])))


def test_two_results_of_one_name_are_refused(pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "originals"
    folder.mkdir()
    for suffix in ("bmp", "tga"):
        Image.open(pair[0]).save(folder / f"a.{suffix}")
    assert main(["transfer", str(folder / "*"), str(folder / "*"), "-o", str(tmp_path / "out")]) == 2
    assert "a.bmp has no partner, or several" in capsys.readouterr().err
