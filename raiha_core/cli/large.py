"""`raiha harmonize` of very large pictures: by windows where their files allow it, otherwise in place."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import EmptyMaskError
from .pairing import Job
from .quiet import without_decoders_noise

if TYPE_CHECKING:
    from ..harmonizer import Harmonizer
    from ..image import Picture
    from ..image.windows import MaskRows, Rows
    from ..references import ReferenceIndex


class _Options(Protocol):
    """What of the command's options is wanted here."""

    @property
    def references(self) -> tuple[Path, ...]: ...
    @property
    def read(self) -> Callable[[Path], Picture]: ...
    @property
    def top_k(self) -> int: ...
    @property
    def strength(self) -> float: ...
    @property
    def caution(self) -> float | None: ...
    @property
    def resize_mask(self) -> bool: ...
    @property
    def page(self) -> int | None: ...


def run_large(harmonizer: Harmonizer, index: ReferenceIndex | None, job: Job, options: _Options) -> dict[str, Any] | None:
    """As `run_job`, for a picture that is large; None where it is not, or is not of a kind that can be spared memory.

    Raises:
        RaihaError: as `run_job`.
    """
    from ..image.limits import LARGE
    from ..image.windows import kind_of

    if job.mask is None or job.attention is not None or options.page is not None:
        return None
    pixels, opaque = kind_of(job.composite)
    if pixels < LARGE or not opaque:
        return None
    try:
        with contextlib.ExitStack() as stack:
            return _run(harmonizer, index, job, options, stack)
    except EmptyMaskError:
        return None  # a batch copies such a picture, which the usual way does


def _run(harmonizer: Harmonizer, index: ReferenceIndex | None, job: Job, options: _Options, stack: contextlib.ExitStack) -> dict[str, Any]:
    from ..atomic import atomically
    from ..image import write_image
    from ..image.windows import TILE, write_tiles
    from ..inputs import reference_picture
    from ..large import LargeComposite, predict

    started = time.monotonic()
    with without_decoders_noise():
        rows, template, tags, notices = _source(job, stack)
        mask = _mask(job, rows, template, options, stack)
    composite = LargeComposite(rows, mask, template)
    names: list[dict[str, Any]] = [{"path": str(path)} for path in options.references]
    with without_decoders_noise():
        pictures = [options.read(path) for path in options.references]
        if index is not None:
            found: Sequence[Any] = index.retrieve(*composite.reduced(), options.top_k, query_path=job.composite)
            names += [{"path": str(r.path), "content": r.content, "illumination": r.illumination} for r in found]
            pictures += [reference_picture(r) for r in found]
            notices += getattr(found, "notices", [])
    shown, placed = predict(harmonizer, composite, harmonizer.prepare_references(pictures), options.caution)
    if tags is None:
        for _ in composite.harmonized(harmonizer, placed, options.strength, in_place=True):
            pass
        write_image(job.output, template)
    else:
        made = composite.harmonized(harmonizer, placed, options.strength, TILE)
        atomically(job.output, lambda part: write_tiles(part, made, rows, template, tags))
    notices += [*mask.notices, *(n for picture in pictures for n in picture.notices)]
    if options.strength > 0 and not composite.changed:
        notices.append(composite.why_unchanged(shown, placed, options.strength))
    return {
        "composite": str(job.composite),
        "mask": str(job.mask),
        "output": str(job.output),
        "references": names,
        "changed": composite.changed,
        "notices": list(dict.fromkeys(notices)),
        "seconds": round(time.monotonic() - started, 3),
    }


def _source(job: Job, stack: contextlib.ExitStack) -> tuple[Rows, Picture, dict[int, Any] | None, list[str]]:
    """The composite's rows, what is known of them, a TIFF's descriptive tags where it is read and written by windows, and notices."""
    from ..image import Picture, read_image
    from ..image.tiff import is_tiff
    from ..image.windows import ArrayRows, TiffRows, by_windows, check_size

    if is_tiff(job.composite) and job.output.suffix.lower() in (".tif", ".tiff"):
        import tifffile

        page: Any = (handle := stack.enter_context(tifffile.TiffFile(job.composite))).pages[0]
        if by_windows(page):
            check_size(job.composite, page)
            rows = TiffRows(handle, page)
            icc, xmp = page.tags.valueof(34675), page.tags.valueof(700)
            template = Picture(
                np.zeros((1, 1, 3), rows.dtype),
                icc=icc if isinstance(icc, bytes) else None,
                grey=rows.shape[2] == 1,
                xmp=xmp if isinstance(xmp, bytes) else None,
            )
            tags = {int(tag.code): tag.value for tag in page.tags}
            left = [name for code, name in ((34665, "Exif"), (34853, "GPS")) if code in tags]
            said = f"{job.composite}: its {' and '.join(left)} data are not kept, since it was read and written by windows."
            return rows, template, tags, [said] if left else []
    picture = read_image(job.composite)
    return ArrayRows(picture.rgb), picture, None, list(picture.notices)


def _mask(job: Job, rows: Rows, template: Picture, options: _Options, stack: contextlib.ExitStack) -> MaskRows:
    from ..image.masks import fit_noted_mask, read_noted_mask
    from ..image.tiff import is_tiff
    from ..image.windows import ArrayRows, MaskRows, TiffRows, by_windows, kind_of, plane_of_mask

    assert job.mask is not None
    height, width = rows.shape[:2]
    pixels, _ = kind_of(job.mask)
    if pixels == height * width:
        if is_tiff(job.mask):
            import tifffile

            handle = stack.enter_context(tifffile.TiffFile(job.mask))
            page: Any = handle.pages[0]
            if by_windows(page) and (page.imagelength, page.imagewidth) == (height, width):
                return MaskRows(TiffRows(handle, page))
        elif (found := plane_of_mask(job.mask)) is not None and found[0].shape[:2] == (height, width):
            return MaskRows(ArrayRows(found[0]), found[1])
    noted = read_noted_mask(job.mask)
    fitted, notices = fit_noted_mask(noted, _Sized(template, (height, width)), options.resize_mask)  # type: ignore[arg-type]
    return MaskRows(ArrayRows(fitted[:, :, None]), notices=notices)


class _Sized:
    """A picture's size and orientation, without its samples."""

    def __init__(self, template: Picture, size: tuple[int, int]):
        self.size, self.orientation = size, template.orientation
