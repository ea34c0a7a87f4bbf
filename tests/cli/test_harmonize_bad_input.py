"""Whatever is wrong with what `raiha harmonize` is given: one sentence, status 2, and nothing half-written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raiha_core.cli import main

Call = Callable[..., tuple[int, str, str]]
OneLine = Callable[[str], str]


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
def test_bad_input_is_one_sentence(kind: str, scene: tuple[np.ndarray, np.ndarray], tmp_path: Path, call: Call, one_line: OneLine) -> None:
    arguments, word = bad(tmp_path, scene, kind)
    before = sorted(tmp_path.rglob("*"))
    status, text, err = call("harmonize", *arguments)
    assert status == 2 and text == ""
    assert word in one_line(err)
    assert sorted(tmp_path.rglob("*")) == before, "something half-written was left"


def test_resize_mask(scene: tuple[np.ndarray, np.ndarray], tmp_path: Path, call: Call) -> None:
    arguments, _ = bad(tmp_path, scene, "size")
    assert call("harmonize", *arguments, "--resize-mask")[0] == 0


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_full_disk(
    suffix: str, scene_files: tuple[Path, Path], tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, one_line: OneLine
) -> None:
    def full(target: Path, *_: object, **__: object) -> None:
        with target.open("wb") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("raiha_core.image.png.write", full)
    monkeypatch.setattr(Image.Image, "save", lambda self, target, *_, **__: full(target))
    before = sorted(tmp_path.iterdir())
    status, _, err = call("harmonize", *scene_files, "-o", tmp_path / f"o{suffix}")
    assert status == 2 and "disk is full" in one_line(err)
    assert sorted(tmp_path.iterdir()) == before


def test_unexpected_errors_stay_one_line(
    scene_files: tuple[Path, Path], tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, one_line: OneLine
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("raiha_core.harmonizer.Harmonizer.predict", broken)
    arguments = ["harmonize", *scene_files, "-o", tmp_path / "o.png"]
    status, _, err = call(*arguments)
    assert status == 2 and "ZeroDivisionError" in one_line(err) and "--debug" in err
    with pytest.raises(ZeroDivisionError):
        main(["--debug", *map(str, arguments)])
