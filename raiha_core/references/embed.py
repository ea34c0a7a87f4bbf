"""From a file to what the index keeps of it; runs in threads here, or on other machines (see `cluster`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from PIL import Image

from ..content.base import ContentEncoder
from ..illumination import describe
from ..image.regular import open_regular
from .lookalike import look
from .photos import UnreadableImage, as_tensor, hash_of, read_photo
from .regions import region_batch, shrink
from .rows import Entry

# Regions are cut from the photo at this size (0.55 of it still fills the encoders' input).
WORKING_SIDE = 576
_LIGHT_SIDE = 256


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
    """A file after reading: `entry` without vectors, and the picture if it is to be embedded."""

    entry: Entry
    picture: Image.Image | None = None


def decode(task: Task, known: Callable[[str], bool]) -> Decoded:
    """Hash a file and, unless its content is known, read the picture; a failure becomes the entry's `error`."""
    entry = Entry(task.root, task.path, task.size, task.mtime)
    try:
        with open_regular(task.file) as file:
            entry = replace(entry, hash=hash_of(file))
            if known(entry.hash or ""):
                return Decoded(entry)
            picture, (width, height) = read_photo(file, WORKING_SIDE)
    except UnreadableImage as error:
        return Decoded(replace(entry, hash=None, error=str(error)))
    except OSError as error:
        return Decoded(replace(entry, hash=None, error=f"cannot be read ({error.strerror or error})"))
    return Decoded(replace(entry, width=width, height=height), picture)


def embed(decoded: Decoded, encoder: ContentEncoder) -> Entry:
    """Add the look, the illumination descriptor and the content vectors of all regions."""
    if decoded.picture is None:
        return decoded.entry
    image = as_tensor(decoded.picture)
    vectors = encoder.encode(region_batch(image)).vector.float().cpu().numpy()
    light = describe(shrink(image, _LIGHT_SIDE))[0].cpu().numpy()
    return replace(decoded.entry, look=look(image), illumination=light, content=vectors)
