"""`raiha harmonize` of clips in files."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from raiha_core.cli import clips as command
from raiha_core.cli import main
from raiha_core.harmonizer import Harmonizer

_spec = importlib.util.spec_from_file_location("clips_for_tests", Path(__file__).parent.parent / "video" / "clips.py")
assert _spec is not None and _spec.loader is not None
small: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small)

FRAMES = 20


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("clip")
    clip = small.write(folder / "clip.mp4", small.scene(FRAMES), sound="aac")
    return clip, small.write(folder / "masks.mp4", small.masks(FRAMES))


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main(["harmonize", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def outside(i: int, shape: tuple[int, ...]) -> np.ndarray:
    """Samples of a plane that belong to no pixel of the box; a mask's edge in a clip may be a pixel off."""
    inside = np.zeros((small.HEIGHT, small.WIDTH), bool)
    rows, columns = small.place(i)
    inside[rows.start - 4 : rows.stop + 4, columns.start - 4 : columns.stop + 4] = True
    step = small.HEIGHT // shape[0]
    return ~inside.reshape(shape[0], step, shape[1], step).any((1, 3))


def test_only_the_object_changes_and_the_sound_stays(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.mp4"
    status, text, err = call(capsys, *files, "-o", out, "--quality", 0, "--json")
    row = json.loads(text)
    assert (status, err, row["frames"], row["changed"]) == (0, "", FRAMES, True)
    before, after = small.planes(files[0]), small.planes(out)
    assert len(before) == len(after) == FRAMES
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        for a, b in zip(old, new, strict=True):
            assert np.array_equal(a[outside(i, a.shape)], b[outside(i, a.shape)]), "encoded without loss, the background is the source's"
        assert np.abs(old[0].astype(int) - new[0])[small.place(i)].mean() > 2
    assert small.times(out) == pytest.approx(small.times(files[0]), abs=1e-4)
    assert small.sound(out) == small.sound(files[0])
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("mode", ["smooth", "each"])
def test_a_stopped_clip_goes_on(
    mode: str, files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "SEGMENT", 6)
    options = ["--video-mode", mode, "--quality", 0]
    whole, out = tmp_path / "whole.mkv", tmp_path / "out.mkv"
    assert call(capsys, *files, "-o", whole, *options)[0] == 0
    apply, calls = Harmonizer.apply, []

    def stops(self: Harmonizer, *more: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return apply(self, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Harmonizer, "apply", stops)
        status, _, err = call(capsys, *files, "-o", out, *options)
    assert status == 2 and "goes on from there" in err and not out.exists()
    predict, seen = Harmonizer.predict_shown, []
    with monkeypatch.context() as patch:
        patch.setattr(Harmonizer, "predict_shown", lambda self, shown, *a, **k: seen.extend(shown) or predict(self, shown, *a, **k))
        status, text, _ = call(capsys, *files, "-o", out, *options, "--json")
    assert status == 0 and json.loads(text)["resumed_at"] == 6
    assert len(seen) == (0 if mode == "smooth" else FRAMES), "what was predicted is kept, or read again by whole batches"
    for one, other in zip(small.planes(whole), small.planes(out), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    # Matroska begins at 0, with the sound's lead-in; what is between the frames stays.
    assert np.diff(small.times(out)) == pytest.approx(np.diff(small.times(files[0])), abs=2e-3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.mkv", "whole.mkv"]


def test_other_options_begin_anew(files: tuple[Path, Path], tmp_path: Path) -> None:
    from raiha_core.video.work import WorkFolder

    for made_of, left in (("a", False), ("a", True), ("b", False)):
        work = WorkFolder(tmp_path / "out.mp4", made_of)
        assert bool(work.segments()) == left
        work.segment(0, -5).touch()
        work.segment(2, 5).touch()
        assert [s.start for s in work.segments()] == [-5], "behind a gap nothing counts"
        work.close()


def test_masks_of_pictures(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    for i, mask in enumerate(small.masks(FRAMES)):
        Image.fromarray(mask[::2, ::2]).save(folder / f"{i:03d}.png")
    out = tmp_path / "out.mov"
    status, text, err = call(capsys, files[0], folder, "-o", out, "--resize-mask", "-r", folder / "000.png")
    assert status == 0 and "20 frames, H.264, constant rate factor 17" in text, err
    one = tmp_path / "one.png"
    Image.fromarray(small.masks(1)[0]).save(one)
    assert call(capsys, files[0], one, "-o", out, "--video-mode", "anchor", "--anchor", 3, "--strength", 0)[0] == 0


def test_mistakes_are_one_sentence(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, masks = files
    out, text = tmp_path / "out.mp4", tmp_path / "text.mp4"
    text.write_text("no clip at all, whatever its name says")
    few = small.write(tmp_path / "few.mp4", small.masks(FRAMES - 3))
    large = small.write(tmp_path / "large.mp4", [np.kron(m, np.ones((2, 2, 1), np.uint8)) for m in small.masks(FRAMES)])
    black = small.write(tmp_path / "black.mp4", [m * 0 for m in small.masks(FRAMES)])
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(masks.read_bytes()[: masks.stat().st_size // 3])
    picture = tmp_path / "p.png"
    Image.fromarray(small.scene(1)[0]).save(picture)
    for arguments, says in (
        ((clip, few, "-o", out), "There are 17 masks for 20 frames"),
        ((clip, large, "-o", out), "The masks are 256 x 192 but the clip is 128 x 96"),
        ((clip, black, "-o", out), "mask is empty"),
        ((clip, "-o", out), "A clip needs masks"),
        ((clip, tmp_path / "none.mp4", "-o", out), "none.mp4 does not exist"),
        ((tmp_path / "none.mp4", masks, "-o", out), "none.mp4 does not exist"),
        ((text, masks, "-o", out), "text.mp4 cannot be read as a clip"),
        ((clip, cut, "-o", out), "cut.mp4 cannot be read as a clip"),
        ((clip, masks, "-o", tmp_path / "out.png"), "no suffix of clips"),
        ((clip, masks, "-o", tmp_path / "out.webm"), "no suffix of clips"),
        ((clip, masks, "-o", tmp_path), "is a folder"),
        ((clip, masks, "-o", tmp_path / "no" / "out.mp4"), "does not exist; create it"),
        ((clip, masks, "-o", clip), "would be overwritten"),
        ((clip, masks, "-o", out, "--attention", picture), "--attention is for pictures"),
        ((clip, masks, "-o", out, "--page", 2), "--page is for pictures"),
        ((picture, picture, "-o", tmp_path / "o.png", "--quality", 20), "--quality is for clips"),
        ((clip, masks, "-o", out, "--quality", 60), "60"),
        ((clip, masks, "-o", out, "--video-mode", "anchor", "--anchor", 99), "no frame 99 to hold"),
        ((clip, masks, "-o", out, "--video-mode", "smooth", "--smoothing", 0), "smoothing is 0.0 frames"),
        ((tmp_path, masks.parent, "-o", out), "is a clip, but the composites are pictures"),
    ):
        status, printed, err = call(capsys, *arguments)
        lines = [line for line in err.splitlines() if line.strip()]
        assert status == 2 and printed == "" and len(lines) == 1 and says in err, err
        assert not out.exists()


def test_without_pyav(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    status, _, err = call(capsys, *files, "-o", tmp_path / "out.mp4")
    assert status == 2 and 'pip install "raiha[video]"' in err


def test_sound_that_does_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = small.write(tmp_path / "clip.mkv", small.scene(3), sound="wavpack")
    status, _, err = call(capsys, clip, clip, "-o", tmp_path / "out.mov")
    assert status == 2 and "cannot hold the sound of clip.mkv (wavpack)" in err
