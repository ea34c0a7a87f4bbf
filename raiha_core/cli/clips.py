"""`raiha harmonize` of a clip: frames of a file, masks of another, the sound kept, and a folder that lets it go on after a stop."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import RaihaError
from ..suffixes import CLIPS_WRITABLE
from .pairing import is_batch, is_clip, pictures
from .quiet import without_decoders_noise
from .record import digest, stamp

if TYPE_CHECKING:
    from ..harmonizer import Harmonizer, PlacedTransform
    from ..video import VideoClip
    from ..video.run import Plan
    from ..video.work import WorkFolder

SEGMENT = 240
"""Frames that are encoded on their own; what a kill loses at most."""


@dataclass(frozen=True)
class ClipOptions:
    """What was asked for; see the options of the command."""

    composite: Path
    mask: str
    output: Path
    references: tuple[Path, ...]
    index: Path | None
    top_k: int
    model: str
    strength: float
    caution: float | None
    device: str | None
    resize_mask: bool
    mode: Any
    smoothing: float
    anchor: int
    quality: int | None
    overwrite: bool

    def made_of(self, masks: list[Path], quality: int) -> str:
        """A digest of all that decides what is in the result."""
        from .. import __version__
        from ..checkpoint import digest as file_digest
        from ..models.registry import resolve
        from ..references.manifest import fingerprint

        found_in = [fingerprint(self.index), os.path.realpath(self.index), self.top_k] if self.index else None
        files = [stamp(p) for p in (self.composite, *masks, *self.references)]
        settings = [self.strength, self.caution, self.resize_mask, self.mode, self.smoothing, self.anchor, quality, SEGMENT]
        return digest([__version__, file_digest(resolve(self.model)), found_in, files, settings])


@dataclass
class _Told:
    """What is to be said at the end."""

    changed: bool = False
    resumed: int = 0
    why: str = ""
    notices: list[str] = field(default_factory=list)
    references: list[dict[str, Any]] = field(default_factory=list)


def check_output(output: Path, inputs: list[Path]) -> None:
    """Refuse a result that cannot be written, before any work is done.

    Raises:
        RaihaError: says why.
    """
    if os.path.isdir(output):
        raise RaihaError(f"{output} is a folder; give a file name for the clip, such as {output / 'harmonised.mp4'}.")
    if output.suffix.lower() not in CLIPS_WRITABLE:
        raise RaihaError(f"{output} has no suffix of clips that can be written; use one of {', '.join(CLIPS_WRITABLE)}.")
    if not os.path.isdir(output.parent):
        raise RaihaError(f"The folder {output.parent} does not exist; create it or choose another output path.")
    if not os.access(output.parent, os.W_OK):
        raise RaihaError(f"The folder {output.parent} is not writable; choose another output path.")
    if os.path.realpath(output) in {os.path.realpath(p) for p in inputs}:
        raise RaihaError(f"{output} is an input and would be overwritten; choose another output.")


def harmonize_file(options: ClipOptions, as_json: bool) -> int:
    """Harmonise a clip; returns 0.

    Raises:
        RaihaError: any mistake with files or settings. What is done already is kept beside the output.
    """
    from ..video.encode import QUALITY, check_sound
    from ..video.files import FrameFile
    from ..video.work import WorkFolder

    started = time.monotonic()
    quality = QUALITY if options.quality is None else options.quality
    masks = _mask_files(options.mask)
    check_output(options.output, [options.composite, *masks])
    told = _Told(notices=list(check_sound(FrameFile(options.composite), options.output)))
    work = WorkFolder(options.output, options.made_of(masks, quality))
    try:
        if options.overwrite:
            work.empty()
        clip = _opened(options, masks, told)
        _work(options, clip, work, quality, told)
    except KeyboardInterrupt:
        click.echo(f"raiha: stopped; what is done is kept in {work.path}, and the same command goes on from there", err=True)
        raise
    finally:
        work.close()
    work.remove()
    if not told.changed and told.why and not told.resumed:
        told.notices.append(told.why)
    row = {
        "composite": str(options.composite),
        "mask": options.mask,
        "output": str(options.output),
        "references": told.references,
        "frames": len(clip),
        "resumed_at": told.resumed,
        "video_mode": options.mode,
        "quality": f"H.264, constant rate factor {quality}",
        "changed": told.changed or told.resumed > 0,
        "notices": list(dict.fromkeys(told.notices)),
        "seconds": round(time.monotonic() - started, 3),
    }
    if as_json:
        click.echo(json.dumps(row))
        return 0
    for notice in row["notices"]:
        click.echo(f"raiha: {notice}", err=True)
    click.echo(f"wrote {options.output}: {len(clip)} frames, {row['quality']}")
    return 0


def _mask_files(mask: str) -> list[Path]:
    """The files of the masks.

    Raises:
        RaihaError: there are none.
    """
    if is_batch(mask):
        return pictures(mask)[0]
    if not os.path.isfile(mask):
        raise RaihaError(f"{mask} does not exist or is not a file; check the path.")
    return [Path(mask)]


def _opened(options: ClipOptions, files: list[Path], told: _Told) -> VideoClip:
    from ..video import ClipMasks, Masks, VideoClip

    with _progress("look", None) as step, without_decoders_noise():
        if is_clip(options.mask):
            masks: ClipMasks | Masks = ClipMasks(files[0], step)
        else:
            masks = Masks(list(files))
        clip = VideoClip(options.composite, masks, options.resize_mask, step)
    told.notices += [*masks.notices, *clip.file.kind.notices]
    return clip


def _work(options: ClipOptions, clip: VideoClip, work: WorkFolder, quality: int, told: _Told) -> None:
    """Predict, change and encode what is not done yet, then put it together."""
    from ..atomic import atomically
    from ..harmonizer import Harmonizer
    from ..video import Way
    from ..video.encode import assemble, encode
    from ..video.run import look

    harmonizer = Harmonizer(options.model, options.device)
    with _progress("masks", len(clip)) as step:
        plan = look(harmonizer, clip, Way(options.mode, options.smoothing, options.anchor), step)
    references = harmonizer.prepare_references(_references(options, clip, plan.wanted[0], told))
    done = len(work.segments())
    told.resumed = min(done * SEGMENT, len(clip))
    if told.resumed < len(clip):
        placed = _predicted(options, harmonizer, clip, plan, references, work.path, told.resumed)
        with _progress("encode", len(clip), told.resumed) as step:
            frames = _changed(options, harmonizer, clip, placed, told, step)
            for number in range(done, -(-len(clip) // SEGMENT)):
                first = next(frames)
                piece = chain([first], islice(frames, SEGMENT - 1))
                write = partial(encode, clip.file.av, frames=piece, kind=clip.file.kind, quality=quality)
                atomically(work.segment(number, first.pts), write)
    atomically(options.output, lambda part: assemble(clip.file, work.segments(), part))
    clip.file.close()


def _references(options: ClipOptions, clip: VideoClip, frame: int, told: _Told) -> list[Any]:
    """The photos that were given, and those that are found for a frame."""
    import torch

    from ..image.view import full_view
    from ..inputs import reference_picture
    from ..references import ReferenceIndex

    with without_decoders_noise():
        pictures = [reference_picture(path) for path in options.references]
    told.references = [{"path": str(path)} for path in options.references]
    if options.index is not None:
        index = ReferenceIndex.open(options.index, device=options.device)
        try:
            mask = clip.mask(frame)
            seen = full_view(clip.picture(frame), mask)
            found = index.retrieve(seen, torch.from_numpy(mask)[None, None], options.top_k, query_path=options.composite)
            told.references += [{"path": str(r.path), "content": r.content, "illumination": r.illumination} for r in found]
            told.notices += found.notices
            pictures += [reference_picture(r) for r in found]
        finally:
            index.close()
    told.notices += [n for picture in pictures for n in picture.notices]
    return pictures


def _predicted(
    options: ClipOptions, harmonizer: Harmonizer, clip: VideoClip, plan: Plan, references: list[Any], folder: Path, start: int
) -> Iterator[PlacedTransform | None]:
    """The transforms of the frames from `start` on; those that belong together are predicted first, and kept in the folder."""
    from ..video.run import BATCH, Spread, predictions

    if plan.box is None:
        before = sum(i < start for i in plan.wanted)
        # Predicting is ahead of encoding by a batch, so it reads the files for itself.
        own = predictions(harmonizer, clip.twin(), plan, [references], caution=options.caution, start=before // BATCH * BATCH)
        shown, left = set(plan.shown), islice(own, before % BATCH, None)
        return (next(left) if i in shown else None for i in range(start, len(clip)))
    from ..video.work import KeptTransforms

    kept = KeptTransforms(folder, plan.box)
    if len(kept) < len(plan.wanted):
        whole = len(kept) // BATCH * BATCH
        with _progress("predict", len(plan.wanted), whole) as step:
            found = predictions(harmonizer, clip, plan, [references], step, caution=options.caution, start=whole)
            kept.keep(found, whole)
    spread = Spread(plan, kept)
    return (spread[i] for i in range(start, len(clip)))


def _changed(
    options: ClipOptions,
    harmonizer: Harmonizer,
    clip: VideoClip,
    placed: Iterator[PlacedTransform | None],
    told: _Told,
    step: Callable[[], None],
) -> Iterator[Any]:
    """The frames to encode, from where a stopped command is to go on."""
    from ..unchanged import visibly_changed, why_unchanged

    for i, transform in enumerate(placed, told.resumed):
        result = None
        if transform is not None and options.strength > 0:
            here = replace(transform, transform=transform.transform.to(harmonizer.device))
            picture, mask = clip.picture(i), clip.mask(i)
            result = harmonizer.apply(picture, mask, here, options.strength)
            if not told.changed:
                told.changed = visibly_changed(picture, result, mask)
                size = harmonizer.model.input_size
                told.why = told.why or why_unchanged(picture, mask, here.box, size, here.transform, options.strength)
        yield clip.encoded(i, result)
        step()


@contextlib.contextmanager
def _progress(what: str, total: int | None, start: int = 0) -> Iterator[Callable[[], None]]:
    """A bar on stderr where somebody looks at it."""
    from tqdm import tqdm

    with tqdm(desc=what, total=total, initial=start, unit="frame", disable=None) as bar:

        def step() -> None:
            bar.update()

        yield step
