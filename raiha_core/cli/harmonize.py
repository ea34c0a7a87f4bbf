"""`raiha harmonize`: one composite, or folders and globs of them."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import EmptyMaskError, RaihaError
from .large import run_large
from .pairing import Job, find_jobs, is_clip
from .quiet import without_decoders_noise
from .record import stamp

if TYPE_CHECKING:
    from ..harmonizer import Harmonizer
    from ..image import NotedMask, Picture
    from ..references import Reference, ReferenceIndex

FILE = click.Path(path_type=Path)


@dataclass(frozen=True)
class Options:
    """What is the same for every picture of a batch; `read` keeps the reference photos, which all of them share."""

    model: str
    references: tuple[Path, ...]
    read: Callable[[Path], Picture]
    index: Path | None
    top_k: int
    strength: float
    caution: float | None
    resize_mask: bool
    page: int | None = None

    def made_of(self) -> list[Any]:
        """What decides the results of a whole batch; the device does not, since it moves them by a rounding at most."""
        from .. import __version__
        from ..checkpoint import digest as file_digest
        from ..models.registry import resolve
        from ..references.manifest import fingerprint

        found_in = [fingerprint(self.index), os.path.realpath(self.index), self.top_k] if self.index else None
        model = file_digest(resolve(self.model))
        return [__version__, model, list(map(stamp, self.references)), found_in, self.strength, self.caution, self.resize_mask, self.page]


@click.command()
@click.argument("composite")
@click.argument("mask", required=False)
@click.option("-o", "--output", required=True, type=FILE, help="Result file; a folder for a batch.")
@click.option("--references", "-r", multiple=True, type=FILE, help="A reference photo; may be repeated.")
@click.option("--index", "directory", type=FILE, default=None, help="Retrieve references from this index.")
@click.option("--top-k", default=1, show_default=True, type=click.IntRange(1, 64), help="How many to retrieve.")
@click.option("--model", default="raiha-s", show_default=True, help="Name of a shipped model or a checkpoint file.")
@click.option("--strength", default=1.0, show_default=True, help="0 gives the input back, 1 the full effect, up to 2 more of the same.")
@click.option(
    "--caution",
    type=float,
    default=None,
    help="0 makes all that the model proposes, up to 1 less of what it doubts. [default: the model's]",
)
@click.option("--device", default=None, help="For example cpu or cuda; default cpu.")
@click.option("--attention", type=FILE, default=None, help="Write a picture of where the foreground looked; a folder for a batch.")
@click.option("--resize-mask", is_flag=True, help="Scale a mask of another size.")
@click.option("--page", default=None, type=click.IntRange(1), help="Page or frame of files of several; default the first.")
@click.option(
    "--video-mode",
    type=click.Choice(["one", "smooth", "anchor", "each"]),
    default=None,
    help="Of a clip: one change for all frames (the default), smoothed over time, that of the anchor, or each frame's own.",
)
@click.option("--smoothing", type=float, default=None, help="Of --video-mode smooth: over how many frames to each side. [default: 4]")
@click.option(
    "--anchor", type=click.IntRange(0), default=None, help="Of --video-mode anchor: the frame whose change holds, from 0. [default: 0]"
)
@click.option(
    "--quality",
    type=click.IntRange(0, 51),
    default=None,
    help="Of a clip: H.264's constant rate factor; 0 loses nothing, 51 is the worst. [default: 17]",
)
@click.option("--overwrite", is_flag=True, help="Do again what a batch has already done.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(
    composite: str,
    mask: str | None,
    output: Path,
    references: tuple[Path, ...],
    directory: Path | None,
    top_k: int,
    model: str,
    strength: float,
    caution: float | None,
    device: str | None,
    attention: Path | None,
    resize_mask: bool,
    page: int | None,
    video_mode: str | None,
    smoothing: float | None,
    anchor: int | None,
    quality: int | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Harmonise COMPOSITE so that the foreground in MASK (white) fits its scene.

    Without MASK the composite's alpha channel is used. For a batch, COMPOSITE and MASK are folders or quoted globs, paired
    by name (a mask may end in _mask), and the output is a folder; a batch started again skips what is done, and makes anew
    what other options, another model or changed files would make otherwise.

    COMPOSITE may be a clip, MASK then a clip, a picture for all frames, or a folder of pictures, one for each frame. The sound is
    kept; frames are encoded anew, as H.264. A clip that was stopped goes on where it was.
    """
    for name, value, most in (("strength", strength, 2), ("caution", caution, 1)):
        if value is not None and not 0 <= value <= most:
            raise RaihaError(f"The {name} is {value:g}; give a number from 0 to {most}.")
    of_clips = {"--video-mode": video_mode, "--smoothing": smoothing, "--anchor": anchor, "--quality": quality}
    given = [name for name, value in of_clips.items() if value is not None]
    if is_clip(composite):
        from .clips import ClipOptions, harmonize_file

        unfit = [name for name, value in (("--attention", attention), ("--page", page)) if value is not None]
        if unfit:
            raise RaihaError(f"{unfit[0]} is for pictures, and {composite} is a clip; leave it out.")
        if mask is None:
            raise RaihaError("A clip needs masks; give a clip of them, one picture, or a folder of pictures, one for each frame.")
        asked = ClipOptions(
            Path(composite),
            mask,
            output,
            references,
            directory,
            top_k,
            model,
            strength,
            caution,
            device,
            resize_mask,
            video_mode or "one",
            4.0 if smoothing is None else smoothing,
            anchor or 0,
            quality,
            overwrite,
        )
        return harmonize_file(asked, as_json)
    if given:
        raise RaihaError(f"{given[0]} is for clips, and {composite} is none; leave it out.")
    plan = find_jobs(composite, mask, output, attention)
    if not plan.batch:
        _check_single(plan.jobs[0])
    from ..harmonizer import Harmonizer
    from ..inputs import reference_picture

    harmonizer = Harmonizer(model, device)
    index = _open_index(directory, device)
    options = Options(model, references, functools.cache(reference_picture), directory, top_k, strength, caution, resize_mask, page)
    try:
        if plan.batch:
            from .batch import run_batch

            return run_batch(harmonizer, index, plan, options, overwrite, as_json)
        row = run_job(harmonizer, index, plan.jobs[0], options)
    finally:
        if index is not None:
            index.close()
    if as_json:
        click.echo(json.dumps(row))
    else:
        for notice in row.get("notices", []):
            click.echo(f"raiha: {notice}", err=True)
        click.echo(f"wrote {row['output']}")
    return 0


