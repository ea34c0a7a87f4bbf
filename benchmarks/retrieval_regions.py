"""Compare ways of making the vectors of regions: what they cost and what they find, on the same photos and queries.

    python benchmarks/retrieval_regions.py --data FOLDER [--photos 800] [--queries 200]

FOLDER holds photos/ and masks.jsonl. All vectors are kept in memory. Ways: a pass of the encoder for each region, and regions
pooled from one look at the whole photo, at several sizes, the latter with more and smaller boxes, too. Queries are objects with
masks (3 to 40 % of their photo), pasted into another photo or in place, mirrored and relit; counted is how often the object's own
photo is among the first five.
Prints one JSON object with the processor time of the encoder for each photo, on one thread.
"""

from __future__ import annotations

import argparse
import json
import operator
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from retrieval_quality import lines, load, paste, relight
from torch import Tensor
from torch.nn import functional as F

from raiha_core.content import ContentEncoder, load_encoder
from raiha_core.content.base import Region
from raiha_core.content.embedded import EmbeddedEncoder, cover, grid
from raiha_core.references.query import make_query
from raiha_core.references.regions import REGIONS, cut


def vectors(way: str, photos: list[Tensor], encoder: EmbeddedEncoder) -> tuple[np.ndarray, float]:
    """Region vectors `(N, R, D)` of photos, and the encoder's milliseconds for each; see `--ways`."""
    kind, _, rest = way.partition(":")
    side, _, extra = rest.partition("+")
    start = time.process_time()
    if kind == "old":
        found = ContentEncoder.encode_regions(encoder, photos, REGIONS)
    elif kind == "index":
        found = encoder.encode_regions(photos, (*REGIONS, *encoder.more_regions))
    elif kind == "passes":
        found = torch.stack([passes(photo, int(side), encoder) for photo in photos])
    else:
        boxes = (*REGIONS, *(grid(round(int(extra) ** 0.5), 0.4) if extra else ()))
        found = torch.cat([pooled(photo, int(side), encoder, boxes) for photo in photos])
    return found.float().numpy(), 1000 * (time.process_time() - start) / len(photos)


def passes(photo: Tensor, side: int, encoder: EmbeddedEncoder) -> Tensor:
    """A pass for each region, each squeezed to a square at once."""
    parts = [F.interpolate(cut(photo, box), (side, side), mode="bilinear", antialias=True, align_corners=False) for box in REGIONS]
    return F.normalize(encoder._rough(_ready(torch.cat(parts), encoder))[0].float(), dim=1)


def pooled(photo: Tensor, side: int, encoder: EmbeddedEncoder, boxes: Sequence[Region]) -> Tensor:
    """Regions as means of the cells that they cover in the dense map of the whole photo, which the global vector is the mean of."""
    square = F.interpolate(photo, (side, side), mode="bilinear", antialias=True, align_corners=False)
    dense = encoder._rough(_ready(square, encoder))[1].float()
    shares = torch.stack([cover(box, dense.shape[-2], dense.shape[-1]) for box in boxes]).to(dense)
    return F.normalize(torch.einsum("bchw,rhw->brc", dense, shares), dim=2)


def _ready(squares: Tensor, encoder: EmbeddedEncoder) -> Tensor:
    return squares.clamp(0, 1).to(next(encoder._rough.parameters())).contiguous(memory_format=torch.channels_last)


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--photos", type=int, default=800)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument(
        "--ways",
        nargs="+",
        default=["old", "index", "passes:160", "look:320", "look:320+16"],
        help="index: as the index does; old: as before; passes:SIDE: a pass for each region; look:SIDE[+N]: pooled, with N more boxes",
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(5)
    masks = [
        m for m in lines(options.data / "masks.jsonl") if m["label"] not in ("region", "sky", "road") and 0.03 <= (m["area"] or 0) <= 0.4
    ]
    by_photo = {m["photo"]: m for m in masks}
    names = [sorted(by_photo)[i] for i in rng.permutation(len(by_photo))[: options.photos]]
    encoder = load_encoder("embedded")
    assert isinstance(encoder, EmbeddedEncoder)
    ways = options.ways
    tables: dict[str, list[np.ndarray]] = {way: [] for way in ways}
    cost: dict[str, list[float]] = {way: [] for way in ways}
    with torch.inference_mode():
        for start in range(0, len(names), 32):
            photos = [load(options.data / name, 576) for name in names[start : start + 32]]
            for way in ways:
                made, spent = vectors(way, photos, encoder)
                tables[way].append(made)
                cost[way].append(spent)
        whole = {way: np.concatenate(found) for way, found in tables.items()}
        hits: dict[str, dict[str, list[bool]]] = {way: {"pasted": [], "in place": []} for way in ways}
        for number in rng.permutation(len(names))[: options.queries].tolist():
            photo = load(options.data / names[number])
            mask = (load(options.data / by_photo[names[number]]["mask"])[:, :1] > 0.5).float()
            mask = mask if mask.shape[-2:] == photo.shape[-2:] else F.interpolate(mask, photo.shape[-2:])
            if not bool(mask.any()):
                continue
            other = int(rng.integers(len(names)))
            composite, area = paste(photo, mask, load(options.data / names[other]), rng)
            for kind, picture in (("pasted", composite), ("in place", relight(photo, rng).flip(-1))):
                query = make_query(picture.clamp(0, 1), area, encoder).content
                for way, table in whole.items():
                    scores = (table @ query).max(1)
                    if kind == "pasted":
                        scores[other] = -1
                    hits[way][kind].append(number in np.argsort(-scores)[:5])
    result: dict[str, Any] = {"photos": len(names), "queries": len(hits[ways[0]]["pasted"])}
    for way in ways:
        found = {kind: round(100 * float(np.mean(values)), 1) for kind, values in hits[way].items()}
        won = {
            f"{kind}, found and lost against {ways[0]}": [
                sum(map(operator.gt, values, hits[ways[0]][kind])),
                sum(map(operator.lt, values, hits[ways[0]][kind])),
            ]
            for kind, values in hits[way].items()
        }
        result[way] = {"encoder_ms": round(float(np.median(cost[way])), 1), **found, **won}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
