"""`raiha harmonize` of folders: what is done already, what is done anew, and what becomes of the rest when one fails."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from raiha_core.image import read_image

Call = Callable[..., tuple[int, str, str]]
OneLine = Callable[[str], str]
Batch = tuple[Path, Path, Path]
"""Composites, masks, results."""
Again = Callable[..., str]

ALL, NONE = "3 harmonised, 0 already done, 0 failed", "0 harmonised, 3 already done, 0 failed"


def results(folder: Path) -> list[Path]:
    """What a user sees of a batch's folder."""
    return [p for p in folder.iterdir() if not p.name.startswith(".")]


@pytest.fixture
def batch(scene: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> Batch:
    composites, masks = tmp_path / "in", tmp_path / "masks"
    composites.mkdir()
    masks.mkdir()
    for i in range(3):
        Image.fromarray(np.roll(scene[0], i * 5, 1)).save(composites / f"photo{i}.png")
        Image.fromarray(np.roll(scene[1], i * 5, 1)).save(masks / f"photo{i}_mask.png")
    return composites, masks, tmp_path / "out"


@pytest.fixture
def again(call: Call) -> Again:
    """Runs a batch once more; gives the sentence that says what was done."""

    def run(batch: Batch, *options: object) -> str:
        composites, masks, out = batch
        status, text, err = call("harmonize", composites, masks, "-o", out, *options)
        assert status == 0, err
        return text.strip()

    return run


def test_batch_resumes(batch: Batch, call: Call) -> None:
    composites, masks, out = batch
    status, text, _ = call("harmonize", composites, masks, "-o", out)
    assert status == 0 and "3 harmonised, 0 already done, 0 failed" in text
    stamps = {p.name: p.stat().st_mtime_ns for p in results(out)}
    assert set(stamps) == {"photo0.png", "photo1.png", "photo2.png"}
    (out / "photo1.png").unlink()
    status, text, _ = call("harmonize", f"{composites}/*.png", masks, "-o", out)
    assert "1 harmonised, 2 already done, 0 failed" in text
    assert (out / "photo0.png").stat().st_mtime_ns == stamps["photo0.png"]
    status, text, _ = call("harmonize", composites, masks, "-o", out, "--overwrite")
    assert status == 0 and "3 harmonised" in text


def test_a_changed_composite_is_done_again(batch: Batch, call: Call) -> None:
    composites, masks, out = batch
    call("harmonize", composites, masks, "-o", out)
    later = (out / "photo2.png").stat().st_mtime + 10
    os.utime(composites / "photo2.png", (later, later))
    assert "1 harmonised, 2 already done" in call("harmonize", composites, masks, "-o", out)[1]


def test_batch_goes_on_after_a_bad_file(batch: Batch, call: Call) -> None:
    composites, masks, out = batch
    (composites / "photo1.png").write_bytes(b"not a picture")
    status, text, err = call("harmonize", composites, masks, "-o", out)
    assert status == 2 and "2 harmonised, 0 already done, 1 failed" in text
    assert "photo1.png" in err and "cannot be read" in err
    assert sorted(p.name for p in results(out)) == ["photo0.png", "photo2.png"]


def test_a_batch_reads_its_reference_once(
    batch: Batch, scene_files: tuple[Path, Path], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference, seen = scene_files[0], []
    monkeypatch.setattr("raiha_core.inputs.read_image", lambda path: (seen.append(Path(path)), read_image(path))[1])
    composites, masks, out = batch
    arguments = ["harmonize", composites, masks, "-o", out, "-r", reference, "--attention", out / "looked"]
    assert call(*arguments)[0] == 0 and len(list(out.glob("*.png"))) == 3
    assert seen.count(reference) == 1


def test_a_composite_without_a_mask_is_named_and_the_rest_is_done(batch: Batch, call: Call) -> None:
    composites, masks, out = batch
    (masks / "photo2_mask.png").unlink()
    (composites / "notes.txt").write_text("hello")
    status, text, err = call("harmonize", composites, masks, "-o", out)
    assert status == 2 and "2 harmonised, 0 already done, 1 failed" in text
    assert "photo2.png has no mask" in err and "left out 1 files" in err and "notes.txt" in err
    report = json.loads(call("harmonize", composites, masks, "-o", out, "--json")[1])
    assert report["left_out"] == [str(composites / "notes.txt")] and report["failures"][0]["composite"] == str(composites / "photo2.png")


def test_frames_without_foreground_leave_no_gap(batch: Batch, call: Call, one_line: OneLine) -> None:
    composites, masks, out = batch
    Image.new("L", (128, 96)).save(masks / "photo1_mask.png")
    status, text, err = call("harmonize", composites, masks, "-o", out)
    assert status == 0 and "2 harmonised, 1 without foreground copied, 0 already done, 0 failed" in text
    assert "photo1.png has an empty mask" in one_line(err)
    assert (np.asarray(Image.open(out / "photo1.png")) == np.asarray(Image.open(composites / "photo1.png"))).all()


def test_a_batch_whose_folder_cannot_be_made_says_so(batch: Batch, call: Call) -> None:
    composites, masks, out = batch
    out.write_bytes(b"")
    status, _, err = call("harmonize", composites, masks, "-o", out / "deeper")
    assert status == 2 and err.count("cannot be made") == 3 and "unexpected" not in err


def test_batch_goes_on_after_anything(batch: Batch, call: Call, monkeypatch: pytest.MonkeyPatch, one_line: OneLine) -> None:
    from raiha_core.harmonizer import Harmonizer

    real, calls = Harmonizer.predict, []

    def once_broken(self: Harmonizer, *arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("out of memory\nand much more")
        return real(self, *arguments, **options)

    monkeypatch.setattr(Harmonizer, "predict", once_broken)
    composites, masks, out = batch
    status, text, err = call("harmonize", composites, masks, "-o", out, "--json")
    report = json.loads(text)
    assert status == 2 and len(report["results"]) == 2 and report["skipped"] == 0
    assert report["failures"] == [{"composite": str(composites / "photo1.png"), "error": "unexpected RuntimeError: out of memory"}]
    assert "photo1.png" in one_line(err)
    assert sorted(p.name for p in results(out)) == ["photo0.png", "photo2.png"]


def test_batch_of_alphas_with_attention(scene: tuple[np.ndarray, np.ndarray], tmp_path: Path, call: Call) -> None:
    (tmp_path / "in").mkdir()
    for name in ("one", "two"):
        Image.fromarray(np.dstack(scene)).save(tmp_path / "in" / f"{name}.png")
    status, _, err = call("harmonize", tmp_path / "in" / "*.png", "-o", tmp_path / "out", "--attention", tmp_path / "looked")
    assert status == 0, err
    for folder in ("out", "looked"):
        assert sorted(p.name for p in results(tmp_path / folder)) == ["one.png", "two.png"]


def test_other_options_make_the_results_anew(batch: Batch, scene_files: tuple[Path, Path], tmp_path: Path, again: Again) -> None:
    composites, _, out = batch
    assert again(batch) == ALL and again(batch) == NONE
    assert again(batch, "--strength", 0) == ALL
    before, after = (np.asarray(Image.open(folder / "photo1.png")) for folder in (composites, out))
    assert (before == after).all(), "strength 0 must give the input back, not a result of strength 1"
    assert again(batch, "--strength", 0) == NONE
    assert again(batch, "-r", scene_files[0]) == ALL and again(batch, "-r", scene_files[0]) == NONE
    assert again(batch, "-r", scene_files[0], "-r", scene_files[0]) == ALL
    later = scene_files[0].stat().st_mtime + 10
    os.utime(scene_files[0], (later, later))
    assert again(batch, "-r", scene_files[0]) == ALL, "a reference that was changed"
    assert again(batch) == ALL and again(batch, "--device", "cpu") == NONE


def test_another_model_under_the_same_name_makes_them_anew(batch: Batch, tmp_path: Path, again: Again) -> None:
    import torch

    from raiha_core.models import RHNet, save_model

    for seed in (0, 1):
        torch.manual_seed(seed)
        save_model(RHNet(ngf=4, content_channels=0, input_size=64), tmp_path / "mine.safetensors")
        assert again(batch, "--model", tmp_path / "mine.safetensors") == ALL
    assert again(batch, "--model", tmp_path / "mine.safetensors") == NONE
    assert again(batch) == ALL


def test_a_grown_index_makes_them_anew(batch: Batch, tmp_path: Path, again: Again, call: Call) -> None:
    gallery, index = tmp_path / "gallery", tmp_path / "my.index"
    gallery.mkdir()
    rng = np.random.default_rng(1)
    for i in range(2):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize((96, 96)).save(gallery / f"{i}.png")
    call("index", "build", index, gallery)
    assert again(batch, "--index", index) == ALL and again(batch, "--index", index) == NONE
    assert again(batch, "--index", index, "--top-k", 2) == ALL
    Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize((96, 96)).save(gallery / "2.png")
    assert call("index", "add", index, gallery)[0] == 0
    assert again(batch, "--index", index, "--top-k", 2) == ALL


def test_a_picture_from_elsewhere_of_the_same_name_is_another(batch: Batch, tmp_path: Path, again: Again) -> None:
    composites, masks, out = batch
    assert again(batch) == ALL
    (tmp_path / "other").mkdir()
    for p in composites.iterdir():
        Image.open(p).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(tmp_path / "other" / p.name)
        os.utime(tmp_path / "other" / p.name, (1, 1))  # older than every result
    assert again((tmp_path / "other", masks, out)) == ALL


def test_an_edited_result_is_made_again(batch: Batch, again: Again, call: Call) -> None:
    composites, masks, out = batch
    assert again(batch) == ALL
    assert call("harmonize", composites / "photo1.png", masks / "photo1_mask.png", "-o", out / "photo1.png", "--strength", 0)[0] == 0
    assert again(batch) == "1 harmonised, 2 already done, 0 failed"


def test_attention_is_made_anew_with_its_picture(batch: Batch, tmp_path: Path, again: Again) -> None:
    looked = ("--attention", tmp_path / "looked")
    assert again(batch) == ALL and again(batch, *looked) == ALL
    assert again(batch) == NONE and again(batch, *looked) == NONE
    assert again(batch, "--strength", 0.5) == ALL
    assert again(batch, "--strength", 0.5, *looked) == ALL, "the attention pictures are those of another run"


def test_a_torn_or_missing_record_costs_time_only(batch: Batch, again: Again) -> None:
    from raiha_core.cli.record import NAME

    record = batch[2] / NAME
    assert again(batch) == ALL
    record.write_bytes(record.read_bytes()[:-20])  # as a kill leaves it
    assert again(batch) == "1 harmonised, 2 already done, 0 failed" and again(batch) == NONE
    record.write_bytes(b"\xff{}\n[1, 2]\nnull\n" + record.read_bytes())
    assert again(batch) == NONE
    record.unlink()
    assert again(batch) == ALL


def test_the_record_does_not_grow_without_end(batch: Batch, again: Again) -> None:
    from raiha_core.cli.record import NAME

    record = batch[2] / NAME
    assert again(batch) == ALL
    record.write_bytes(record.read_bytes() * 100)
    assert again(batch) == NONE and len(record.read_bytes().splitlines()) == 3
