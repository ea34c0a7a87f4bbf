"""Pasted objects with a known truth: objects of a validation set stand elsewhere in their own photo, recoloured or left as they are.

    python benchmarks/pasted.py VAL [--model NAME|FILE ...] [--sheet OUT.png]

VAL is a triplet folder. Its real pictures and masks are used, not its composites: each object is pasted into another part of its
photo (same light, but the colours on both sides of the edge say nothing), and its colours are changed by a transfer from the next
picture's object or an edit. Prints fMSE, mean and median, as JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import raiha_core as raiha
from raiha_core.evaluation import TripletFolder
from raiha_core.image import read_image, read_mask
from raiha_core.training.augment import Looks, Recipe, compose
from raiha_core.training.layout import move
from raiha_core.training.losses import foreground_mse

SIDE = 256


def load(folder: Path) -> tuple[Tensor, Tensor]:
    """Real pictures `(N, 3, SIDE, SIDE)` and masks `(N, 1, SIDE, SIDE)`."""
    pictures: list[Tensor] = []
    masks: list[Tensor] = []
    for row in TripletFolder(folder):
        picture, mask = read_image(row.real).rgb_tensor(), torch.from_numpy(read_mask(row.mask))[None, None]
        for x, out in ((picture, pictures), (mask, masks)):
            out.append(torch.nn.functional.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False))
    return torch.cat(pictures).clamp(0, 1), torch.cat(masks).clamp(0, 1)


def error(result: Tensor, real: Tensor, mask: Tensor) -> dict[str, int]:
    """Mean and median fMSE."""
    values = foreground_mse(result * mask, real * mask, mask) * 255**2
    return {"mean": round(values.mean().item()), "median": round(values.median().item())}


def main() -> None:
    """Measure the models given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("val", type=Path)
    parser.add_argument("--model", nargs="+", default=["raiha-s"])
    parser.add_argument("--sheet", type=Path, help="draw composite, result and truth of the first 24")
    options = parser.parse_args()
    pictures, masks = load(options.val)
    g = torch.Generator().manual_seed(4)
    real, mask = move(pictures, masks, SIDE, g)
    nothing = Looks(torch.zeros(0, 3, 2, 2, 2), torch.zeros(0, 24, 3))
    recipe = Recipe(shares={"transfer": 0.5, "edit": 0.5}, regrade=0, capture=0)
    none = torch.zeros(len(real), dtype=torch.bool)
    donors, donor_masks = (x.roll(1, 0)[..., ::2, ::2] for x in (pictures, masks))
    changed, real = compose(real, mask, donors, donor_masks, real, none, nothing, recipe, g)
    report: dict[str, Any] = {"pictures": len(real), "composite": error(changed, real, mask)}
    for model in options.model:
        harmonizer = raiha.Harmonizer(model)
        results = {}
        for name, source in (("changed", changed), ("left", real)):
            results[name] = torch.cat([harmonizer.harmonize(c[None], m[None]).image.clamp(0, 1) for c, m in zip(source, mask, strict=True)])
        report[model] = {name: error(result, real, mask) for name, result in results.items()}
        if options.sheet:
            rows = torch.cat([torch.cat([x[:24] for x in (changed, results["changed"], real)], 3)[i::3] for i in range(3)], 3)
            strip = rows.permute(0, 2, 3, 1).flatten(0, 1)
            Image.fromarray((strip * 255).round().to(torch.uint8).numpy().astype(np.uint8)).save(options.sheet)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    with torch.inference_mode():
        main()
