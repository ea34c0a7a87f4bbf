"""Contact sheets: composite, mask outline, results and truth side by side, with their errors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ..errors import RaihaError
from .datasets import Item
from .methods import Method
from .report import Report
from .runner import Loaded, Resolution, load_item, run_method

_GAP, _HEAD, _CAPTION = 6, 30, 22
_OUTLINE = (255, 0, 200)


def comparison_sheet(
    items: Sequence[Item],
    methods: Sequence[Method],
    reports: Sequence[Report],
    resolution: Resolution = 256,
    *,
    title: str = "",
    tile: int = 256,
    columns: int = 1,
) -> Image.Image:
    """Draw a row per item: composite, mask outline, every method's result (a reference set in its corner), real photo.

    Args:
        items: what to show; methods run on them again, so that evaluation need not keep pictures.
        methods: whose results to show.
        reports: theirs, in the same order: the captions' errors.
        resolution: as it was evaluated.
        title: the sheet's first line.
        tile: longest side of a panel, in pixels.
        columns: how many items beside each other.

    Raises:
        RaihaError: no items.
    """
    if not items:
        raise RaihaError("There are no pictures to draw a contact sheet of.")
    heads = ["composite", "mask", *(m.name for m in methods), "real"]
    width = len(heads) * (tile + _GAP) + _GAP
    height, lines = tile + _CAPTION + _GAP, -(-len(items) // columns)
    sheet = Image.new("RGB", (width * columns, 2 * _HEAD + lines * height), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 6), title, "black", ImageFont.load_default(18))
    for column in range(columns):
        for i, head in enumerate(heads):
            place = (column * width + _GAP + i * (tile + _GAP), _HEAD)
            draw.text(place, _fitted(draw, head, tile, 16), "black", ImageFont.load_default(16))
    errors = [{row.name: row.metrics.get("fmse") for row in report.rows} for report in reports]
    for number, item in enumerate(items):
        left, top = number // lines * width + _GAP, 2 * _HEAD + number % lines * height
        for i, (panel, caption) in enumerate(_panels(item, methods, errors, resolution, tile)):
            x = left + i * (tile + _GAP)
            sheet.paste(panel, (x + (tile - panel.width) // 2, top + (tile - panel.height) // 2))
            draw.text((x + 2, top + tile + 2), _fitted(draw, caption, tile - 4, 14), "black", ImageFont.load_default(14))
    return sheet


def _panels(
    item: Item, methods: Sequence[Method], errors: Sequence[dict[str, float | None]], resolution: Resolution, tile: int
) -> list[tuple[Image.Image, str]]:
    loaded = load_item(item, resolution)
    name = item.name.rsplit("/", 1)[-1]
    before = ((loaded.composite[loaded.inside].astype(np.float64) - loaded.real[loaded.inside]) ** 2).mean()
    panels = [(_small(loaded.composite, tile), f"fMSE {before:.0f}"), (_outlined(loaded, tile), f"{name} {loaded.inside.mean():.1%}")]
    for method, error in zip(methods, errors, strict=True):
        value = error.get(item.name)
        if value is None:
            panels.append((Image.new("RGB", (tile, tile), "lightgrey"), "failed"))
            continue
        result, references, _ = run_method(method, item, loaded)
        panel = _small(result, tile)
        if references:
            _inset(panel, references[0], loaded, tile // 3)
        panels.append((panel, f"fMSE {value:.0f}" + ("" if value <= before else " (worse)")))
    return [*panels, (_small(loaded.real, tile), "real")]


def _small(picture: Any, tile: int) -> Image.Image:
    image = Image.fromarray(picture)
    image.thumbnail((tile, tile), Image.Resampling.LANCZOS)
    return image


def _outlined(loaded: Loaded, tile: int) -> Image.Image:
    panel = _small(loaded.composite, tile)
    mask = Image.fromarray(loaded.inside.astype(np.uint8) * 255).resize(panel.size, Image.Resampling.BILINEAR)
    inside = mask.point(lambda v: 255 if v > 127 else 0)
    # A frame of background, so that an object at the border is outlined there too.
    framed = Image.new("L", (panel.width + 4, panel.height + 4))
    framed.paste(inside, (2, 2))
    core = framed.filter(ImageFilter.MinFilter(5)).crop((2, 2, panel.width + 2, panel.height + 2))
    edge = np.asarray(inside) > np.asarray(core)
    pixels = np.array(panel)
    pixels[edge] = _OUTLINE
    return Image.fromarray(pixels)


def _inset(panel: Image.Image, reference: Any, loaded: Loaded, side: int) -> None:
    """Set the reference into the corner where it hides least of the foreground."""
    from ..image import read_image

    if isinstance(reference, str | os.PathLike):
        reference = np.asarray(read_image(reference).pil().convert("RGB"))
    small = _small(reference, side)
    mask = np.asarray(Image.fromarray(loaded.inside).resize(panel.size))
    right, bottom = panel.width - small.width - 2, panel.height - small.height - 2
    corners = [(x, y) for y in (bottom, 2) for x in (right, 2)]
    x, y = min(corners, key=lambda at: int(mask[at[1] : at[1] + small.height, at[0] : at[0] + small.width].sum()))
    panel.paste("white", (x - 2, y - 2, x + small.width + 2, y + small.height + 2))
    panel.paste(small, (x, y))


def _fitted(draw: ImageDraw.ImageDraw, text: str, width: int, size: int) -> str:
    """The text, shortened from the left until it fits."""
    font = ImageFont.load_default(size)
    short = text
    while len(short) > 1 and draw.textlength(short, font=font) > width:
        short = f"…{short[2:]}"
    return short
