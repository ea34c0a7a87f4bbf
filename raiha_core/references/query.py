"""From a composite and its mask to what is searched for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..content.base import ContentEncoder, ContentFeatures
from ..errors import RaihaError
from ..illumination import describe
from .kinds import GREY, PHOTO, is_grey
from .lookalike import signature
from .regions import ENCODE_SIDE, limit_side

# Share of the foreground's longer side added around it: what stands next to a thing says what it is. More drowns it.
CONTEXT = 0.1
# With less background than this its light cannot be told.
_LEAST_BACKGROUND = 0.005
_LIGHT_SIDE = 256


@dataclass(frozen=True)
class Query:
    """What is searched for.

    Attributes:
        content: (D,) float32, unit length: the foreground, seen with a little of its surroundings.
        illumination: (E,) float32: the background's light; None if there is no background.
        signature: the composite's signature, to recognise the photo itself.
        background: `(1, 1, h, w)`, 1 where the composite is not foreground.
        kind: `kinds.GREY` if the background is grey, so that grey photos fit it.
    """

    content: NDArray[np.float32]
    illumination: NDArray[np.float32] | None
    signature: bytes
    background: Tensor
    kind: str = PHOTO


def make_query(composite: Tensor, mask: Tensor, encoder: ContentEncoder) -> Query:
    """Look at a composite.

    Args:
        composite: `(1, 3, H, W)` sRGB, nominal range [0, 1].
        mask: `(1, 1, H, W)` in [0, 1], 1 = foreground.
        encoder: the index's content encoder.

    Raises:
        RaihaError: the shapes do not fit, or the mask is empty.
    """
    if composite.ndim != 4 or composite.shape[:2] != (1, 3):
        raise RaihaError(f"retrieval takes one composite of shape (1, 3, H, W), not {tuple(composite.shape)}: pass the frames one by one")
    if mask.ndim != 4 or mask.shape != (1, 1, *composite.shape[-2:]):
        raise RaihaError(
            f"the mask {tuple(mask.shape)} does not fit the composite {tuple(composite.shape)}: both need the same height and width"
        )
    composite, mask = composite.detach().cpu().float().nan_to_num().clamp(0, 1), mask.detach().cpu().float().nan_to_num().clamp(0, 1)
    y0, y1, x0, x1 = foreground_box(mask)
    features = encoder.encode(limit_side(composite[..., y0:y1, x0:x1], ENCODE_SIDE))
    content = foreground_vector(features, mask[..., y0:y1, x0:x1]).cpu().numpy()
    background = 1 - mask
    light, kind = None, PHOTO
    if float((background > 0.5).float().mean()) >= _LEAST_BACKGROUND:
        small, covered = limit_side(composite, _LIGHT_SIDE), limit_side(mask, _LIGHT_SIDE)
        light = describe(small, covered)[0].numpy()
        pixels = (small[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        kind = GREY if is_grey(pixels, (covered[0, 0] < 0.02).float().numpy()) else PHOTO
    return Query(content, light, signature(composite), background, kind)


def foreground_vector(features: ContentFeatures, mask: Tensor) -> Tensor:
    """What a crop shows where its mask is, `(D,)` unit length.

    Where an encoder's global vector is the mean of its dense map (as of `embedded`), the map is averaged over the
    foreground alone, so that the new background does not count; of other encoders it is the vector of the whole crop.

    Args:
        features: of one crop.
        mask: `(1, 1, H, W)` in [0, 1], of that crop.
    """
    vector, dense = features.vector[0].float(), features.dense.float()
    if dense.shape[1] == len(vector):
        mean = torch.nn.functional.normalize(dense.mean((2, 3))[0], dim=0)
        if float(mean @ vector) > 0.999:
            share = torch.nn.functional.adaptive_avg_pool2d(mask.to(dense), (dense.shape[-2], dense.shape[-1]))
            weight = share * (share >= min(0.3, float(share.max())))
            return torch.nn.functional.normalize((dense * weight).sum((2, 3))[0], dim=0)
    return vector


def foreground_box(mask: Tensor) -> tuple[int, int, int, int]:
    """Rows and columns (y0, y1, x0, x1) of the foreground with its context, as square as the picture allows.

    Raises:
        RaihaError: the mask is empty.
    """
    inside = mask[0, 0] > 0.5
    if not bool(inside.any()):
        inside = mask[0, 0] > 0
    if not bool(inside.any()):
        raise RaihaError("the mask is empty: mark the foreground with white")
    height, width = inside.shape
    rows, columns = torch.nonzero(inside.any(1)).flatten(), torch.nonzero(inside.any(0)).flatten()
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    side = round(max(bottom - top, right - left) * (1 + 2 * CONTEXT))
    y0, y1 = _span(top, bottom, side, height)
    x0, x1 = _span(left, right, side, width)
    return y0, y1, x0, x1


def _span(start: int, stop: int, length: int, limit: int) -> tuple[int, int]:
    """An interval of the wanted length around another, shifted into [0, limit], cut if it is longer."""
    length = min(max(length, 1), limit)
    begin = min(max((start + stop - length) // 2, 0), limit - length)
    return begin, begin + length
