"""Batches, in which reading, harmonising and writing overlap: what comes out is what single calls give, in order."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raiha_core import RaihaError
from raiha_core.cli import batch, main
from raiha_core.cli.harmonize import read_inputs
from raiha_core.image import write_image


@pytest.fixture
def folders(scene: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> tuple[Path, Path, Path]:
    """Six composites of different brightness, the third of which is no picture; their masks; and where results go."""
    composites, masks, out = (tmp_path / name for name in ("composites", "masks", "out"))
    for folder in (composites, masks):
        folder.mkdir()
    for i in range(6):
        Image.fromarray((scene[0] * (1 - 0.1 * i)).astype(np.uint8)).save(composites / f"{i}.png")
        Image.fromarray(scene[1]).save(masks / f"{i}.png")
    (composites / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return composites, masks, out


@pytest.mark.parametrize("most", [batch._MOST, 0])
def test_the_results_are_those_of_single_calls(folders, tmp_path, capsys, monkeypatch, most):
    composites, masks, out = folders
    monkeypatch.setattr(batch, "_MOST", most)  # 0: every picture counts as large
    assert main(["harmonize", str(composites), str(masks), "-o", str(out), "--json"]) == 2
    said = json.loads(capsys.readouterr().out)
    assert [Path(row["output"]).name for row in said["results"]] == [f"{i}.png" for i in (0, 1, 3, 4, 5)]
    assert [Path(row["composite"]).name for row in said["failures"]] == ["2.png"]
    assert all(row["seconds"] > 0 for row in said["results"])
    single = tmp_path / "single.png"
    assert main(["harmonize", str(composites / "4.png"), str(masks / "4.png"), "-o", str(single)]) == 0
    assert single.read_bytes() == (out / "4.png").read_bytes()
    capsys.readouterr()
    assert main(["harmonize", str(composites), str(masks), "-o", str(out), "--json"]) == 2
    again = json.loads(capsys.readouterr().out)
    assert again["skipped"] == 5 and not again["results"]


def test_the_next_is_read_while_the_last_is_written(folders, monkeypatch):
    composites, masks, out = folders
    read = threading.Event()

    def reading(job, options):
        if job.composite.name == "3.png":
            read.set()
        return read_inputs(job, options)

    def writing(path, picture):
        assert read.wait(60), "the fourth was not read before the first was written"
        return write_image(path, picture)

    monkeypatch.setattr("raiha_core.cli.batch.read_inputs", reading)
    monkeypatch.setattr("raiha_core.image.write_image", writing)
    assert main(["harmonize", str(composites), str(masks), "-o", str(out)]) == 2
    assert len(list(out.glob("*.png"))) == 5


def test_a_result_that_cannot_be_written_is_a_failure_and_not_done(folders, capsys, monkeypatch):
    composites, masks, out = folders

    def writing(path, picture):
        if path.name == "1.png":
            raise RaihaError("the disk is full")
        return write_image(path, picture)

    monkeypatch.setattr("raiha_core.image.write_image", writing)
    assert main(["harmonize", str(composites), str(masks), "-o", str(out), "--json"]) == 2
    said = json.loads(capsys.readouterr().out)
    assert {Path(f["composite"]).name: f["error"] for f in said["failures"]}["1.png"] == "the disk is full"
    monkeypatch.undo()
    assert main(["harmonize", str(composites), str(masks), "-o", str(out), "--json"]) == 2
    assert [Path(row["output"]).name for row in json.loads(capsys.readouterr().out)["results"]] == ["1.png"]
