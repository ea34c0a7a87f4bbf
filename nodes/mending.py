"""Indexes that are damaged: mended where the node can do it by itself, which it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..raiha_core.content import ContentEncoder
from ..raiha_core.errors import RaihaError
from ..raiha_core.references import ReferenceIndex
from ..raiha_core.references.manifest import exists
from ..raiha_core.references.verify import verify


def built(
    gallery: Path, directory: Path, encoder: str | ContentEncoder, rebuild: bool, progress: Callable[[int, int], None], **more: Any
) -> str:
    """Build an index, or bring it up to date; one that is damaged is mended, or else made anew from its photos.

    Returns:
        a sentence about what had to be mended; empty: nothing.

    Raises:
        RaihaError: what has nothing to do with damage.
    """
    try:
        ReferenceIndex.build(gallery, directory, encoder, progress=progress, rebuild=rebuild, **more).close()
    except RaihaError as error:
        said = mended(directory)
        if rebuild or said is None:
            raise
        anew = said == ""
        ReferenceIndex.build(gallery, directory, encoder, progress=progress, rebuild=anew, **more).close()
        return f"The index was damaged ({_what(error)}), so it was made anew." if anew else said
    return ""


def mended(directory: Path) -> str | None:
    """Repair what can be repaired without the photos.

    Returns:
        what was mended; empty: it is damaged beyond that; None: nothing is wrong with the index.
    """
    if not exists(directory) and not any(directory.glob("catalogue*")):
        return None
    try:
        if verify(directory).sound:
            return None
        report = verify(directory, repair=True)
        if not report.repaired or not verify(directory).sound:
            return ""
    except RaihaError:
        return ""
    return f"The index was damaged and has been repaired: {'; '.join(report.repaired)}."


def _what(error: RaihaError) -> str:
    return str(error).split(": ")[0]
