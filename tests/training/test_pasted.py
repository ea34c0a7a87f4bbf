"""Pasted objects with a known truth, made for evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raiha_core.evaluation import TripletFolder
from raiha_core.training.pasted import KINDS, write_pasted


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path), np.float32)


@pytest.fixture(scope="module")
def pasted(triplet_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TripletFolder:
    return write_pasted(TripletFolder(triplet_folder), tmp_path_factory.mktemp("pasted"), 64)


def test_there_is_one_of_each_kind_per_photo(pasted: TripletFolder) -> None:
    assert set(pasted.groups) == set(KINDS)
    assert len(pasted) >= 10, "four photos, three kinds; one may be cropped away"
    assert all(Image.open(item.composite).size == (64, 64) for item in pasted)


def test_only_the_object_is_changed_and_what_fits_is_not(pasted: TripletFolder) -> None:
    changes: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for item in pasted:
        composite, real, mask = read(item.composite), read(item.real), read(item.mask) / 255
        assert np.abs(composite - real)[mask == 0].max() <= 1
        changes[item.group].append(float(np.square(composite - real)[mask > 0.5].mean()))
    assert max(changes["fitting"]) < 1
    assert min(np.mean(changes["own photo"]), np.mean(changes["other photo"])) > 30


def test_the_same_photos_make_the_same_pictures(pasted: TripletFolder, triplet_folder: Path, tmp_path: Path) -> None:
    again = write_pasted(TripletFolder(triplet_folder), tmp_path, 64)
    assert [item.name for item in again] == [item.name for item in pasted]
    for a, b in zip(again, pasted, strict=True):
        assert np.array_equal(read(a.composite), read(b.composite)) and np.array_equal(read(a.mask), read(b.mask))
