"""Pasted objects with a known truth, made from the photos and masks of a triplet folder: what users' composites are like.

Three kinds: `own photo` (elsewhere in its own photo, then recoloured), `other photo` (in another photo whose light is like its own,
under a look that both share, out of which the object is then taken), and `fitting` (pasted either way, and left alone).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..evaluation import Dataset, Item, TripletFolder, load_item
from ..illumination import describe
from .augment import EditBank, Recipe, compose
from .layout import move, paste

KINDS = ("own photo", "other photo", "fitting")
_TAKEN_OUT = {"plain": 0.4, "transfer": 0.25, "edit": 0.15, "stretch": 0.1, "neutral": 0.1}
_RECIPES = {
    "own photo": Recipe(shares={"transfer": 0.5, "edit": 0.5}, regrade=0, capture=0),
    "other photo": Recipe(shares=_TAKEN_OUT, regrade=1, mood=0.5, ramp=0, capture=0),
    "fitting": Recipe(shares={"none": 1.0}, regrade=0.5, mood=0.5, ramp=0, capture=0),
}


def write_pasted(dataset: Dataset, folder: Path, size: int = 256, seed: int = 4, limit: int | None = None) -> TripletFolder:
    """Write a triplet folder of pasted objects, one of each kind per item, and open it.

    Args:
        dataset: whose real photos and masks are used; its composites are not.
        folder: where the pictures go.
        size: side of the square pictures, divisible by 32.
        seed: with the same seed and data set the same pictures.
        limit: use at most this many items.

    Raises:
        RaihaError: as `load_item`.
    """
    items = dataset.limited(limit)
    loaded = [load_item(item, size) for item in items]
    photos = torch.stack([torch.from_numpy(x.real.copy()).permute(2, 0, 1) for x in loaded]).float() / 255
    masks = torch.stack([torch.from_numpy(x.mask)[None] for x in loaded])
    scenes = _lit_alike(photos, masks, items)
    for part in ("composite", "mask", "real"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    index = []
    for number, kind in enumerate(KINDS):
        generator = torch.Generator().manual_seed(seed + number)
        rows = torch.arange(len(items))
        # Of those that fit, every second stands in another photo.
        elsewhere = {"own photo": rows < 0, "other photo": rows >= 0, "fitting": rows % 2 == 1}[kind]
        for batch in rows.split(16):
            picture, cut = move(photos[batch], masks[batch], size, generator)
            pasted = paste(photos[batch], masks[batch], photos[scenes[batch]], size, generator)
            other = elsewhere[batch][:, None, None, None]
            picture, cut = (torch.where(other, p, m) for p, m in zip(pasted, (picture, cut), strict=True))
            donor = (batch + 1) % len(items)
            made = compose(
                picture,
                cut,
                photos[donor][..., ::2, ::2],
                masks[donor][..., ::2, ::2],
                picture[:0],
                torch.zeros(len(batch), dtype=torch.bool),
                EditBank(torch.zeros(0, 3, 2, 2, 2), torch.zeros(0, 24, 3)),
                _RECIPES[kind],
                generator,
            )
            for row, composite, real, mask in zip(batch.tolist(), made.composite, made.real, cut, strict=True):
                if float((mask > 0.5).float().sum()) < 64:
                    continue  # cropped away
                name = f"{items[row].name.replace('/', '_')}__{kind.replace(' ', '_')}"
                _save(folder / "composite" / f"{name}.png", composite)
                _save(folder / "real" / f"{name}.png", real)
                _save(folder / "mask" / f"{name}.png", mask)
                index.append({"name": name, "kind": kind, "label": items[row].label})
    (folder / "index.jsonl").write_text("".join(json.dumps(row) + "\n" for row in index))
    return TripletFolder(folder)


def _save(path: Path, picture: Tensor) -> None:
    array = (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(path)


def _lit_alike(photos: Tensor, masks: Tensor, items: tuple[Item, ...]) -> Tensor:
    """For each photo the row of another one whose light is nearest, `(N,)`; never the same file or the same picture."""
    light = torch.cat([describe(p, m) for p, m in zip(photos.split(16), masks.split(16), strict=True)])
    distance = torch.cdist(light, light)
    small = F.adaptive_avg_pool2d(photos, 8).flatten(1)
    same = torch.cdist(small, small) < 0.5
    files = np.array([str(item.real) for item in items])
    same |= torch.from_numpy(files[:, None] == files[None])
    return distance.masked_fill(same, torch.inf).argmin(1)
