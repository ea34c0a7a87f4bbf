"""A page of composites before and after, to be looked at: numbers that improve while pictures look worse are a bug.

python benchmarks/before_after.py FOLDER -o page.png [--model raiha-s] [--limit 24] [--columns 4]

FOLDER holds composite/ and mask/ with files of the same names; where it holds real/ too, that is shown as a third picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from raiha_core.cli.pairing import pictures
from raiha_core.harmonizer import Harmonizer
from raiha_core.image import read_image, read_mask

GAP, CAPTION = 6, 18


def by_stem(folder: Path) -> dict[str, Path]:
    """The pictures of a folder by their names without suffix."""
    return {p.stem: p for p in pictures(str(folder))}


def panels(composite: Path, mask: Path, real: Path | None, harmonizer: Harmonizer, tile: int) -> list[Image.Image]:
    """Composite, result and, if there is one, the real photo, each at most `tile` pixels wide and high."""
    picture = read_image(composite)
    result = harmonizer.harmonize(picture, read_mask(mask)).image
    shown = [picture.pil(), result.pil()] + ([Image.open(real)] if real else [])
    small = [image.convert("RGB") for image in shown]
    for image in small:
        image.thumbnail((tile, tile), Image.Resampling.LANCZOS)
    return small


def main() -> None:
    """Draw the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="raiha-s")
    parser.add_argument("--limit", type=int, default=24, help="so many, spread evenly")
    parser.add_argument("--columns", type=int, default=3)
    parser.add_argument("--tile", type=int, default=240)
    arguments = parser.parse_args()
    composites, masks = (by_stem(arguments.folder / part) for part in ("composite", "mask"))
    reals = by_stem(arguments.folder / "real") if (arguments.folder / "real").is_dir() else {}
    names = sorted(composites.keys() & masks)
    chosen = [names[i] for i in np.linspace(0, len(names) - 1, min(arguments.limit, len(names))).round().astype(int)]
    harmonizer, tile = Harmonizer(arguments.model), arguments.tile
    rows = [panels(composites[n], masks[n], reals.get(n), harmonizer, tile) for n in chosen]
    width, height = max(map(len, rows)) * (tile + 2) + GAP, tile + CAPTION + GAP
    lines = -(-len(rows) // arguments.columns)
    page = Image.new("RGB", (width * arguments.columns, height * lines), "white")
    draw = ImageDraw.Draw(page)
    for number, (name, row) in enumerate(zip(chosen, rows, strict=True)):
        left, top = number % arguments.columns * width, number // arguments.columns * height
        for i, image in enumerate(row):
            page.paste(image, (left + i * (tile + 2), top))
        draw.text(
            (left, top + tile + 1), f"{name}: before, after" + (", real" if len(row) > 2 else ""), "black", ImageFont.load_default(13)
        )
    page.save(arguments.output)


if __name__ == "__main__":
    main()
