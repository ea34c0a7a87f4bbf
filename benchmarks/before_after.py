"""A page of composites before and after, to be looked at: numbers that improve while pictures look worse are a bug.

python benchmarks/before_after.py FOLDER -o page.png [--model raiha-s] [--index DIR] [--strength 1.5] [--limit 24] [--columns 2]

FOLDER holds composite/ and mask/ with files of the same names. Each is shown as given and harmonised alone; with --index also with four
references retrieved from there, with --strength also at that strength, and where FOLDER holds real/, the truth.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from raiha_core.cli.pairing import pictures
from raiha_core.harmonizer import Harmonizer
from raiha_core.image import read_image, read_mask
from raiha_core.references import ReferenceIndex

GAP, CAPTION = 6, 18


def by_stem(folder: Path) -> dict[str, Path]:
    """The pictures of a folder by their names without suffix."""
    return {p.stem: p for p in pictures(str(folder))[0]}


def panels(
    composite: Path, mask: Path, real: Path | None, harmonizer: Harmonizer, index: ReferenceIndex | None, strength: float | None
) -> dict[str, Image.Image]:
    """Pictures by what they show, in their order."""
    picture, given = read_image(composite), read_mask(mask)
    shown = {"given": picture.pil(), "alone": harmonizer.harmonize(picture, given).image.pil()}
    if index is not None:
        found = index.retrieve(picture.rgb_tensor(), torch.from_numpy(given)[None, None], k=4)
        shown["with references"] = harmonizer.harmonize(picture, given, found).image.pil()
    if strength is not None:
        shown[f"x {strength:g}"] = harmonizer.harmonize(picture, given, strength=strength).image.pil()
    if real is not None:
        shown["real"] = Image.open(real)
    return {name: image.convert("RGB") for name, image in shown.items()}


def main() -> None:
    """Draw the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="raiha-s")
    parser.add_argument("--index", type=Path)
    parser.add_argument("--strength", type=float)
    parser.add_argument("--limit", type=int, default=24, help="so many, spread evenly")
    parser.add_argument("--columns", type=int, default=2)
    parser.add_argument("--tile", type=int, default=240)
    arguments = parser.parse_args()
    composites, masks = (by_stem(arguments.folder / part) for part in ("composite", "mask"))
    reals = by_stem(arguments.folder / "real") if (arguments.folder / "real").is_dir() else {}
    names = sorted(composites.keys() & masks)
    chosen = [names[i] for i in np.linspace(0, len(names) - 1, min(arguments.limit, len(names))).round().astype(int)]
    harmonizer, tile = Harmonizer(arguments.model), arguments.tile
    with contextlib.ExitStack() as opened:
        index = opened.enter_context(ReferenceIndex.open(arguments.index)) if arguments.index else None
        rows = [panels(composites[n], masks[n], reals.get(n), harmonizer, index, arguments.strength) for n in chosen]
    for row in rows:
        for image in row.values():
            image.thumbnail((tile, tile), Image.Resampling.LANCZOS)
    width, height = max(map(len, rows)) * (tile + 2) + GAP, tile + CAPTION + GAP
    lines = -(-len(rows) // arguments.columns)
    page = Image.new("RGB", (width * arguments.columns, height * lines), "white")
    draw = ImageDraw.Draw(page)
    for number, (name, row) in enumerate(zip(chosen, rows, strict=True)):
        left, top = number % arguments.columns * width, number // arguments.columns * height
        for i, image in enumerate(row.values()):
            page.paste(image, (left + i * (tile + 2), top))
        draw.text((left, top + tile + 1), f"{name}: {', '.join(row)}", "black", ImageFont.load_default(13))
    page.save(arguments.output)


if __name__ == "__main__":
    main()
