"""Pictures and masks as training looks at them: squashed to a square, read as the rest of the house reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import RaihaError
from ..image import read_mask
from ..image.reduced import UnreadableImage, read_reduced

_AMPLE = 3
"""Pictures are read at so many times the square's side at most: large JPEGs decode reduced, and the square hardly shows it."""


def picture_square(path: Path, size: int, resample: Image.Resampling = Image.Resampling.BOX) -> NDArray[np.uint8]:
    """A picture `(size, size, 3)` uint8, sRGB, upright, transparency over grey.

    Raises:
        RaihaError: it cannot be read.
    """
    try:
        picture = read_reduced(path, _AMPLE * size)[0]
    except UnreadableImage as error:
        raise RaihaError(f"{path} cannot be read as a picture ({error}); repair it or take it out, and start again.") from None
    return np.asarray(picture.resize((size, size), resample))


def mask_square(path: Path, size: int) -> NDArray[np.uint8]:
    """A mask `(size, size)` uint8, 255 = foreground, understood as the product understands it.

    Raises:
        RaihaError: it cannot be read.
    """
    whole = Image.fromarray((read_mask(path) * 255).round().astype(np.uint8))
    return np.asarray(whole.resize((size, size), Image.Resampling.BOX))
