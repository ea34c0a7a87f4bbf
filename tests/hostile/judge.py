"""What became of a hostile case: a result, or one sentence. Anything else is a fault."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from raiha_core import RaihaError
from raiha_core.cli import main
from raiha_core.harmonizer import Harmonizer
from raiha_core.image import read_image, read_mask, write_image
from raiha_core.models import RaihaS, load_model

from . import others, pictures

KINDS = ("picture", "mask", "checkpoint", "index", "arguments", "command")


class FaultError(AssertionError):
    """A case that ended in neither a result nor a sentence, or in a wrong one."""


def judge(kind: str, seed: int) -> str:
    """Try one case: "result" or "sentence".

    Raises:
        FaultError: a sentence of several lines, code that ran, a result that is none.
        Exception: what should have been a sentence.
    """
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _TRY[kind](seed, Path(name))
        except RaihaError as error:
            text = str(error)
            if "\n" in text or not text.strip() or "unexpected" in text:
                raise FaultError(f"no sentence: {text!r}") from error
            return "sentence"
    return "result"


def _picture(seed: int, folder: Path) -> None:
    suffix, data = pictures.picture(seed)
    path = folder / f"x{suffix}"
    path.write_bytes(data)
    picture = read_image(path)
    if picture.rgb.shape[2] != 3 or not np.isfinite(picture.rgb.min()) or not np.isfinite(picture.rgb.max()):
        raise FaultError("a picture that is none")
    written = write_image(folder / ("y.tif" if picture.rgb.dtype == np.float32 else "y.png"), picture)
    again = read_image(written)
    if picture.premultiplied != again.premultiplied:
        return
    if not np.array_equal(again.rgb, picture.rgb) or (again.icc is None) != (picture.icc is None):
        raise FaultError("what was written is not what was read")


def _mask(seed: int, folder: Path) -> None:
    suffix, data = pictures.picture(seed + 10**6)  # others than those of `picture`
    path = folder / f"m{suffix}"
    path.write_bytes(data)
    mask = read_mask(path)
    if mask.dtype != np.float32 or mask.ndim != 2 or not 0 <= mask.min() <= mask.max() <= 1:
        raise FaultError("a mask that is none")


def _checkpoint(seed: int, folder: Path) -> None:
    path, witness = others.checkpoint(seed, folder)
    try:
        model = load_model(path)
    finally:
        if witness.exists():
            raise FaultError("the checkpoint ran code")
    image = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    mask = np.zeros((40, 50), np.float32)
    mask[10:30, 10:40] = 1
    result = Harmonizer(model).harmonize(image, mask).image
    if not np.array_equal(result[mask == 0], image[mask == 0]):
        raise FaultError("the background changed")


def _index(seed: int, folder: Path) -> None:
    from raiha_core import ReferenceIndex

    copy = others.damage(seed, _sound_index(), folder)
    composite = torch.rand(1, 3, 40, 50, generator=torch.Generator().manual_seed(seed))
    mask = torch.zeros(1, 1, 40, 50)
    mask[..., 10:30, 10:40] = 1
    with ReferenceIndex.open(copy) as index:
        index.retrieve(composite, mask, 2)


@functools.cache
def _sound_index() -> Path:
    from raiha_core import ReferenceIndex

    folder = Path(_room().name)
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((96, 72)).save(folder / "photos" / f"{i}.png")
    ReferenceIndex.build(folder / "photos", folder / "index").close()
    return folder / "index"


@functools.cache
def _room() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


@functools.cache
def _harmonizer() -> Harmonizer:
    return Harmonizer(RaihaS())


def _arguments(seed: int, folder: Path) -> None:
    _harmonizer().harmonize(**others.arguments(seed))


def _command(seed: int, folder: Path) -> None:
    """A command line: an exit status of 0, or one of 2 and one line, which is not the last resort."""
    line = others.command(seed, folder, _sound_index())
    out, err = io.StringIO(), io.StringIO()
    here = os.getcwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(line)
    finally:
        os.chdir(here)
    # Bars of progress end in carriage returns.
    said = [text for text in err.getvalue().splitlines() if text.startswith("raiha: ")]
    if any("raiha --debug" in text for text in said) or "Traceback" in err.getvalue():
        raise FaultError(f"the last resort: {line}: {said}")
    if status == 0:
        return
    if status != 2 or not said:
        raise FaultError(f"exit status {status} without a sentence: {line}")
    raise RaihaError(said[-1].replace("Got unexpected", "Got"))  # the word is click's, of an argument too many


_TRY = {
    "picture": _picture,
    "mask": _mask,
    "checkpoint": _checkpoint,
    "index": _index,
    "arguments": _arguments,
    "command": _command,
}
