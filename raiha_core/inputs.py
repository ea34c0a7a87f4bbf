"""Pictures and masks in whatever form a caller has them, and results in the same form."""

from __future__ import annotations

import os
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .errors import RaihaError
from .image import Mask, Picture, from_array, from_pil, mask_from, mask_of, read_image, read_mask


@runtime_checkable
class LoadsItself(Protocol):
    """A retrieved reference: anything that gives its picture when asked."""

    def load(self) -> Tensor:
        """`(1, 3, H, W)` in [0, 1]."""
        ...


ImageLike = str | os.PathLike[str] | Picture | Image.Image | NDArray[Any] | Tensor
ReferenceLike = ImageLike | LoadsItself


def as_picture(image: Any, name: str = "The picture") -> Picture:
    """A picture from a path, PIL image, array `(H, W, C)` or tensor `(3, H, W)` or `(1, 3, H, W)`.

    Raises:
        RaihaError: it is none of these or cannot be read.
    """
    if isinstance(image, Picture):
        return image
    if isinstance(image, str | os.PathLike):
        return read_image(image)
    if isinstance(image, Image.Image):
        return from_pil(image, name)
    if isinstance(image, Tensor):
        if image.ndim == 4 and image.shape[0] == 1:
            image = image[0]
        if image.ndim != 3 or image.shape[0] not in (1, 3, 4):
            raise RaihaError(f"{name} is a tensor of shape {tuple(image.shape)}; give (3, height, width), or (batch, 3, height, width).")
        image = image.detach().cpu().permute(1, 2, 0)
        return from_array((image.float() if image.is_floating_point() else image).numpy(), name)
    if isinstance(image, np.ndarray):
        return from_array(image, name)
    raise RaihaError(f"{name} is a {type(image).__name__}; give a path, a PIL image, an array or a tensor.")


def as_mask(mask: Any) -> Mask:
    """A mask from a path, PIL image, array or tensor `(H, W)`, `(1, H, W)` or `(1, 1, H, W)`.

    Raises:
        RaihaError: it is none of these or cannot be read.
    """
    if isinstance(mask, str | os.PathLike):
        return read_mask(mask)
    if isinstance(mask, Picture):
        return mask_of(mask)
    if isinstance(mask, Tensor):
        mask = (mask.float() if mask.is_floating_point() else mask).detach().cpu().numpy()
        while mask.ndim > 2 and mask.shape[0] == 1:
            mask = mask[0]
    if isinstance(mask, Image.Image):
        return mask_of(from_pil(mask, "The mask"))
    if isinstance(mask, np.ndarray):
        return mask_from(mask)
    raise RaihaError(f"The mask is a {type(mask).__name__}; give a path, a PIL image, an array or a tensor.")


def reference_picture(reference: ReferenceLike) -> Picture:
    """The picture of a reference in any form.

    Raises:
        RaihaError: it cannot be read.
    """
    # A PIL image has a method of that name too, but it gives no picture.
    if isinstance(reference, LoadsItself) and not isinstance(reference, Image.Image):
        reference = reference.load()
    return as_picture(reference, "The reference")


def like(picture: Picture, original: Any) -> Any:
    """The result in the form in which the composite came; samples that did not change are the original's, also in float64."""
    if isinstance(original, str | os.PathLike | Picture):
        return picture
    samples = picture.native()
    if isinstance(original, Image.Image):
        deep = samples.shape[2] == 1 and samples.dtype != np.uint8
        image = Image.fromarray(samples[:, :, 0]) if deep else picture.pil()
        image.info = {**original.info, **image.info}
        return image
    if isinstance(original, np.ndarray):
        samples = samples.reshape(original.shape)
        if samples.dtype == original.dtype:
            return samples
        return np.where(samples == original.astype(samples.dtype), original, samples.astype(original.dtype))
    changed = torch.from_numpy(np.ascontiguousarray(samples.transpose(2, 0, 1))).to(original.device)
    if changed.dtype == original.dtype:
        return changed
    return torch.where(changed == original.to(changed.dtype), original, changed.to(original.dtype))
