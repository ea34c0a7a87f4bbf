"""What the README shows is run as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from raiha_core.cli import main

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def desk(scene_files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all the files that the README speaks of."""
    rng = np.random.default_rng(2)
    for folder in ("photos", "composites", "masks"):
        (tmp_path / folder).mkdir()
    for i in range(4):
        Image.fromarray(rng.integers(0, 255, (6, 6, 3), np.uint8)).resize((96, 96)).save(tmp_path / "photos" / f"{i}.png")
    for name in ("photo1.jpg", "photo2.jpg"):
        Image.fromarray(rng.integers(0, 255, (6, 6, 3), np.uint8)).resize((96, 96)).save(tmp_path / name)
    shutil.copy(scene_files[0], tmp_path / "composites" / "a.png")
    Image.open(scene_files[0]).save(tmp_path / "original.tif")
    Image.open(scene_files[0]).resize((64, 48)).save(tmp_path / "relit.png")
    shutil.copy(scene_files[1], tmp_path / "masks" / "a_mask.png")
    for name, file in (("clip.mp4", scene_files[0]), ("masks.mp4", scene_files[1])):
        clip_of(Image.open(file).convert("RGB"), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def clip_of(picture: Image.Image, file: Path) -> None:
    """Two frames of a picture."""
    with av.open(str(file), "w") as container:
        stream: Any = container.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = picture.height // 2 * 2, picture.width // 2 * 2, "yuv420p"
        still = np.asarray(picture)[: stream.height, : stream.width]
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(still), "rgb24")))
        container.mux(stream.encode(None))


def test_the_commands(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for block in blocks("bash") for line in block.splitlines() if line]
    assert len(lines) >= 6
    for line in lines:
        name, *arguments = shlex.split(line)
        assert name == "raiha" and main(arguments) == 0, (line, capsys.readouterr().err)
    for written in ("result.png", "looked.png", "my.index/manifest.json", "results/a.png", "result.tif"):
        assert (desk / written).is_file()


def test_the_python(desk: Path) -> None:
    examples = blocks("python")
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "README.md", "exec"), {})
    assert (desk / "result.png").is_file()
