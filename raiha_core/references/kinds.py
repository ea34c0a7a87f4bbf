"""Pictures that lie in galleries and are no photographs of things in a light: nothing can be borrowed from them.

A grey photo takes the colour out of the object, a page of text has no light. They stay in the index, where they can be
pinned, but are not offered. The limits lie well outside of what 960 photos of eight collections show (docs/retrieval.md).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PHOTO = ""
GREY = "grey"
SENTENCES = {
    "tiny": "too small to show a light (a side below 32 px)",
    "plain": "of one plain colour",
    GREY: "without colour, or of one hue",
    "noise": "noise",
    "drawing": "text, a drawing or a screenshot",
}

SMALLEST = 32
_ROWS = 128
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# On a scale of 0 to 255. Photos of collections show at least 13.8, except for black frames.
_PLAIN_SPREAD = 2.0
# Chroma that brightness does not explain: colour photos show at least 1.2, greys, sepias and duotones hardly any. Of a picture
# darker than this mean, in proportion less.
_GREY_CHROMA, _GREY_MEAN = 0.75, 60.0
# Correlation of neighbouring pixels: photos at least 0.55, noise 0.0 to 0.15 also after compression and reduction.
_NOISE_CORRELATION = 0.35
# Share of pixels like their neighbour, and of slight steps against strong ones: where half and more of a photo is flat,
# slight steps are at least 4.7 times as many as strong ones; text and charts have fewer slight ones than strong.
_FLAT, _SLIGHT = 0.5, 2.0


def kind_of(picture: Image.Image, small: NDArray[np.uint8], size: tuple[int, int]) -> str:
    """What kind of picture it is: `PHOTO`, or a key of `SENTENCES`.

    Args:
        picture: RGB, at most some hundred pixels long.
        small: the same, reduced: `(h, w, 3)`.
        size: width and height of the file's own picture in pixels.
    """
    if min(size) < SMALLEST:
        return "tiny"
    pixels = small.astype(np.float32)
    if (pixels @ _LUMA).std() + pixels.std((0, 1)).max() < _PLAIN_SPREAD:
        return "plain"
    rows = np.linspace(0, picture.height - 1, min(_ROWS, picture.height)).round().astype(int)
    luma = np.asarray(picture)[rows].astype(np.float32) @ _LUMA
    centred = luma - luma.mean()
    if float((centred[:, :-1] * centred[:, 1:]).mean()) < _NOISE_CORRELATION * float(centred.var()):
        return "noise"
    steps = np.abs(np.diff(luma, axis=1))
    slight, strong = ((steps >= 1) & (steps < 16)).mean(), (steps >= 32).mean()
    if (steps < 1).mean() >= _FLAT and slight < _SLIGHT * strong:
        return "drawing"
    return GREY if is_grey(small) else PHOTO


def is_grey(small: NDArray[np.uint8], weight: NDArray[np.float32] | None = None) -> bool:
    """Whether a picture is grey or of one hue, like a sepia print: its colour follows from its brightness.

    Args:
        small: `(h, w, 3)`.
        weight: `(h, w)`, how much each pixel counts; None counts all.
    """
    pixels = small.reshape(-1, 3).astype(np.float32)
    counts = np.ones(len(pixels), np.float32) if weight is None else weight.reshape(-1)
    luma = pixels @ _LUMA
    level = (luma / 16).astype(int)
    total = np.bincount(level, counts, 16)
    chroma = pixels[:, [0, 2]] - luma[:, None]
    # A line through each level of brightness, so that a toned print's slope within it is no colour of its own.
    for channel in chroma.T:
        channel -= (np.bincount(level, counts * channel, 16) / np.maximum(total, 1e-6))[level]
        within = luma - (np.bincount(level, counts * luma, 16) / np.maximum(total, 1e-6))[level]
        slope = np.bincount(level, counts * channel * within, 16) / np.maximum(np.bincount(level, counts * within**2, 16), 1e-6)
        channel -= slope[level] * within
    whole = max(float(counts.sum()), 1e-6)
    rest, mean = float((chroma**2).sum(1) @ counts) / (2 * whole), float(luma @ counts) / whole
    return bool(rest**0.5 < _GREY_CHROMA * min(1.0, mean / _GREY_MEAN))


def lines(counts: Mapping[str, int]) -> list[str]:
    """How many pictures of which kinds are in an index without being offered, as sentences."""
    return [
        f"{number} picture{'s are' if number > 1 else ' is'} {SENTENCES.get(kind, kind)}: in the index, but offered only when pinned"
        for kind, number in sorted(counts.items())
        if kind != PHOTO and number
    ]