def _check_single(job: Job) -> None:
    from ..image import check_output

    check_output(job.output)
    if job.attention is not None:
        check_output(job.attention)


def _open_index(directory: Path | None, device: str | None) -> ReferenceIndex | None:
    if directory is None:
        return None
    from ..references import ReferenceIndex

    return ReferenceIndex.open(directory, device=device)


def run_job(harmonizer: Harmonizer, index: ReferenceIndex | None, job: Job, options: Options, copy_empty: bool = False) -> dict[str, Any]:
    """Harmonise one picture and write what was asked for; returns what `--json` prints.

    Args:
        copy_empty: write a composite with an empty mask as it is, so that a sequence of frames stays whole.

    Raises:
        RaihaError: any mistake with one of its files; nothing half-written is left.
    """
    from ..image import check_output

    started = time.monotonic()
    check_output(job.output)
    done = run_large(harmonizer, index, job, options)
    if done is not None:
        return done
    row, write = made(harmonizer, index, job, options, read_inputs(job, options), copy_empty)
    write()
    return row | {"seconds": round(time.monotonic() - started, 3)}


def read_inputs(job: Job, options: Options) -> tuple[Picture, NotedMask]:
    """The composite and its mask as it was read.

    Raises:
        RaihaError: one cannot be read.
    """
    from ..image import read_image
    from ..image.masks import noted_alpha_mask, read_noted_mask

    with without_decoders_noise():
        picture = read_image(job.composite, options.page)
        return picture, noted_alpha_mask(picture) if job.mask is None else read_noted_mask(job.mask, options.page)


def made(
    harmonizer: Harmonizer,
    index: ReferenceIndex | None,
    job: Job,
    options: Options,
    inputs: tuple[Picture, NotedMask],
    copy_empty: bool,
) -> tuple[dict[str, Any], Callable[[], None]]:
    """Harmonise what `read_inputs` gave; returns what `--json` prints, and what writes the result.

    Raises:
        RaihaError: any mistake with one of its files.
    """
    import torch

    from ..image import fit_noted_mask, write_image
    from ..image.view import full_view
    from ..inputs import reference_picture

    picture, raw = inputs
    row: dict[str, Any] = {"composite": str(job.composite), "mask": str(job.mask) if job.mask else None, "output": str(job.output)}
    try:
        mask, said = fit_noted_mask(raw, picture, options.resize_mask)
    except EmptyMaskError:
        if not copy_empty:
            raise
        notice = f"{job.composite.name} has an empty mask and was copied as it is."
        row |= {"references": [], "changed": False, "copied": True, "notices": [notice]}
        return row, lambda: _write(job, picture)
    names: list[dict[str, Any]] = [{"path": str(path)} for path in options.references]
    retrieved: Sequence[Reference] = ()
    notices: list[str] = [*picture.notices, *said]
    if index is not None:
        found = index.retrieve(full_view(picture, mask), torch.from_numpy(mask)[None, None], options.top_k, query_path=job.composite)
        names += [{"path": str(r.path), "content": r.content, "illumination": r.illumination} for r in found]
        retrieved = found
        notices += found.notices
    # Read here, since harmonising and drawing the attention both want them.
    with without_decoders_noise():
        references = [*map(options.read, options.references), *map(reference_picture, retrieved)]
    notices += [n for reference in references for n in reference.notices]
    result = harmonizer.harmonize(
        picture, mask, references, strength=options.strength, caution=options.caution, attention=job.attention is not None
    )

    def write() -> None:
        write_image(job.output, result.image)
        if job.attention is not None:
            _write_attention(job.attention, result, picture, mask, references, [Path(n["path"]).name for n in names])

    if job.attention is not None:
        row["attention"] = str(job.attention)
    said_once = list(dict.fromkeys([*notices, *result.notices]))
    return row | {"references": names, "changed": result.changed[0], "notices": said_once}, write


def _write(job: Job, picture: Picture) -> None:
    from ..image import write_image

    write_image(job.output, picture)


def _write_attention(path: Path, result: Any, picture: Any, mask: Any, references: list[Picture], labels: list[str]) -> None:
    from ..attention import render_attention
    from ..image import atomically, check_output

    if not result.attention:
        raise RaihaError("This model gives no attention; leave --attention out.")
    drawn = render_attention(result.attention[0], picture, mask, references, box=result.transform[0].box, labels=labels)
    atomically(check_output(path), lambda part: drawn.save(part))
