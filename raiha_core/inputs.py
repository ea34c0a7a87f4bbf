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
from .image import Mask, NotedMask, Picture, from_array, from_pil, read_image
from .image.masks import among, noted_alpha_mask, noted_mask_from, noted_mask_of, read_noted_mask
from .image.picture import checked


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
        return checked(image, name)
    if isinstance(image, str | os.PathLike):
        return read_image(image)
    if isinstance(image, Image.Image):
        return from_pil(image, name)
    if isinstance(image, Tensor):
        image = dense(image, name)
        if image.ndim == 4 and image.shape[0] == 1:
            image = image[0]
        if image.ndim != 3 or image.shape[0] not in (1, 3, 4):
            raise RaihaError(f"{name} is a tensor of shape {tuple(image.shape)}; give (3, height, width), or (batch, 3, height, width).")
        image = image.permute(1, 2, 0)
        return from_array((image.float() if image.is_floating_point() else image).numpy(), name)
    if isinstance(image, np.ndarray):
        return from_array(image, name)
    raise RaihaError(f"{name} is a {type(image).__name__}; give a path, a PIL image, an array or a tensor.")


def as_mask(mask: Any) -> Mask:
    """A mask from a path, PIL image, array or tensor `(H, W)`, `(1, H, W)` or `(1, 1, H, W)`; its brightest value counts as white.

    Raises:
        RaihaError: it is none of these or cannot be read.
    """
    return as_noted_mask(mask).mask


def noted_mask(mask: Any, composite: Picture) -> NotedMask:
    """As `as_mask`, with what should be said; None takes the composite's alpha."""
    return noted_alpha_mask(composite) if mask is None else as_noted_mask(mask)


def noted_masks(masks: Any, frames: int) -> list[NotedMask]:
    """The masks of a batch: one for all frames, or a tensor `(B, 1, H, W)` or `(B, H, W)` with one for each.

    The brightest value of all of them counts as white, so that an object may fade in and out.

    Raises:
        RaihaError: another number of masks than of frames.
    """
    masks = dense(masks, "The mask") if isinstance(masks, Tensor) else masks
    if not isinstance(masks, Tensor) or masks.ndim < 3 or masks.shape[0] == 1:
        return [as_noted_mask(masks)]
    if len(masks) != frames:
        raise RaihaError(f"There are {len(masks)} masks for {frames} frames; give one mask for all frames or one per frame.")
    noted = [as_noted_mask(m) for m in masks]
    brightest = max(n.peak for n in noted)
    return [n._replace(mask=among(n, brightest)) for n in noted]


def as_noted_mask(mask: Any) -> NotedMask:
    """As `as_mask`, with what should be said of it."""
    if isinstance(mask, str | os.PathLike):
        return read_noted_mask(mask)
    if isinstance(mask, Picture):
        return noted_mask_of(checked(mask, "The mask"))
    if isinstance(mask, Tensor):
        mask = dense(mask, "The mask")
        mask = (mask.float() if mask.is_floating_point() else mask).numpy()
        while mask.ndim > 2 and mask.shape[0] == 1:
            mask = mask[0]
    if isinstance(mask, Image.Image):
        return noted_mask_of(from_pil(mask, "The mask"))
    if isinstance(mask, np.ndarray):
        return noted_mask_from(mask)
    raise RaihaError(f"The mask is a {type(mask).__name__}; give a path, a PIL image, an array or a tensor.")


def dense(tensor: Tensor, name: str) -> Tensor:
    """A tensor with its values in this machine's memory.

    Raises:
        RaihaError: it has no values there: meta, sparse, quantised or nested tensors.
    """
    if tensor.is_meta or tensor.is_sparse or tensor.is_quantized or tensor.is_nested or tensor.layout != torch.strided:
        raise RaihaError(f"{name} is a meta, sparse, quantised or nested tensor; give a dense one.")
    if tensor.is_complex():
        raise RaihaError(f"{name} is a tensor of complex numbers; give real ones.")
    return tensor.detach().cpu().resolve_neg()


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
    # Planes, as they come from tensors, need not become pixels and planes again.
    flat = isinstance(original, Tensor) and picture.alpha is None and not picture.grey
    samples = picture.rgb if flat else picture.native()
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
