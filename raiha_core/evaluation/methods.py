"""What is evaluated: models and baselines behind one callable, and where their references come from."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RaihaError
from .datasets import Dataset, Item
from .metrics import Image8

if TYPE_CHECKING:
    from ..harmonizer import Harmonizer
    from ..models import HarmonizationModel
    from ..references import ReferenceIndex

MaskArray = NDArray[np.float32]
Harmonise = Callable[[Image8, MaskArray, Sequence[Any]], NDArray[Any]]
"""`(composite (H, W, 3) uint8, mask (H, W) in [0, 1], references) -> (H, W, 3)`, uint8 or float on the 0..255 scale."""

ReferenceSource = Callable[[Item, Image8, NDArray[np.bool_]], Sequence[Any]]
"""`(item, real, foreground) -> references`, each a path or an array `(h, w, 3)` uint8."""

CROP_SHARE = 196 / 256
SYNTHETIC = ("positive-crop", "misleading")


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Attributes:
        name: how the table calls it.
        run: what it does.
        references: where its references come from; None gives it none.
        untouched: run it on the real photo instead of the composite: the error is the harm that it does.
        model: whether it is a model (worst cases and pictures are shown for models).
    """

    name: str
    run: Harmonise
    references: ReferenceSource | None = None
    untouched: bool = False
    model: bool = False


def model_method(model: str | Path | HarmonizationModel | Harmonizer, device: str | None = None) -> Harmonise:
    """A model, by name, file or loaded, as the callable that `evaluate` wants.

    Raises:
        RaihaError: as `load_model`.
    """
    from ..harmonizer import Harmonizer

    harmonizer = model if isinstance(model, Harmonizer) else Harmonizer(model, device)

    def run(composite: Image8, mask: MaskArray, references: Sequence[Any]) -> NDArray[Any]:
        image: NDArray[Any] = harmonizer.harmonize(composite, mask, references or None).image
        return image

    return run


def item_rng(item: Item, seed: int) -> np.random.Generator:
    """A generator that depends on the item's name and the seed alone, not on order or on how many items there are."""
    return np.random.default_rng([seed, zlib.crc32(item.name.encode())])


def own_references(limit: int | None = None) -> ReferenceSource:
    """The references that the data set has for each item, at most `limit`."""

    def source(item: Item, real: Image8, inside: NDArray[np.bool_]) -> Sequence[Any]:
        return item.references[:limit]

    return source


def positive_crop(real: Image8, inside: NDArray[np.bool_], rng: np.random.Generator, share: float = CROP_SHARE) -> Image8:
    """A random crop of the truth that holds more than half of the foreground, flipped half of the time.

    Args:
        real: `(H, W, 3)`.
        inside: `(H, W)`.
        rng: source of chance.
        share: of each side that the crop keeps.

    Returns:
        `(share * H, share * W, 3)`; the whole picture where five draws found no such crop, as in the paper's implementation.

    Source: Raiha (arXiv 2412.13916), training references: 196 of 256 px.
    """
    height, width = (max(1, round(side * share)) for side in inside.shape)
    crop = real
    for _ in range(5):
        top, left = int(rng.integers(inside.shape[0] - height + 1)), int(rng.integers(inside.shape[1] - width + 1))
        part = slice(top, top + height), slice(left, left + width)
        if 2 * int(inside[part].sum()) > int(inside.sum()):
            crop = real[part]
            break
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)


def retrieved_references(index: ReferenceIndex, k: int) -> ReferenceSource:
    """The `k` references that the product finds for an item's composite in an index; never the composite's own photo."""
    import torch

    from ..image import read_image, read_mask

    def source(item: Item, real: Image8, inside: NDArray[np.bool_]) -> Sequence[Any]:
        mask = torch.from_numpy(read_mask(item.mask))[None, None]
        return [found.path for found in index.retrieve(read_image(item.composite).rgb_tensor(), mask, k=k)]

    return source


def synthetic_references(kind: str, dataset: Dataset, seed: int = 0) -> ReferenceSource:
    """References for data sets that have none.

    Args:
        kind: `positive-crop` (see `positive_crop`: the most fitting reference there can be), or `misleading` (the photo of
            another item of the data set that shows something else where labels tell).
        dataset: for `misleading`: where other photos come from.
        seed: with the same seed every item gets the same reference in every run.

    Raises:
        RaihaError: an unknown kind, or a data set with one photo only.
    """
    if kind not in SYNTHETIC:
        raise RaihaError(f"There are no {kind!r} references; use {' or '.join(SYNTHETIC)}, or a reference list.")
    if kind == "positive-crop":
        return lambda item, real, inside: [positive_crop(real, inside, item_rng(item, seed))]
    photos: dict[Path, set[str | None]] = {}
    for other in dataset:
        photos.setdefault(other.real, set()).add(other.label)
    if len(photos) < 2:
        raise RaihaError("Misleading references are other items' photos, but the data set has only one photo; leave them out.")
    files = list(photos)

    def misleading(item: Item, real: Image8, inside: NDArray[np.bool_]) -> Sequence[Any]:
        order = item_rng(item, seed + 1).permutation(len(files))
        candidates = [files[i] for i in order if files[i] != item.real]
        unlike = (f for f in candidates if item.label is None or item.label not in photos[f])
        return [next(unlike, candidates[0])]

    return misleading
