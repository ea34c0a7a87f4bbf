"""Training's stand-in for retrieval: which photos show similar things."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from raiha_core.content.base import ContentEncoder, ContentFeatures
from raiha_core.training.neighbours import content_neighbours, most_alike


class Counting(ContentEncoder):
    """Says the mean colour of a picture, and how many it was asked for."""

    dim = 3

    def __init__(self, name: str = "counting"):
        self.id, self.weights_hash, self.asked = name, "0", 0

    def encode(self, images: torch.Tensor) -> ContentFeatures:
        self.asked += len(images)
        return ContentFeatures(torch.nn.functional.normalize(images.mean((2, 3)) - 0.5, dim=1), images)


@pytest.fixture
def photos() -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    return np.broadcast_to(rng.integers(0, 255, (9, 1, 1, 3)), (9, 64, 64, 3)).astype(np.uint8)


def unit(*degrees: float) -> torch.Tensor:
    radians = torch.tensor(degrees).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], 1)


def test_the_most_alike_come_first_and_twins_last() -> None:
    #              a   twin of a  near  farther  opposite
    vectors = unit(0.0, 1.0, 30.0, 60.0, 180.0)
    assert most_alike(vectors, 4)[0].tolist() == [2, 3, 1, 4] or most_alike(vectors, 4)[0].tolist() == [2, 3, 4, 1]
    assert most_alike(vectors, 2).tolist()[2] == [1, 0] and most_alike(vectors, 2).shape == (5, 2)


def test_a_photo_is_never_its_own_neighbour() -> None:
    for vectors in (unit(0.0, 0.0, 0.0), unit(0.0, 90.0), torch.nn.functional.normalize(torch.randn(2100, 8), dim=1)):
        rows = most_alike(vectors, 12)
        assert rows.shape == (len(vectors), min(12, len(vectors) - 1))
        assert not (rows == np.arange(len(vectors))[:, None]).any()


def test_they_are_computed_once_for_these_photos(photos: NDArray[np.uint8], tmp_path: Path) -> None:
    encoder, cache = Counting(), tmp_path / "n.npz"
    first = content_neighbours(photos, encoder, cache)
    assert encoder.asked == 9 and (content_neighbours(photos, encoder, cache) == first).all() and encoder.asked == 9
    assert [p.name for p in tmp_path.iterdir()] == ["n.npz"]


def test_other_photos_encoders_or_numbers_make_them_anew(photos: NDArray[np.uint8], tmp_path: Path) -> None:
    encoder, cache = Counting(), tmp_path / "n.npz"
    content_neighbours(photos[:5], encoder, cache)
    assert content_neighbours(photos, encoder, cache).shape == (9, 8)
    asked = encoder.asked
    repainted = photos.copy()
    repainted[4] = 255 - repainted[4]
    content_neighbours(repainted, encoder, cache)
    content_neighbours(repainted, encoder, cache, k=3)
    assert encoder.asked == asked + 18
    other = Counting("other")
    content_neighbours(repainted, other, cache, k=3)
    assert other.asked == 9


@pytest.mark.parametrize("rubbish", [b"", b"PK\x03\x04", b"no archive"])
def test_a_broken_cache_is_made_anew(rubbish: bytes, photos: NDArray[np.uint8], tmp_path: Path) -> None:
    (tmp_path / "n.npz").write_bytes(rubbish)
    assert content_neighbours(photos, Counting(), tmp_path / "n.npz").shape == (9, 8)


def test_a_single_photo_has_none(photos: NDArray[np.uint8], tmp_path: Path) -> None:
    assert content_neighbours(photos[:1], Counting(), tmp_path / "n.npz").shape == (1, 0)
