from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from raiha_core.cli import main
from raiha_core.cli.demo import DATA, EXAMPLES


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a demo and what it said."""
    import contextlib
    import io

    out = tmp_path_factory.mktemp("demo")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["demo", "--out", str(out), "--json"]) == 0
    return out, json.loads(said.getvalue())


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), np.float32)


@pytest.mark.parametrize("name", ["cup", "astronaut"])
def test_the_object_comes_nearer_to_the_truth(name: str, demo: tuple[Path, dict[str, Any]]) -> None:
    out, _ = demo
    truth, before = pixels(DATA / "gallery" / f"{EXAMPLES[name].made_of[0]}.jpg"), pixels(out / f"{name}_composite.png")
    mask = np.asarray(Image.open(DATA / f"{name}_mask.png"))
    for result in ("result", "result_with_references"):
        after = pixels(out / f"{name}_{result}.png")
        assert np.square(after - truth)[mask > 127].mean() < 0.9 * np.square(before - truth)[mask > 127].mean()
        assert (after == before)[mask == 0].all()


def test_what_was_lit_by_flash_joins_the_dusk(demo: tuple[Path, dict[str, Any]]) -> None:
    out, _ = demo
    inside = np.asarray(Image.open(DATA / "dusk_mask.png")) > 127
    before, *after = (pixels(out / f"dusk_{what}.png")[inside] for what in ("composite", "result", "result_with_references"))
    for result in after:
        assert np.abs(result - before).mean() > 15 and result.mean() < 0.97 * before.mean(), "changed visibly, darker"
        assert result[:, 2].mean() / result.mean() > 1.04 * before[:, 2].mean() / before.mean(), "and bluer"


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_pictures_for_people_are_there(name: str, demo: tuple[Path, dict[str, Any]]) -> None:
    out, _ = demo
    sheet, composite = pixels(out / f"{name}_side_by_side.png"), pixels(out / f"{name}_composite.png")
    assert sheet.shape[1] > 1.9 * 420 * composite.shape[1] / composite.shape[0] and sheet.std() > 20
    assert pixels(out / f"{name}_attention.png").std() > 20


def test_an_examples_own_photo_does_not_help_it(demo: tuple[Path, dict[str, Any]]) -> None:
    rows = {r["name"]: " ".join(r["references"]) for r in demo[1]["examples"]}
    assert list(rows) == list(EXAMPLES)
    for name, example in EXAMPLES.items():
        assert not any(f"{photo}.jpg" in rows[name] for photo in example.made_of)
    assert "grace_hopper.jpg" in rows["astronaut"], "one photo shows a person in a studio"
    assert "grace_hopper_dusk.jpg" in rows["dusk"] and not rows["cup"]


def test_a_second_demo_uses_the_index_of_the_first(demo: tuple[Path, dict[str, Any]]) -> None:
    out, first = demo
    vectors = sorted((p, p.stat().st_mtime_ns) for p in (out / "gallery.index").rglob("*.sqlite"))
    assert main(["demo", "--out", str(out)]) == 0
    assert vectors and vectors == sorted((p, p.stat().st_mtime_ns) for p in (out / "gallery.index").rglob("*.sqlite"))
    assert first["out"] == str(out)


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["demo", "--out", str(tmp_path / "file" / "out")]) == 2
    assert capsys.readouterr().err.startswith("raiha: The folder")
