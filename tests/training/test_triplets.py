from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raiha_core.errors import RaihaError
from raiha_core.evaluation import TripletFolder
from raiha_core.training.config import SourceConfig
from raiha_core.training.mixture import open_source
from raiha_core.training.triplets import TripletSource


@pytest.fixture
def listed(triplet_folder: Path, tmp_path: Path) -> Path:
    """The triplets with two retrieved photos, one red and one green, for the first of them."""
    root = tmp_path / "data"
    shutil.copytree(triplet_folder, root)
    for name, colour in (("red", (255, 0, 0)), ("green", (0, 255, 0))):
        Image.new("RGB", (90, 40), colour).save(root / f"{name}.png")
    entry = {"input": "composite/n0.png", "mask": "mask/n0.png", "refs": ["red.png", "green.png"]}
    (root / "refs.jsonl").write_text(json.dumps(entry))
    return root


def test_retrieved_references_come_from_the_papers_list(listed: Path, tmp_path: Path) -> None:
    source = open_source(SourceConfig("triplets", str(listed), references=str(listed / "refs.jsonl")), tmp_path)
    assert isinstance(source, TripletSource) and len(source.rows) == len(TripletFolder(listed))
    first = np.asarray(Image.open(listed / "real" / "n0.png").resize((256, 256), Image.Resampling.BOX)).transpose(2, 0, 1)
    seen = set()
    for seed in range(6):
        raw = source.draw(8, np.random.default_rng(seed))
        for real, retrieved in zip(raw.real.numpy(), raw.retrieved.numpy(), strict=True):
            own = np.array_equal(real, first)
            colours = {tuple(c) for c in retrieved.reshape(3, -1).T[::997].tolist()}
            assert own == (len(colours) == 1)
            seen |= colours if own else set()
    assert seen == {(255, 0, 0), (0, 255, 0)}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"input": "composite/n0.png", "mask": "mask/n0.png", "refs": ["red.png", "gone.png"]}', "gone.png"),
        ('{"input": "composite/nowhere.png", "mask": "mask/n0.png", "refs": []}', "names no composite"),
        ('{"input": "composite/n0.png"}', "expected"),
        ("not JSON", "no JSON"),
    ],
)
def test_a_wrong_list_is_one_sentence(listed: Path, text: str, word: str, tmp_path: Path) -> None:
    (listed / "wrong.jsonl").write_text(text)
    with pytest.raises(RaihaError, match=word):
        open_source(SourceConfig("triplets", str(listed), references=str(listed / "wrong.jsonl")), tmp_path)
