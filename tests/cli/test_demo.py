from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raiha_core.cli import main
from raiha_core.cli.demo import DATA


def test_demo_writes_its_pictures_and_helps_the_cup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in report["examples"]] == ["astronaut", "cup"]
    for name in ("astronaut", "cup"):
        for part in ("composite", "result", "result_with_references", "side_by_side", "attention"):
            assert (tmp_path / f"{name}_{part}.png").is_file()
    # The cup's photo before it was re-lit is in the gallery, so here the truth is known.
    truth, before, after = (
        np.asarray(Image.open(p).convert("RGB").resize((300, 200)), np.float32)
        for p in (DATA / "gallery" / "coffee.jpg", tmp_path / "cup_composite.png", tmp_path / "cup_result.png")
    )
    mask = np.asarray(Image.open(DATA / "cup_mask.png").resize((300, 200))) > 127
    assert np.square(after - truth)[mask].mean() < 0.8 * np.square(before - truth)[mask].mean()


def test_an_examples_own_photos_do_not_help_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["demo", "--out", str(tmp_path), "--json"])
    rows = {r["name"]: " ".join(r["references"]) for r in json.loads(capsys.readouterr().out)["examples"]}
    assert "rocket" not in rows["astronaut"] and "astronaut" not in rows["astronaut"] and "coffee" not in rows["cup"]
    assert rows["cup"], "retrieval found nothing"
