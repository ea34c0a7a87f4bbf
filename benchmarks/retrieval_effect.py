"""Judge retrieval by what it does to the picture: the change of error, by rank, scores, weight and number of references.

    python benchmarks/retrieval_effect.py VAL --index DIR [--count 60] [--model NAME|FILE]

VAL is a triplet folder whose photos are not in the gallery of the index DIR. Two sets are made of it: *in place* are its
composites as they are, *pasted* are its objects elsewhere in their own photo, recoloured (as in pasted.py). Each composite is
harmonised without references, with single ones of each rank, with the first few together, and with photos of other
kinds that a gallery may hold. Reported is the error (fMSE, 0..255) in percent of that without references, summed over the
composites; below 100 helps. In brackets of the scores: how often a single reference helped, too. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

import raiha_core as raiha
from raiha_core.evaluation import TripletFolder
from raiha_core.image import read_image, read_mask
from raiha_core.references import ReferenceIndex
from raiha_core.training.augment import Looks, Recipe, compose
from raiha_core.training.losses import foreground_mse
from raiha_core.training.sources import move

SIDE = 256
WEIGHTS = (0.0, 0.35, 0.7, 1.0)
RANKS = 8
NUMBERS = (1, 2, 4, 8)
BRACKETS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.01)


def squares(folder: Path, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Composites, real pictures `(N, 3, SIDE, SIDE)` and masks `(N, 1, SIDE, SIDE)`, an even choice of the set."""
    rows = list(TripletFolder(folder))
    rows = [rows[i] for i in np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]
    parts: list[list[Tensor]] = [[], [], []]
    for row in rows:
        found = read_image(row.composite).rgb_tensor(), read_image(row.real).rgb_tensor(), torch.from_numpy(read_mask(row.mask))[None, None]
        for x, out in zip(found, parts, strict=True):
            out.append(torch.nn.functional.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False).clamp(0, 1))
    composites, real, masks = (torch.cat(part) for part in parts)
    return composites, real, masks


def pasted(pictures: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Objects elsewhere in their own photos: composites, truth, masks."""
    g = torch.Generator().manual_seed(4)
    real, mask = move(pictures, masks, SIDE, g)
    nothing = Looks(torch.zeros(0, 3, 2, 2, 2), torch.zeros(0, 24, 3))
    recipe = Recipe(shares={"transfer": 0.5, "edit": 0.5}, regrade=0, capture=0)
    none = torch.zeros(len(real), dtype=torch.bool)
    donors, donor_masks = (x.roll(1, 0)[..., ::2, ::2] for x in (pictures, masks))
    changed, truth = compose(real, mask, donors, donor_masks, real, none, nothing, recipe, g)
    return changed, truth, mask


def odd_photos() -> dict[str, np.ndarray]:
    """Photos of other kinds that lie in galleries: none of them shows a thing in a light."""
    rng = np.random.default_rng(0)
    text = Image.new("RGB", (480, 640), "white")
    draw = ImageDraw.Draw(text)
    for line in range(30):
        draw.text((30, 20 + 20 * line), "The quick brown fox jumps over the lazy dog, and again and again."[: 40 + line % 20], fill="black")
    screen = Image.new("RGB", (640, 400), (245, 245, 248))
    draw = ImageDraw.Draw(screen)
    draw.rectangle((0, 0, 640, 40), fill=(32, 90, 200))
    for row in range(5):
        draw.rectangle((20, 60 + 65 * row, 620, 115 + 65 * row), fill="white", outline=(210, 210, 220))
        draw.text((40, 75 + 65 * row), "Settings  Account  Notifications", fill=(30, 30, 40))
    y, x = np.mgrid[0:200, 0:300]
    return {
        "grey": np.repeat((60 + x * 0.4 + 30 * np.sin(y / 9))[..., None], 3, 2).astype(np.uint8),
        "tiny": rng.integers(0, 255, (3, 4, 3), np.uint8),
        "noise": rng.integers(0, 255, (200, 300, 3), np.uint8),
        "plain": np.full((200, 300, 3), (200, 60, 40), np.uint8),
        "text": np.asarray(text),
        "screenshot": np.asarray(screen),
    }


class Effect:
    """Errors with references beside those without, by any name."""

    def __init__(self) -> None:
        self.pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def add(self, name: str, without: float, with_them: float) -> None:
        """One composite."""
        self.pairs[name].append((without, with_them))

    def report(self) -> dict[str, Any]:
        """Summed error in percent of that without, its standard error by the bootstrap, and how often it was smaller."""
        result = {}
        rng = np.random.default_rng(0)
        for name, pairs in sorted(self.pairs.items()):
            a, b = np.array(pairs).T
            chosen = rng.integers(len(a), size=(400, len(a)))
            drawn = b[chosen].sum(1) / a[chosen].sum(1)
            result[name] = {
                "percent": round(100 * b.sum() / a.sum(), 1), "standard_error": round(100 * float(drawn.std()), 1),
                "helped": round(float((b < a).mean()), 2), "composites": len(a),
            }  # fmt: skip
        return result


def bracket(score: float) -> str:
    """The bracket of a score, for the tables."""
    i = int(np.searchsorted(BRACKETS, score, side="right")) - 1
    return f"{BRACKETS[i]:.1f} to {min(1.0, BRACKETS[i + 1]):.1f}"


def measure(harmonizer: raiha.Harmonizer, index: ReferenceIndex, composites: Tensor, real: Tensor, masks: Tensor) -> dict[str, Any]:
    """All of one set."""
    effect = Effect()
    odd = odd_photos()
    rng = np.random.default_rng(1)
    for composite, truth, mask in zip(composites, real, masks, strict=True):

        def error(references: Sequence[Any], c: Tensor = composite, t: Tensor = truth, m: Tensor = mask) -> float:
            result = harmonizer.harmonize(c[None], m[None], references).image.clamp(0, 1)
            return float(foreground_mse(result * m, t[None] * m, m[None])) * 255**2

        without = error([])
        for weight in WEIGHTS:
            found = index.retrieve(composite[None], mask[None], RANKS, weight=weight, deduplicate=True)
            loaded = [r.load() for r in found]
            for number in NUMBERS:
                effect.add(f"weight {weight}: first {number}", without, error(loaded[:number]))
            if weight not in (0.0, 0.35):
                continue
            for rank, (reference, picture) in enumerate(zip(found, loaded, strict=True), 1):
                with_it = error([picture])
                effect.add(f"weight {weight}: rank {rank}", without, with_it)
                effect.add(f"content {bracket(reference.content)}", without, with_it)
                effect.add(f"light {bracket(reference.illumination)}", without, with_it)
        for name, photo in odd.items():
            effect.add(f"other kind: {name}", without, error([photo]))
            effect.add(f"other kind: {name} beside the first 3", without, error([*loaded[:3], photo]))
        other = index.retrieve(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(int(rng.integers(2**31)))), _middle(), 1)
        effect.add("a photo found for noise", without, error([other[0].load()]))
    return effect.report()


def _middle() -> Tensor:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    return mask


def main() -> None:
    """Measure both sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("val", type=Path)
    parser.add_argument("--index", required=True)
    parser.add_argument("--model", default="raiha-s")
    parser.add_argument("--count", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    composites, real, masks = squares(options.val, options.count)
    harmonizer = raiha.Harmonizer(options.model)
    with ReferenceIndex.open(options.index) as index, torch.inference_mode():
        report = {
            "model": options.model,
            "photos": len(index),
            "in place": measure(harmonizer, index, composites, real, masks),
            "pasted": measure(harmonizer, index, *pasted(real, masks)),
        }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
