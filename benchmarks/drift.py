"""By how much an inpainted picture comes nearer to its original's colours when a VAE's shift is taken back: a table.

python benchmarks/drift.py FOLDER [--limit 100] [--write docs/nodes.md]

FOLDER holds real/, composite/ and mask/ with files of the same names, as validation triplets do. The composite stands for an inpainted
picture; then all of it goes through a simulated VAE: another contrast, black level and white balance, stronger to one side, and a
little blur. That is what the fit can follow; in a second run the tone curve is bent and the saturation changed, too, which it cannot.
What it was before the shift, as sharp as the VAE gives it, is the truth inside the mask; the real photo is it outside.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from raiha_core.drift import undo_drift
from raiha_core.evaluation.datasets import TripletFolder
from raiha_core.image import from_array, read_image, read_mask

Rgb = np.ndarray


def softened(rgb: Rgb) -> Rgb:
    """Float RGB as sharp as a VAE gives it."""
    return np.asarray(Image.fromarray((rgb * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.6)), np.float32) / 255


def shifted(soft: Rgb, draw: np.random.Generator) -> Rgb:
    """What came out of the VAE, with its shift of colour."""
    side = np.linspace(-1, 1, soft.shape[1], dtype=np.float32)[None, :, None]
    gain, lift, lean = draw.uniform(0.88, 1.06, 3), draw.uniform(-0.02, 0.05, 3), draw.uniform(-0.02, 0.02, 3)
    return np.clip(soft * gain + lift + side * lean, 0, 1).astype(np.float32)


def bent(soft: Rgb, draw: np.random.Generator) -> Rgb:
    """With another tone curve and another saturation."""
    curved = soft ** draw.uniform(0.85, 1.18)
    grey = curved.mean(2, keepdims=True)
    saturated: Rgb = np.clip(grey + (curved - grey) * draw.uniform(0.8, 1.15), 0, 1).astype(np.float32)
    return saturated


def matched(rgb: Rgb, original: Rgb, outside: np.ndarray) -> Rgb:
    """What crop-and-stitch nodes offer: mean and deviation of every channel outside the mask made the original's."""
    (mean, deviation), (wanted, spread) = ((x[outside].mean(0), x[outside].std(0) + 1e-6) for x in (rgb, original))
    same: Rgb = np.clip((rgb - mean) / deviation * spread + wanted, 0, 1).astype(np.float32)
    return same


def measure(folder: Path, limit: int) -> dict[str, list[tuple[float, float, float]]]:
    """Mean errors inside the mask, outside, and inside of bent pictures in 8-bit steps, for every way and picture."""
    found: dict[str, list[tuple[float, float, float]]] = {
        "as the VAE gives it": [],
        "mean and deviation matched": [],
        "`original` connected": [],
    }
    for n, item in enumerate(TripletFolder(folder).limited(limit)):
        painted, original = (read_image(p).rgb.astype(np.float32) / 255 for p in (item.composite, item.real))
        mask = read_mask(item.mask)
        outside = mask == 0
        if outside.mean() < 0.1:
            continue
        soft = softened(painted)
        straight = shifted(soft, np.random.default_rng(n))
        came = (straight, shifted(bent(soft, np.random.default_rng(1000 + n)), np.random.default_rng(n)))
        truth = np.where(outside[..., None], original, soft)
        ways = [(c, matched(c, original, outside), undo_drift(from_array(c), from_array(original), mask).rgb) for c in came]
        for key, result, harder in zip(found, *ways, strict=True):
            error, more = (np.abs(r - truth).mean(2) * 255 for r in (result, harder))
            found[key].append((float(error[mask > 0.5].mean()), float(error[outside].mean()), float(more[mask > 0.5].mean())))
    return found


def main() -> None:
    """Measure and print; put the table between its marks in a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=100, help="so many, spread evenly")
    parser.add_argument("--write", type=Path, help="page with <!-- drift --> marks")
    arguments = parser.parse_args()
    found = measure(arguments.folder, arguments.limit)
    lines = ["| way | error inside the mask | error outside | inside, tone and saturation bent too |", "| --- | --- | --- | --- |"]
    lines += [f"| {name} | " + " | ".join(f"{mean:.2f}" for mean in np.mean(values, 0)) + " |" for name, values in found.items()]
    text = f"{len(found['as the VAE gives it'])} pictures, mean error in 8-bit steps:\n\n" + "\n".join(lines)
    print(text)
    if arguments.write:
        new, count = re.subn(r"(?s)(<!-- drift -->\n).*?(\n<!-- /drift -->)", lambda m: m[1] + text + m[2], arguments.write.read_text())
        assert count == 1, f"{arguments.write} has no marks for the table"
        arguments.write.write_text(new)


if __name__ == "__main__":
    main()
