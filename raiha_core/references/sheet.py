"""A contact sheet: the composite and what was retrieved for it, with scores, as one picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .reference import Reference, load_picture
from .regions import limit_side

_CELL = 288
_TEXT = 62
_GAP = 12
_COLUMNS = 5
_PAPER, _INK, _FAINT, _MARK = (24, 24, 27), (235, 235, 240), (150, 150, 160), (255, 176, 32)


def contact_sheet(composite: Tensor, mask: Tensor, references: Sequence[Reference]) -> Image.Image:
    """Draw the composite, its foreground outlined, and the references with scores and the regions that matched.

    Args:
        composite: `(1, 3, H, W)` sRGB in [0, 1].
        mask: `(1, 1, H, W)` in [0, 1].
        references: what was retrieved, best first.

    Returns:
        An RGB picture, five cells wide at most.

    Raises:
        RaihaError: a reference's file has vanished or can no longer be read.
    """
    cells = [_query_cell(composite, mask)] + [_reference_cell(i, r) for i, r in enumerate(references, 1)]
    columns = min(_COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    width, height = _CELL + _GAP, _CELL + _TEXT + _GAP
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), _PAPER)
    for i, cell in enumerate(cells):
        sheet.paste(cell, (_GAP + i % columns * width, _GAP + i // columns * height))
    return sheet


def _query_cell(composite: Tensor, mask: Tensor) -> Image.Image:
    small = limit_side(composite.detach().cpu().float().clamp(0, 1), _CELL)
    pixels = (small[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    inside = torch.nn.functional.interpolate(mask.detach().cpu().float(), small.shape[-2:], mode="area") > 0.5
    grown = torch.nn.functional.max_pool2d(inside.float(), 5, 1, 2) > 0
    outline = (grown & ~inside)[0, 0].numpy()
    pixels = pixels.copy()
    pixels[outline] = _MARK
    return _cell(Image.fromarray(pixels), "composite", "foreground outlined", "", None)


def _reference_cell(number: int, reference: Reference) -> Image.Image:
    title = f"{number}  {reference.path.name}" + ("  (pinned)" if reference.pinned else "")
    scores = f"content {reference.content:.2f}   light {reference.illumination:.2f}"
    return _cell(load_picture(reference.path, _CELL), title, scores, f"score {reference.score:.2f}   id {reference.id}", reference)


def _cell(picture: Image.Image, title: str, scores: str, more: str, reference: Reference | None) -> Image.Image:
    cell = Image.new("RGB", (_CELL, _CELL + _TEXT), _PAPER)
    left, top = (_CELL - picture.width) // 2, (_CELL - picture.height) // 2
    cell.paste(picture, (left, top))
    draw = ImageDraw.Draw(cell)
    if reference is not None and reference.region != (0.0, 0.0, 1.0, 1.0):
        x0, y0, x1, y1 = reference.region
        box = (left + x0 * picture.width, top + y0 * picture.height, left + x1 * picture.width - 1, top + y1 * picture.height - 1)
        draw.rectangle(box, outline=_MARK, width=2)
    for line, (text, size, colour) in enumerate(((title, 15, _INK), (scores, 15, _INK), (more, 13, _FAINT))):
        font = ImageFont.load_default(size)
        draw.text((4, _CELL + 3 + 19 * line), _fit(draw, text, font), font=font, fill=colour)
    return cell


def _fit(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """Shorten a text in the middle until it fits a cell."""
    if draw.textlength(text, font) <= _CELL - 8:
        return text
    keep = len(text)
    while keep > 4 and draw.textlength(text[: keep // 2] + "…" + text[-(keep // 2) :], font) > _CELL - 8:
        keep -= 1
    return text[: keep // 2] + "…" + text[-(keep // 2) :]
