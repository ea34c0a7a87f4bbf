from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from raiha_core.errors import RaihaError
from raiha_core.evaluation import TripletFolder
from raiha_core.training.augment import Recipe
from raiha_core.training.config import SourceConfig
from raiha_core.training.mixture import open_edit_bank, open_source
from raiha_core.training.sources import RETRIEVED, ReferenceMix, assemble
from raiha_core.training.triplets import TripletSource

FOUND = ReferenceMix((0.0, 1.0), found=1.0, crop=(196 / 256, 196 / 256))


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
    config = SourceConfig("triplets", str(listed), references=str(listed / "refs.jsonl"))
    source = open_source(config, tmp_path, Recipe(), FOUND)
    assert isinstance(source, TripletSource) and len(source.rows) == len(TripletFolder(listed))
    first = np.asarray(Image.open(listed / "real" / "n0.png").resize((256, 256), Image.Resampling.BOX)).transpose(2, 0, 1)
    seen = set()
    for seed in range(6):
        raw = source.draw(8, np.random.default_rng(seed))
        for real, reference, kind in zip(raw.real.numpy(), raw.references[:, 0].numpy(), raw.reference_kind[:, 0], strict=True):
            own = np.array_equal(real, first)
            colours = {tuple(c) for c in reference.reshape(3, -1).T[::997].tolist()}
            assert own == (len(colours) == 1)
            assert own == (kind == RETRIEVED)
            seen |= colours if own else set()
    assert seen == {(255, 0, 0), (0, 255, 0)}


def test_without_a_retrieved_photo_a_positive_crop_serves(listed: Path, tmp_path: Path) -> None:
    config = SourceConfig("triplets", str(listed), references=str(listed / "refs.jsonl"), whole=True)
    raw = open_source(config, tmp_path, Recipe(), FOUND).draw(8, np.random.default_rng(0))
    batch = assemble(raw, 64, open_edit_bank(()), Recipe(), FOUND, torch.Generator().manual_seed(0))
    retrieved = raw.reference_kind[:, 0] == RETRIEVED
    assert batch.references is not None and 0 < retrieved.sum() < 8
    for reference, has, real, whole in zip(batch.references[:, 0], retrieved, batch.real, raw.real, strict=True):
        flat = float(reference.std(dim=(1, 2)).max())
        assert (flat < 1e-6) == bool(has)
        if not has:  # one colour range with its truth
            torch.testing.assert_close(reference.mean((1, 2)), real.mean((1, 2)), atol=0.2, rtol=0)
        small = torch.nn.functional.interpolate(whole[None].float() / 255, 64, mode="bilinear")[0]
        torch.testing.assert_close(
            torch.minimum((real - small).abs().mean(), (real.flip(2) - small).abs().mean()), torch.tensor(0.0), atol=0.03, rtol=0
        )


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
        open_source(SourceConfig("triplets", str(listed), references=str(listed / "wrong.jsonl")), tmp_path, Recipe(), FOUND)


def test_rotated_photos_are_read_as_they_are_shown(triplet_folder: Path, tmp_path: Path) -> None:
    """A phone's picture lies on its side in the file and says so in its EXIF; its mask is drawn on what is shown."""
    upright, turned = tmp_path / "upright", tmp_path / "turned"
    for root in (upright, turned):
        for part in ("composite", "mask", "real"):
            (root / part).mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show the file's picture turned by 90 degrees clockwise
    for part in ("composite", "real"):
        shown = Image.open(triplet_folder / part / "n0.png")
        shown.save(upright / part / "a.png")
        shown.transpose(Image.Transpose.ROTATE_90).save(turned / part / "a.png", exif=exif)
    for root in (upright, turned):
        shutil.copy(triplet_folder / "mask" / "n0.png", root / "mask" / "a.png")
    a, b = (TripletSource(tuple(TripletFolder(root)), size=64).draw(1, np.random.default_rng(0)) for root in (upright, turned))
    assert a.composite is not None and b.composite is not None
    assert torch.equal(a.real, b.real) and torch.equal(a.composite, b.composite) and torch.equal(a.mask, b.mask)
