"""From a file to what the index keeps of it; runs in threads here, or on other machines (see `cluster`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..content.base import ContentEncoder
from ..illumination import describe
from ..image.regular import open_regular
from .kinds import kind_of
from .lookalike import signature
from .photos import UnreadableImage, as_tensor, hash_of, read_photo
from .regions import REGIONS
from .rows import Entry

_LIGHT_SIDE = 64


@dataclass(frozen=True)
class Task:
    """A file to look at: its root's row, path relative to the root, absolute path, size in bytes, mtime in ns."""

    root: int
    path: str
    file: str
    size: int
    mtime: int


@dataclass(frozen=True)
class Decoded:
    """A file after reading: `entry` without vectors, and, if it is to be embedded, the picture as the encoder and as the light want it."""

    entry: Entry
    picture: Tensor | None = None
    small: Tensor | None = None


def decode(task: Task, known: Callable[[str], bool], side: int) -> Decoded:
    """Hash a file and, unless its content is known, read the picture; a failure becomes the entry's `error`.

    Args:
        task: which file.
        known: whether a photo with this content hash is in the index already.
        side: longest side that the encoder wants (`ContentEncoder.region_side`).
    """
    entry = Entry(task.root, task.path, task.size, task.mtime)
    try:
        with open_regular(task.file) as file:
            entry = replace(entry, hash=hash_of(file))
            if known(entry.hash or ""):
                return Decoded(entry)
            picture, (width, height) = read_photo(file, side)
        small = picture.resize((_LIGHT_SIDE, _LIGHT_SIDE), Image.Resampling.BILINEAR)
        image, kind = as_tensor(picture), kind_of(picture, np.asarray(small), (width, height))
        return Decoded(replace(entry, width=width, height=height, signature=signature(image), kind=kind), image, as_tensor(small))
    except UnreadableImage as error:
        reason = str(error)
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
    except MemoryError:
        reason = "it needs more memory than there is"
    return Decoded(replace(entry, hash=None, error=reason))


def embed(batch: Sequence[Decoded], encoder: ContentEncoder) -> list[Entry]:
    """Add the illumination descriptors and the content vectors of all regions, several photos at a time."""
    fresh = [(d.picture, d.small) for d in batch if d.picture is not None and d.small is not None]
    if not fresh:
        return [d.entry for d in batch]
    boxes = (*REGIONS, *encoder.more_regions)
    vectors = encoder.encode_regions([picture for picture, _ in fresh], boxes).numpy()
    lights = describe(torch.cat([small for _, small in fresh])).cpu().numpy()
    made = iter(zip(vectors, lights, strict=True))
    entries = []
    for decoded in batch:
        if decoded.picture is None:
            entries.append(decoded.entry)
            continue
        content, light = next(made)
        entries.append(replace(decoded.entry, illumination=light, content=content, boxes=boxes))
    return entries
