"""Attention as pictures: where the foreground looked, in the composite and in every reference."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch.nn import functional as F

from .errors import RaihaError
from .image import Box, Picture, fit_mask, to_8_bit
from .image.colour import lab_to_srgb, srgb_to_lab
from .inputs import ImageLike, ReferenceLike, as_mask, as_picture, reference_picture
from .models import Attention

Panel = NDArray[np.float32]
"""`(H, W, 3)` in [0, 1]."""

_PAPER, _INK, _GAP = (250, 250, 248), (24, 24, 28), 16
_TOP_SHARE = 0.995
# The scale reaches at least to twice an even spread, so that an even spread does not look like a find.
_LEAST_TOP = 2.0
# Of the heat over the picture; more hides what was looked at.
_OPACITY = 0.72


@dataclass(frozen=True)
class HeatMap:
    """Attention of all queries, or of one, ready to be drawn.

    Attributes:
        times: `(P, h, w)`, how many times an even spread each place got; 0 where nothing could be looked at.
        shares: P numbers that sum to 1: how much of the attention went to each panel.
        top: the value at the upper end of the colour scale.
        query: (row, column) of the single token it belongs to, or None.
    """

    times: NDArray[np.float32]
    shares: tuple[float, ...]
    top: float
    query: tuple[int, int] | None = None


def heat_map(attention: Attention, token: tuple[int, int] | None = None) -> HeatMap:
    """Sum the attention over the queries, or take that of the foreground token nearest to `token` = (row, column).

    The colour scale ends where all but the strongest 0.5 % of the places lie below, so that a single one does not darken the rest.
    """
    height, width = attention.grid
    query = None
    if token is None:
        weights = attention.summed() / max(1, len(attention.queries))
    else:
        weights = attention.of(*token)
        rows, columns = attention.queries // width, attention.queries % width
        nearest = int(attention.queries[((rows - token[0]) ** 2 + (columns - token[1]) ** 2).argmin()])
        query = (nearest // width, nearest % width)
    weights = weights.detach().float().cpu()
    keys = attention.panels * height * width - len(attention.queries)
    times = (weights * keys).numpy()
    visible = np.sort(times[times > 0]) if (times > 0).any() else np.ones(1, np.float32)
    top = float(visible[min(len(visible) - 1, math.ceil(_TOP_SHARE * len(visible)))])
    shares = weights.sum((1, 2))
    return HeatMap(times, tuple((shares / shares.sum().clamp_min(1e-12)).tolist()), max(top, _LEAST_TOP), query)


@functools.cache
def colour_scale() -> NDArray[np.float32]:
    """256 colours `(256, 3)` from dark violet over red to light yellow, evenly spaced in CIE Lab and rising in lightness."""
    t = torch.linspace(0, 1, 2048)
    hue = torch.deg2rad(300 + 157 * t)
    chroma = 14 + 58 * torch.sin(math.pi * t.clamp(0.02, 0.88)) ** 0.8
    lab = torch.stack([8 + 84 * t, chroma * hue.cos(), chroma * hue.sin()])[None, :, None]
    rgb = lab_to_srgb(lab).clamp(0, 1)
    # Clipping to what a screen shows bends the path, so it is measured and divided evenly afterwards.
    path = srgb_to_lab(rgb)[0, :, 0].T
    length = torch.cat([torch.zeros(1), (path[1:] - path[:-1]).norm(dim=1).cumsum(0)])
    at = torch.searchsorted(length, torch.linspace(0, float(length[-1]), 256)).clamp_max(len(t) - 1)
    return np.asarray(rgb[0, :, 0].T[at].numpy(), np.float32)


def attention_panels(
    attention: Attention,
    composite: ImageLike,
    mask: ImageLike,
    references: Sequence[ReferenceLike] = (),
    *,
    box: Box | None = None,
    query: tuple[float, float] | None = None,
    side: int = 512,
) -> list[Panel]:
    """Draw where the foreground looked, one picture per panel and nothing around them.

    Args:
        attention: as a model or `harmonize` gives it.
        composite: the composite; what the model saw of it is shown, its outline drawn.
        mask: its mask.
        references: the references in the order in which the model got them, in any size.
        box: the part of the composite that the model saw (`PlacedTransform.box`); None means all of it.
        query: one point (x, y) in [0, 1] of the composite, whose attention is shown instead of the sum over the foreground.
        side: long side of every panel in pixels, at least 64.

    Returns:
        `[composite panel, reference panels...]`, float32; the composite keeps its shape, references stand on a
        `(side, side, 3)` square, so that they can be stacked.

    Raises:
        RaihaError: references, mask or point do not fit.
    """
    _, first, rest = _draw(attention, composite, mask, references, box, query, side)
    return [_float(first), *(_float(_on_square(panel, side)) for panel in rest)]


def render_attention(
    attention: Attention,
    composite: ImageLike,
    mask: ImageLike,
    references: Sequence[ReferenceLike] = (),
    *,
    box: Box | None = None,
    query: tuple[float, float] | None = None,
    labels: Sequence[str] = (),
    side: int = 512,
) -> Image.Image:
    """Draw where the foreground looked as one picture with captions and a colour scale.

    Args:
        attention, composite, mask, references, box, query, side: as for `attention_panels`; `side` is the composite panel's.
        labels: captions of the references, for example their file names.

    Returns:
        an RGB picture of about 2 x `side` by `side` pixels (one `side` less without references).

    Raises:
        RaihaError: references, mask or point do not fit.
    """
    heat, first, rest = _draw(attention, composite, mask, references, box, query, side)
    large, little = max(13, side // 28), max(11, side // 36)
    font, small = ImageFont.load_default(large), ImageFont.load_default(little)
    caption = round(large * 1.7)
    looked = "one point" if heat.query is not None else "the foreground"
    columns = 1 if len(rest) == 1 else 2 if len(rest) <= 4 else 3 if len(rest) <= 9 else 4
    small_side = (side - (columns - 1) * _GAP // 2) // columns
    thumbs = [_fit(panel, small_side, small_side) for panel in rest]
    lines = [max(t.height for t in thumbs[i : i + columns]) + caption + _GAP // 2 for i in range(0, len(thumbs), columns)]
    body = max(first.height + caption, sum(lines))
    legend = round(3.2 * caption)
    width = first.width + 2 * _GAP + (small_side * columns + _GAP // 2 * (columns - 1) + _GAP if rest else 0)
    sheet = Image.new("RGB", (max(width, side + 2 * _GAP), body + legend + 2 * _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    sheet.paste(first, (_GAP, _GAP))
    _text(draw, (_GAP, _GAP + first.height + 4), f"composite, where {looked} looked: {heat.shares[0]:.0%}", font, first.width)
    for i, thumb in enumerate(thumbs):
        x = first.width + 2 * _GAP + i % columns * (small_side + _GAP // 2)
        y = _GAP + sum(lines[: i // columns])
        name = labels[i] if i < len(labels) else f"reference {i + 1}"
        sheet.paste(thumb, (x, y))
        _text(draw, (x, y + thumb.height + 4), f"{heat.shares[i + 1]:.0%}  {name}", small, small_side)
    _legend(sheet, draw, heat, (_GAP, body + 2 * _GAP), font, small)
    return sheet


def _draw(
    attention: Attention,
    composite: ImageLike,
    mask: ImageLike,
    references: Sequence[ReferenceLike],
    box: Box | None,
    query: tuple[float, float] | None,
    side: int,
) -> tuple[HeatMap, Image.Image, list[Image.Image]]:
    """The heat map and the bare panels."""
    if len(references) != attention.panels - 1:
        raise RaihaError(
            f"The attention looked at {attention.panels - 1} references, but {len(references)} were given; give those that were used."
        )
    if side < 64:
        raise RaihaError(f"Attention panels of {side} pixels cannot be read; make them at least 64.")
    picture = as_picture(composite, "The composite")
    area = fit_mask(as_mask(mask), picture.size)
    box = box or Box(0, 0, *picture.size)
    heat = heat_map(attention, None if query is None else _token(query, box, picture.size, attention.grid))
    part = slice(box.top, box.bottom), slice(box.left, box.right)
    base = _shown(picture.with_rgb(picture.rgb[part]), side)
    inside = Image.fromarray((area[part] * 255).round().astype(np.uint8)).resize(base.size, Image.Resampling.BOX)
    first = _overlay(base, heat.times[0] / heat.top, np.asarray(inside, np.float32) / np.float32(255))
    _outline(first, np.asarray(inside) >= 128)
    if heat.query is not None:
        _mark(first, heat.query, attention.grid)
    bases = [_shown(reference_picture(r), side) for r in references]
    return heat, first, [_overlay(b, t / heat.top) for b, t in zip(bases, heat.times[1:], strict=True)]


def _token(query: tuple[float, float], box: Box, size: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    """The token of a point given in fractions of the whole composite; points outside the box take its border."""
    if not all(0 <= v <= 1 for v in query):
        raise RaihaError(f"The query point {query} lies outside the composite; give x and y from 0 to 1.")
    row = (query[1] * size[0] - box.top) / box.height * grid[0]
    column = (query[0] * size[1] - box.left) / box.width * grid[1]
    return min(max(int(row), 0), grid[0] - 1), min(max(int(column), 0), grid[1] - 1)


def _shown(picture: Picture, side: int) -> Image.Image:
    """A picture of any depth and space in 8-bit sRGB, its long side `side`, enlarged if need be; slivers become 8 pixels thick."""
    height, width = picture.size
    step = max(1, max(height, width) // (4 * side))  # large photos are thinned before they are converted
    thin = picture.with_rgb(picture.rgb[::step, ::step])
    rgb = thin.rgb if thin.space is None else np.ascontiguousarray(thin.rgb_tensor()[0].permute(1, 2, 0).numpy())
    image = Image.fromarray(to_8_bit(np.ascontiguousarray(rgb), thin.white if thin.space is None else None))
    scale = side / max(height, width)
    return image.resize((max(8, round(width * scale)), max(8, round(height * scale))), Image.Resampling.LANCZOS)


def _overlay(base: Image.Image, heat: NDArray[np.float32], keep: NDArray[np.float32] | None = None) -> Image.Image:
    """Heat over a dimmed, grey picture; where `keep` is 1 the picture stays as it is."""
    original = np.asarray(base, np.float32) / 255
    size = (base.height, base.width)
    smooth = F.interpolate(torch.from_numpy(np.ascontiguousarray(heat))[None, None], size=size, mode="bilinear", align_corners=False)
    value = smooth[0, 0].clamp(0, 1).numpy()
    dimmed = original @ np.array([0.2126, 0.7152, 0.0722], np.float32) * 0.55 + 0.08
    colour = colour_scale()[(value * 255).round().astype(np.int64)]
    opacity = (_OPACITY * np.sqrt(value))[..., None]
    mixed = dimmed[..., None] * (1 - opacity) + colour * opacity
    if keep is not None:
        mixed += keep[..., None] * (original - mixed)
    return Image.fromarray((mixed.clip(0, 1) * 255).round().astype(np.uint8))


def _outline(panel: Image.Image, inside: NDArray[np.bool_]) -> None:
    """Draw the border of a region into a panel: a white line between two dark ones reads on any ground."""
    if not inside.any():
        return
    region = torch.from_numpy(inside).float()[None, None]
    thick = max(1, max(panel.size) // 320)

    def grown(by: int) -> NDArray[np.bool_]:
        return np.asarray((F.max_pool2d(region, 2 * by + 1, 1, by)[0, 0] > 0).numpy())

    def shrunk(by: int) -> NDArray[np.bool_]:
        return np.asarray((-F.max_pool2d(-region, 2 * by + 1, 1, by)[0, 0] > 0).numpy())

    pixels = np.asarray(panel).copy()
    pixels[grown(2 * thick) & ~shrunk(thick)] = (20, 20, 24)
    pixels[grown(thick) & ~inside] = (255, 255, 255)
    panel.paste(Image.fromarray(pixels))


def _mark(panel: Image.Image, token: tuple[int, int], grid: tuple[int, int]) -> None:
    """Ring and dot where the query lies."""
    x, y = (token[1] + 0.5) / grid[1] * panel.width, (token[0] + 0.5) / grid[0] * panel.height
    radius = max(6, max(panel.size) // 50)
    draw = ImageDraw.Draw(panel)
    for width, colour in ((5, (20, 20, 24)), (2, (80, 230, 255))):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=max(width, round(width * radius / 10)))
    draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=(80, 230, 255))


def _legend(sheet: Image.Image, draw: ImageDraw.ImageDraw, heat: HeatMap, at: tuple[int, int], font: Any, small: Any) -> None:
    """The colour bar with numbers, and what they mean."""
    x, y = at
    width, height = min(sheet.width - 2 * x, max(480, sheet.width // 2)), round(small.size * 1.4)
    # Drawn over mid grey with the overlay's own opacity, so that the bar shows the colours seen in the panels.
    value = np.linspace(0, 1, width, dtype=np.float32)
    opacity = (_OPACITY * np.sqrt(value))[:, None]
    colours = colour_scale()[(value * 255).round().astype(np.int64)] * opacity + 0.35 * (1 - opacity)
    bar = np.repeat((colours * 255).round().astype(np.uint8)[None], height, 0)
    sheet.paste(Image.fromarray(bar), (x, y))
    draw.rectangle((x, y, x + width - 1, y + height - 1), outline=_INK)
    for k in range(5):
        number = heat.top * k / 4
        text = f"{number:.0f}" if heat.top >= 20 else f"{number:.1f}"
        text += "x or more" if k == 4 else "x"
        left = x + round(width * k / 4)
        draw.line((min(left, x + width - 1), y + height, min(left, x + width - 1), y + height + 4), fill=_INK)
        offset = 0 if k == 0 else draw.textlength(text, small) * (1 if k == 4 else 0.5)
        draw.text((left - offset, y + height + 5), text, _INK, small)
    what = "how much each place was looked at; 1x is an even spread"
    _text(draw, (x, y + height + round(small.size * 2.1)), what, small, sheet.width - 2 * x)


def _text(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, font: Any, room: int) -> None:
    """A line of text, its end cut off with an ellipsis where it does not fit."""
    whole = text
    while text and draw.textlength(text if text == whole else text + "...", font) > room:
        text = text[:-1]
    draw.text(at, text if text == whole else text + "...", _INK, font)


def _fit(panel: Image.Image, width: int, height: int) -> Image.Image:
    scale = min(width / panel.width, height / panel.height)
    return panel.resize((max(1, round(panel.width * scale)), max(1, round(panel.height * scale))), Image.Resampling.LANCZOS)


def _on_square(panel: Image.Image, side: int) -> Image.Image:
    square = Image.new("RGB", (side, side), (0, 0, 0))
    square.paste(panel, ((side - panel.width) // 2, (side - panel.height) // 2))
    return square


def _float(panel: Image.Image) -> Panel:
    return np.asarray(panel, np.float32) / np.float32(255)


__all__ = ["HeatMap", "Panel", "attention_panels", "colour_scale", "heat_map", "render_attention"]
