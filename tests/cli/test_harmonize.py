from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from raiha_core.cli import main
from raiha_core.image import read_image

Run = Any


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def one_line(err: str) -> str:
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith("raiha: ")
    return lines[0]


def test_single_file(scene_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    composite, mask = scene_files
    out = tmp_path / "out.png"
    status, text, err = call(capsys, "harmonize", composite, mask, "-o", out)
    assert (status, err) == (0, "") and str(out) in text
    before, after, m = (np.asarray(Image.open(p)) for p in (composite, out, mask))
    assert (before[m == 0] == after[m == 0]).all()
    assert (before[m > 0] != after[m > 0]).any()


def test_json_is_all_there_is(scene_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    composite, mask = scene_files
    status, text, err = call(capsys, "harmonize", composite, mask, "-o", tmp_path / "o.png", "--references", composite, "--json")
    row = json.loads(text)
    assert status == 0 and err == ""
    assert row["output"] == str(tmp_path / "o.png") and row["references"] == [{"path": str(composite)}]


def test_alpha_is_the_mask(scene: tuple[np.ndarray, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "c.png", tmp_path / "o.png"
    Image.fromarray(np.dstack(scene)).save(source)
    assert call(capsys, "harmonize", source, "-o", out)[0] == 0
    after = np.asarray(Image.open(out))
    assert (after[:, :, 3] == scene[1]).all()
    assert (after[:, :, :3][scene[1] == 0] == scene[0][scene[1] == 0]).all()


def test_strength_zero_gives_the_input(scene_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    composite, mask = scene_files
    out = tmp_path / "o.png"
    assert call(capsys, "harmonize", composite, mask, "-o", out, "--strength", 0)[0] == 0
    assert (np.asarray(Image.open(out)) == np.asarray(Image.open(composite))).all()


def test_attention_is_drawn(scene_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    composite, mask = scene_files
    drawn = tmp_path / "a.png"
    status, _, err = call(capsys, "harmonize", composite, mask, "-o", tmp_path / "o.png", "--attention", drawn, "-r", composite)
    assert status == 0, err
    with Image.open(drawn) as image:
        assert min(image.size) >= 256 and np.asarray(image.convert("RGB")).std() > 5


def results(folder: Path) -> list[Path]:
    """What a user sees of a batch's folder."""
    return [p for p in folder.iterdir() if not p.name.startswith(".")]


@pytest.fixture
def batch(scene: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> tuple[Path, Path, Path]:
    composites, masks = tmp_path / "in", tmp_path / "masks"
    composites.mkdir()
    masks.mkdir()
    for i in range(3):
        Image.fromarray(np.roll(scene[0], i * 5, 1)).save(composites / f"photo{i}.png")
        Image.fromarray(np.roll(scene[1], i * 5, 1)).save(masks / f"photo{i}_mask.png")
    return composites, masks, tmp_path / "out"


def test_batch_resumes(batch: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    composites, masks, out = batch
    status, text, _ = call(capsys, "harmonize", composites, masks, "-o", out)
    assert status == 0 and "3 harmonised, 0 already done, 0 failed" in text
    stamps = {p.name: p.stat().st_mtime_ns for p in results(out)}
    assert set(stamps) == {"photo0.png", "photo1.png", "photo2.png"}
    (out / "photo1.png").unlink()
    status, text, _ = call(capsys, "harmonize", f"{composites}/*.png", masks, "-o", out)
    assert "1 harmonised, 2 already done, 0 failed" in text
    assert (out / "photo0.png").stat().st_mtime_ns == stamps["photo0.png"]
    status, text, _ = call(capsys, "harmonize", composites, masks, "-o", out, "--overwrite")
    assert status == 0 and "3 harmonised" in text


def test_a_changed_composite_is_done_again(batch: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    composites, masks, out = batch
    call(capsys, "harmonize", composites, masks, "-o", out)
    later = (out / "photo2.png").stat().st_mtime + 10
    os.utime(composites / "photo2.png", (later, later))
    assert "1 harmonised, 2 already done" in call(capsys, "harmonize", composites, masks, "-o", out)[1]


def test_batch_goes_on_after_a_bad_file(batch: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    composites, masks, out = batch
    (composites / "photo1.png").write_bytes(b"not a picture")
    status, text, err = call(capsys, "harmonize", composites, masks, "-o", out)
    assert status == 2 and "2 harmonised, 0 already done, 1 failed" in text
    assert "photo1.png" in err and "cannot be read" in err
    assert sorted(p.name for p in results(out)) == ["photo0.png", "photo2.png"]


def test_a_batch_reads_its_reference_once(
    batch: tuple[Path, Path, Path], scene_files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reference, seen = scene_files[0], []
    monkeypatch.setattr("raiha_core.inputs.read_image", lambda path: (seen.append(Path(path)), read_image(path))[1])
    composites, masks, out = batch
    arguments = ["harmonize", composites, masks, "-o", out, "-r", reference, "--attention", out / "looked"]
    assert call(capsys, *arguments)[0] == 0 and len(list(out.glob("*.png"))) == 3
    assert seen.count(reference) == 1


def test_a_composite_without_a_mask_is_named_and_the_rest_is_done(
    batch: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    composites, masks, out = batch
    (masks / "photo2_mask.png").unlink()
    (composites / "notes.txt").write_text("hello")
    status, text, err = call(capsys, "harmonize", composites, masks, "-o", out)
    assert status == 2 and "2 harmonised, 0 already done, 1 failed" in text
    assert "photo2.png has no mask" in err and "left out 1 files" in err and "notes.txt" in err
    report = json.loads(call(capsys, "harmonize", composites, masks, "-o", out, "--json")[1])
    assert report["left_out"] == [str(composites / "notes.txt")] and report["failures"][0]["composite"] == str(composites / "photo2.png")


def test_frames_without_foreground_leave_no_gap(batch: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    composites, masks, out = batch
    Image.new("L", (128, 96)).save(masks / "photo1_mask.png")
    status, text, err = call(capsys, "harmonize", composites, masks, "-o", out)
    assert status == 0 and "2 harmonised, 1 without foreground copied, 0 already done, 0 failed" in text
    assert "photo1.png has an empty mask" in one_line(err)
    assert (np.asarray(Image.open(out / "photo1.png")) == np.asarray(Image.open(composites / "photo1.png"))).all()


def test_a_batch_whose_folder_cannot_be_made_says_so(batch: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    composites, masks, out = batch
    out.write_bytes(b"")
    status, _, err = call(capsys, "harmonize", composites, masks, "-o", out / "deeper")
    assert status == 2 and err.count("cannot be made") == 3 and "unexpected" not in err


def test_nothing_changed_is_said(scene: tuple[np.ndarray, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat, mask, out = tmp_path / "c.png", tmp_path / "m.png", tmp_path / "o.png"
    Image.new("RGB", (128, 96), (90, 90, 90)).save(flat)
    Image.fromarray(scene[1] // 255 * 15).save(mask)
    status, text, err = call(capsys, "harmonize", flat, mask, "-o", out)
    assert status == 0 and "Nothing was changed" in err and "15 of 255" in err and "wrote" in text
    row = json.loads(call(capsys, "harmonize", flat, mask, "-o", out, "--json")[1])
    assert row["changed"] is False and any("Nothing was changed" in n for n in row["notices"])


def test_pages(scene: tuple[np.ndarray, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages, mask, out = tmp_path / "c.tif", tmp_path / "m.png", tmp_path / "o.png"
    frames = [Image.fromarray(scene[0]), Image.fromarray(scene[0][:, ::-1].copy())]
    frames[0].save(pages, save_all=True, append_images=frames[1:])
    Image.fromarray(scene[1]).save(mask)
    status, _, err = call(capsys, "harmonize", pages, mask, "-o", out)
    assert status == 0 and "holds 2 frames or pages" in one_line(err)
    assert (np.asarray(Image.open(out))[scene[1] == 0] == scene[0][scene[1] == 0]).all()
    status, _, err = call(capsys, "harmonize", pages, mask, "-o", out, "--page", 2)
    assert status == 0 and "frames or pages" not in err
    assert (np.asarray(Image.open(out))[scene[1] == 0] == scene[0][:, ::-1][scene[1] == 0]).all()
    status, _, err = call(capsys, "harmonize", pages, mask, "-o", out, "--page", 3)
    assert status == 2 and "no page 3" in one_line(err)


def bad(tmp_path: Path, scene: tuple[np.ndarray, np.ndarray], kind: str) -> tuple[list[object], str]:
    """Arguments that must fail and a word of the sentence that says why."""
    composite, mask, out = tmp_path / "c.png", tmp_path / "m.png", tmp_path / "result.png"
    Image.fromarray(scene[0]).save(composite)
    Image.fromarray(scene[1]).save(mask)
    arguments: list[object] = [composite, mask, "-o", out]
    if kind == "missing":
        return [tmp_path / "no.png", mask, "-o", out], "does not exist"
    if kind == "unreadable":
        composite.write_bytes(b"\x00" * 100)
        return arguments, "cannot be read"
    if kind == "truncated":
        composite.write_bytes(composite.read_bytes()[: composite.stat().st_size // 2])
        return arguments, "truncated"
    if kind == "size":
        Image.fromarray(scene[1][:50]).save(mask)
        return arguments, "--resize-mask"
    if kind == "empty":
        Image.fromarray(scene[1] * 0).save(mask)
        return arguments, "empty"
    if kind == "full":
        Image.fromarray(scene[1] * 0 + 255).save(mask)
        return arguments, "whole picture"
    if kind == "nan":
        import tifffile

        array = scene[0].astype(np.float32) / 255
        array[3, 4, 1] = np.nan
        tifffile.imwrite(tmp_path / "c.tif", array, photometric="rgb")
        return [tmp_path / "c.tif", mask, "-o", tmp_path / "result.tif"], "NaN"
    if kind == "output folder":
        return [composite, mask, "-o", tmp_path / "no" / "o.png"], "folder"
    if kind == "output suffix":
        return [composite, mask, "-o", tmp_path / "result.xyz"], "suffix"
    if kind == "model":
        return [*arguments, "--model", "raiha-xxl"], "raiha-s"
    if kind == "strength":
        return [*arguments, "--strength", "2.5"], "strength"
    if kind == "device":
        return [*arguments, "--device", "quantum"], "device"
    if kind == "backend that is not there":
        return [*arguments, "--device", "hpu"], "device"
    if kind in ("pipe", "pipe as model", "circle", "long name"):
        odd = tmp_path / {"circle": "circle.png", "long name": "x" * 300 + ".png"}.get(kind, "pipe.png")
        if kind == "circle":
            odd.symlink_to(odd)
        elif "pipe" in kind:
            os.mkfifo(odd)
        if kind == "pipe as model":
            return [*arguments, "--model", odd], "no file"
        return [odd, mask, "-o", out], "does not exist or is not a file"
    if kind == "model of a long name":
        return [*arguments, "--model", "x" * 300], "There is no model named"
    if kind == "no alpha":
        return [composite, "-o", out], "alpha"
    if kind == "index":
        return [*arguments, "--index", tmp_path / "no.index"], "index"
    if kind == "checkpoint":
        from safetensors.numpy import save_file

        save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
        return [*arguments, "--model", tmp_path / "other.safetensors"], "another kind"
    if kind == "over its input":
        return [composite, mask, "-o", mask], "overwritten"
    if kind == "attention suffix":
        return [*arguments, "--attention", tmp_path / "looked.txt"], "suffix"
    if kind == "reference":
        return [*arguments, "--references", tmp_path / "no.jpg"], "no.jpg does not exist"
    if kind == "top-k":
        return [*arguments, "--top-k", "0"], "--top-k"
    if kind == "option":
        return [*arguments, "--strenght", "1"], "--strenght"
    raise AssertionError(kind)


KINDS = ["missing", "unreadable", "truncated", "size", "empty", "full", "nan", "model", "strength", "device", "index"]
KINDS += ["checkpoint", "output folder", "output suffix", "no alpha", "over its input", "attention suffix", "reference", "top-k", "option"]
KINDS += ["backend that is not there", "pipe", "pipe as model", "circle", "long name", "model of a long name"]


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_one_sentence(
    kind: str, scene: tuple[np.ndarray, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, word = bad(tmp_path, scene, kind)
    before = sorted(tmp_path.rglob("*"))
    status, text, err = call(capsys, "harmonize", *arguments)
    assert status == 2 and text == ""
    assert word in one_line(err)
    assert sorted(tmp_path.rglob("*")) == before, "something half-written was left"


def test_resize_mask(scene: tuple[np.ndarray, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, _ = bad(tmp_path, scene, "size")
    assert call(capsys, "harmonize", *arguments, "--resize-mask")[0] == 0


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_full_disk(
    suffix: str, scene_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(target: Path, *_: object, **__: object) -> None:
        with target.open("wb") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("raiha_core.image.png.write", full)
    monkeypatch.setattr(Image.Image, "save", lambda self, target, *_, **__: full(target))
    before = sorted(tmp_path.iterdir())
    status, _, err = call(capsys, "harmonize", *scene_files, "-o", tmp_path / f"o{suffix}")
    assert status == 2 and "disk is full" in one_line(err)
    assert sorted(tmp_path.iterdir()) == before


def test_unexpected_errors_stay_one_line(
    scene_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("raiha_core.harmonizer.Harmonizer.predict", broken)
    arguments = ["harmonize", *scene_files, "-o", tmp_path / "o.png"]
    status, _, err = call(capsys, *arguments)
    assert status == 2 and "ZeroDivisionError" in one_line(err) and "--debug" in err
    with pytest.raises(ZeroDivisionError):
        main(["--debug", *map(str, arguments)])


def test_batch_goes_on_after_anything(
    batch: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from raiha_core.harmonizer import Harmonizer

    real, calls = Harmonizer.predict, []

    def once_broken(self: Harmonizer, *arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("out of memory\nand much more")
        return real(self, *arguments, **options)

    monkeypatch.setattr(Harmonizer, "predict", once_broken)
    composites, masks, out = batch
    status, text, err = call(capsys, "harmonize", composites, masks, "-o", out, "--json")
    report = json.loads(text)
    assert status == 2 and len(report["results"]) == 2 and report["skipped"] == 0
    assert report["failures"] == [{"composite": str(composites / "photo1.png"), "error": "unexpected RuntimeError: out of memory"}]
    assert "photo1.png" in one_line(err)
    assert sorted(p.name for p in results(out)) == ["photo0.png", "photo2.png"]


def test_batch_of_alphas_with_attention(scene: tuple[np.ndarray, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    for name in ("one", "two"):
        Image.fromarray(np.dstack(scene)).save(tmp_path / "in" / f"{name}.png")
    status, _, err = call(capsys, "harmonize", tmp_path / "in" / "*.png", "-o", tmp_path / "out", "--attention", tmp_path / "looked")
    assert status == 0, err
    for folder in ("out", "looked"):
        assert sorted(p.name for p in results(tmp_path / folder)) == ["one.png", "two.png"]


def test_references_come_from_an_index(scene_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    rng = np.random.default_rng(1)
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize((96, 96)).save(gallery / f"{i}.png")
    assert call(capsys, "index", "build", tmp_path / "my.index", gallery)[0] == 0
    status, text, err = call(
        capsys, "harmonize", *scene_files, "-o", tmp_path / "o.png", "--index", tmp_path / "my.index", "--top-k", 2, "--json"
    )
    assert status == 0, err
    references = json.loads(text)["references"]
    assert len(references) == 2 and {Path(r["path"]).parent for r in references} == {gallery}
    assert all(0 <= r[score] <= 1 for r in references for score in ("content", "illumination"))


def again(capsys: pytest.CaptureFixture[str], batch: tuple[Path, Path, Path], *options: object) -> str:
    """Run the batch once more; the sentence that says what was done."""
    composites, masks, out = batch
    status, text, err = call(capsys, "harmonize", composites, masks, "-o", out, *options)
    assert status == 0, err
    return text.strip()


ALL, NONE = "3 harmonised, 0 already done, 0 failed", "0 harmonised, 3 already done, 0 failed"


def test_other_options_make_the_results_anew(
    batch: tuple[Path, Path, Path], scene_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    composites, _, out = batch
    assert again(capsys, batch) == ALL and again(capsys, batch) == NONE
    assert again(capsys, batch, "--strength", 0) == ALL
    before, after = (np.asarray(Image.open(folder / "photo1.png")) for folder in (composites, out))
    assert (before == after).all(), "strength 0 must give the input back, not a result of strength 1"
    assert again(capsys, batch, "--strength", 0) == NONE
    assert again(capsys, batch, "-r", scene_files[0]) == ALL and again(capsys, batch, "-r", scene_files[0]) == NONE
    assert again(capsys, batch, "-r", scene_files[0], "-r", scene_files[0]) == ALL
    later = scene_files[0].stat().st_mtime + 10
    os.utime(scene_files[0], (later, later))
    assert again(capsys, batch, "-r", scene_files[0]) == ALL, "a reference that was changed"
    assert again(capsys, batch) == ALL and again(capsys, batch, "--device", "cpu") == NONE


def test_another_model_under_the_same_name_makes_them_anew(
    batch: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from raiha_core.models import RHNet, save_model

    for seed in (0, 1):
        torch.manual_seed(seed)
        save_model(RHNet(ngf=4, content_channels=0, input_size=64), tmp_path / "mine.safetensors")
        assert again(capsys, batch, "--model", tmp_path / "mine.safetensors") == ALL
    assert again(capsys, batch, "--model", tmp_path / "mine.safetensors") == NONE
    assert again(capsys, batch) == ALL


def test_a_grown_index_makes_them_anew(batch: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gallery, index = tmp_path / "gallery", tmp_path / "my.index"
    gallery.mkdir()
    rng = np.random.default_rng(1)
    for i in range(2):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize((96, 96)).save(gallery / f"{i}.png")
    call(capsys, "index", "build", index, gallery)
    assert again(capsys, batch, "--index", index) == ALL and again(capsys, batch, "--index", index) == NONE
    assert again(capsys, batch, "--index", index, "--top-k", 1) == ALL
    Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize((96, 96)).save(gallery / "2.png")
    assert call(capsys, "index", "add", index, gallery)[0] == 0
    assert again(capsys, batch, "--index", index, "--top-k", 1) == ALL


def test_a_picture_from_elsewhere_of_the_same_name_is_another(
    batch: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    composites, masks, out = batch
    assert again(capsys, batch) == ALL
    (tmp_path / "other").mkdir()
    for p in composites.iterdir():
        Image.open(p).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(tmp_path / "other" / p.name)
        os.utime(tmp_path / "other" / p.name, (1, 1))  # older than every result
    assert again(capsys, (tmp_path / "other", masks, out)) == ALL


def test_an_edited_result_is_made_again(batch: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    composites, masks, out = batch
    assert again(capsys, batch) == ALL
    assert (
        call(capsys, "harmonize", composites / "photo1.png", masks / "photo1_mask.png", "-o", out / "photo1.png", "--strength", 0)[0] == 0
    )
    assert again(capsys, batch) == "1 harmonised, 2 already done, 0 failed"


def test_attention_is_made_anew_with_its_picture(
    batch: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    looked = ("--attention", tmp_path / "looked")
    assert again(capsys, batch) == ALL and again(capsys, batch, *looked) == ALL
    assert again(capsys, batch) == NONE and again(capsys, batch, *looked) == NONE
    assert again(capsys, batch, "--strength", 0.5) == ALL
    assert again(capsys, batch, "--strength", 0.5, *looked) == ALL, "the attention pictures are those of another run"


def test_a_torn_or_missing_record_costs_time_only(batch: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    from raiha_core.cli.record import NAME

    record = batch[2] / NAME
    assert again(capsys, batch) == ALL
    record.write_bytes(record.read_bytes()[:-20])  # as a kill leaves it
    assert again(capsys, batch) == "1 harmonised, 2 already done, 0 failed" and again(capsys, batch) == NONE
    record.write_bytes(b"\xff{}\n[1, 2]\nnull\n" + record.read_bytes())
    assert again(capsys, batch) == NONE
    record.unlink()
    assert again(capsys, batch) == ALL


def test_the_record_does_not_grow_without_end(batch: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    from raiha_core.cli.record import NAME

    record = batch[2] / NAME
    assert again(capsys, batch) == ALL
    record.write_bytes(record.read_bytes() * 100)
    assert again(capsys, batch) == NONE and len(record.read_bytes().splitlines()) == 3
