"""What the photos of a pack have in common: whose objects look alike, and whose light. Training's stand-in for an index.

Content is compared as the product compares it: the vector of an object, cut out with a little context, against whole photos and
their regions. Regions are pooled from one dense map of the whole photo, which costs a sixth of encoding each.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ..atomic import replacing
from ..content.base import ContentEncoder, ContentFeatures
from ..illumination import DESCRIPTOR_ID, describe
from ..references.query import foreground_box, foreground_vector
from ..references.regions import REGIONS
from .pack import Pack

ALIKE = 32
"""Photos kept per object, best first."""
LIT = 48
"""Photos kept per photo, nearest light first."""
_TWIN = 0.98  # cosine of two photos that are one
_SEEN = 192  # side of the crops that are encoded


@dataclass(frozen=True)
class Kin:
    """Relations within a pack of N photos and M masks.

    Attributes:
        alike: `(M, K)` int64, photos that show what the object shows, best first, never its own or a twin of it.
        content: `(M, K)` float32, their content scores (cosine, at least 0).
        lit: `(N, L)` int64, photos whose light is nearest, nearest first.
        light: `(N, D)` float32, illumination descriptors.
        rare: `(N,)` float32, how far the light of a photo is from that of its nearest 30: 0 common, about 1 rare.
    """

    alike: NDArray[np.int64]
    content: NDArray[np.float32]
    lit: NDArray[np.int64]
    light: NDArray[np.float32]
    rare: NDArray[np.float32]

    def references(self, mask: int, scene: int, count: int, weight: float = 0.5) -> NDArray[np.int64]:
        """The `count` best photos for an object in a scene, as the product ranks them.

        Args:
            mask: row of the object.
            scene: row of the photo that gives the background; it and photos of the object itself are left out.
            count: how many.
            weight: share of light in the score.
        """
        rows = self.alike[mask]
        light = np.exp(-np.square(self.light[rows] - self.light[scene]).sum(1))
        score = (1 - weight) * self.content[mask] + weight * light
        score[rows == scene] = -1
        best: NDArray[np.int64] = rows[np.argsort(-score, kind="stable")[:count]]
        return best


def open_kin(pack: Pack, encoder: ContentEncoder, cache: Path) -> Kin:
    """Relations of a pack, computed once and kept in the file `cache`; another pack, encoder or descriptor computes them anew."""
    parts = [pack.digest, encoder.id, encoder.weights_hash, DESCRIPTOR_ID, ALIKE, LIT]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    if cache.is_file():
        with np.load(cache, allow_pickle=False) as kept:
            if str(kept["key"]) == key:
                return Kin(*(kept[name] for name in ("alike", "content", "lit", "light", "rare")))
    photos, light = _look_at_photos(pack, encoder)
    alike, content = _match(_look_at_objects(pack, encoder), photos, pack.mask_photo)
    lit, rare = _compare_light(light)
    kin = Kin(alike, content, lit, light.numpy(), rare)
    with replacing(cache) as part:
        np.savez(part, key=np.array(key), alike=alike, content=content, lit=lit, light=kin.light, rare=rare)
    return kin


def _tensor(pictures: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 255


def _look_at_photos(pack: Pack, encoder: ContentEncoder) -> tuple[Tensor, Tensor]:
    """Unit vectors of whole photos and their regions `(N, R, D)`, and illumination descriptors `(N, E)`."""
    vectors, lights = [], []
    for i in tqdm(range(0, len(pack.photos), 32), desc="photos seen"):
        batch = _tensor(pack.photos[i : i + 32])
        features = encoder.encode(batch)
        dense = features.dense.float()
        side = dense.shape[-1]
        rows = [features.vector.float()]
        for x0, y0, x1, y1 in REGIONS[1:]:
            part = dense[:, :, round(y0 * side) : max(round(y1 * side), 1), round(x0 * side) : max(round(x1 * side), 1)]
            rows.append(F.normalize(part.mean((2, 3)), dim=1))
        vectors.append(torch.stack(rows, 1).cpu())
        lights.append(describe(batch).cpu())
    return torch.cat(vectors), torch.cat(lights)


def _look_at_objects(pack: Pack, encoder: ContentEncoder) -> Tensor:
    """Unit vectors of all masked objects, `(M, D)`; an empty mask has the vector 0."""
    out = torch.zeros(len(pack.masks), encoder.dim)
    for start in tqdm(range(0, len(pack.masks), 16), desc="objects seen"):
        crops, masks, rows = [], [], []
        for i in range(start, min(start + 16, len(pack.masks))):
            mask = torch.from_numpy(np.array(pack.masks[i])).float()[None, None] / 255
            if float(mask.max()) < 0.5:
                continue
            y0, y1, x0, x1 = foreground_box(mask)
            photo = _tensor(pack.photos[pack.mask_photo[i]][None])[..., y0:y1, x0:x1]
            crops.append(F.interpolate(photo, (_SEEN, _SEEN), mode="bilinear", antialias=True, align_corners=False))
            masks.append(mask[..., y0:y1, x0:x1])
            rows.append(i)
        if rows:
            seen = encoder.encode(torch.cat(crops))
            for at, (row, mask) in enumerate(zip(rows, masks, strict=True)):
                out[row] = foreground_vector(ContentFeatures(seen.vector[at : at + 1], seen.dense[at : at + 1]), mask).cpu()
    return out


def _match(objects: Tensor, photos: Tensor, owner: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    ids, scores = [], []
    k = min(ALIKE, len(photos))
    for start in range(0, len(objects), 512):
        rows = objects[start : start + 512]
        score = torch.stack([rows @ photos[:, r].T for r in range(photos.shape[1])]).amax(0)
        mine = photos[torch.from_numpy(owner[start : start + 512]), 0]
        score[mine @ photos[:, 0].T > _TWIN] = -1  # its own photo, and others of the same view: the answer, not a reference
        best = score.topk(k, 1)
        ids.append(best.indices)
        scores.append(best.values.clamp_min(0))
    if not ids:
        return np.zeros((0, k), np.int64), np.zeros((0, k), np.float32)
    return torch.cat(ids).numpy(), torch.cat(scores).numpy()


def _compare_light(light: Tensor) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    ids, rare = [], []
    square = light.square().sum(1)
    k = min(LIT, max(len(light) - 1, 1))  # a photo that is alone is its own neighbour
    for start in range(0, len(light), 1024):
        rows = light[start : start + 1024]
        distance = square[None] + square[start : start + 1024, None] - 2 * rows @ light.T
        distance[torch.arange(len(rows)), torch.arange(start, start + len(rows))] = torch.inf
        near = distance.topk(k, 1, largest=False)
        ids.append(near.indices)
        rare.append(near.values[:, :30].clamp_min(0).nan_to_num(posinf=0.0).mean(1))
    return torch.cat(ids).numpy(), torch.cat(rare).numpy()
