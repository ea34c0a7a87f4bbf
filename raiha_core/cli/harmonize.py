"""`raiha harmonize`: one composite, or folders and globs of them."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import RaihaError
from .pairing import Job, find_jobs
from .record import Records, digest, stamp

if TYPE_CHECKING:
    from ..harmonizer import Harmonizer
    from ..image import Picture
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

    def made_of(self) -> list[Any]:
        """What decides the results of a whole batch; the device does not, since it moves them by a rounding at most."""
        from .. import __version__
        from ..checkpoint import digest as file_digest
        from ..models.registry import resolve
        from ..references.manifest import fingerprint

        found_in = [fingerprint(self.index), str(self.index.resolve()), self.top_k] if self.index else None
        model = file_digest(resolve(self.model))
        return [__version__, model, list(map(stamp, self.references)), found_in, self.strength, self.resize_mask]


@click.command()
@click.argument("composite")
@click.argument("mask", required=False)
@click.option("-o", "--output", required=True, type=FILE, help="Result file; a folder for a batch.")
@click.option("--references", "-r", multiple=True, type=FILE, help="A reference photo; may be repeated.")
@click.option("--index", "directory", type=FILE, default=None, help="Retrieve references from this index.")
@click.option("--top-k", default=4, show_default=True, type=click.IntRange(1, 64), help="How many to retrieve.")
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
    overwrite: bool,
    as_json: bool,
) -> int:
    """Harmonise COMPOSITE so that the foreground in MASK (white) fits its scene.

    Without MASK the composite's alpha channel is used. For a batch, COMPOSITE and MASK are folders or quoted globs, paired
    by name (a mask may end in _mask), and the output is a folder; a batch started again skips what is done, and makes anew
    what other options, another model or changed files would make otherwise.
    """
    for name, value, most in (("strength", strength, 2), ("caution", caution, 1)):
        if value is not None and not 0 <= value <= most:
            raise RaihaError(f"The {name} is {value:g}; give a number from 0 to {most}.")
    jobs, batch = find_jobs(composite, mask, output, attention)
    if not batch:
        _check_single(jobs[0])
    from ..harmonizer import Harmonizer
    from ..inputs import reference_picture

    harmonizer = Harmonizer(model, device)
    index = _open_index(directory, device)
    options = Options(model, references, functools.cache(reference_picture), directory, top_k, strength, caution, resize_mask)
    try:
        if batch:
            return run_batch(harmonizer, index, jobs, options, overwrite, as_json)
        row = run_job(harmonizer, index, jobs[0], options)
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


def run_job(harmonizer: Harmonizer, index: ReferenceIndex | None, job: Job, options: Options) -> dict[str, Any]:
    """Harmonise one picture and write what was asked for; returns what `--json` prints.

    Raises:
        RaihaError: any mistake with one of its files; nothing half-written is left.
    """
    import torch

    from ..image import alpha_mask, check_output, fit_mask, read_image, read_mask, write_image
    from ..inputs import reference_picture

    started = time.monotonic()
    check_output(job.output)
    picture = read_image(job.composite)
    raw = alpha_mask(picture) if job.mask is None else read_mask(job.mask)
    mask = fit_mask(raw, picture.size, options.resize_mask)
    names: list[dict[str, Any]] = [{"path": str(path)} for path in options.references]
    retrieved: Sequence[Reference] = ()
    notices: Sequence[str] = ()
    if index is not None:
        found = index.retrieve(picture.rgb_tensor(), torch.from_numpy(mask)[None, None], options.top_k, query_path=job.composite)
        names += [{"path": str(r.path), "content": r.content, "illumination": r.illumination} for r in found]
        retrieved, notices = found, found.notices
    # Read here, since harmonising and drawing the attention both want them.
    references = [*map(options.read, options.references), *map(reference_picture, retrieved)]
    result = harmonizer.harmonize(
        picture, mask, references, strength=options.strength, caution=options.caution, attention=job.attention is not None
    )
    write_image(job.output, result.image)
    row: dict[str, Any] = {"composite": str(job.composite), "mask": str(job.mask) if job.mask else None, "output": str(job.output)}
    if job.attention is not None:
        _write_attention(job.attention, result, picture, mask, references, [Path(n["path"]).name for n in names])
        row["attention"] = str(job.attention)
    return row | {"references": names, "notices": list(notices), "seconds": round(time.monotonic() - started, 3)}


def _write_attention(path: Path, result: Any, picture: Any, mask: Any, references: list[Picture], labels: list[str]) -> None:
    from ..attention import render_attention
    from ..image import atomically, check_output

    if not result.attention:
        raise RaihaError("This model gives no attention; leave --attention out.")
    drawn = render_attention(result.attention[0], picture, mask, references, box=result.transform[0].box, labels=labels)
    atomically(check_output(path), lambda part: drawn.save(part))


def run_batch(
    harmonizer: Harmonizer, index: ReferenceIndex | None, jobs: list[Job], options: Options, overwrite: bool, as_json: bool
) -> int:
    """Harmonise many pictures, going on after bad ones; returns 0, or 2 where any failed."""
    from tqdm import tqdm

    rows, failures, skipped = [], [], 0
    records, shared = Records(), options.made_of()
    for job in tqdm(jobs, desc="harmonise", unit="picture", disable=None):
        # Taken before the files are read, so that one that changes meanwhile is read again next time.
        made_of = digest([shared, stamp(job.composite), stamp(job.mask) if job.mask else None])
        if not overwrite and records.have(job.written, made_of):
            skipped += 1
            continue
        try:
            job.output.parent.mkdir(parents=True, exist_ok=True)
            if job.attention is not None:
                job.attention.parent.mkdir(parents=True, exist_ok=True)
            rows.append(run_job(harmonizer, index, job, options))
            records.add(job.written, made_of)
        except RaihaError as error:
            failures.append({"composite": str(job.composite), "error": str(error)})
        except Exception as error:  # whatever one file does, the rest of the batch is not lost
            failures.append(
                {"composite": str(job.composite), "error": f"unexpected {type(error).__name__}: {str(error).partition(chr(10))[0]}"}
            )
    if as_json:
        click.echo(json.dumps({"results": rows, "skipped": skipped, "failures": failures}))
    else:
        for notice in dict.fromkeys(n for row in rows for n in row["notices"]):
            click.echo(f"raiha: {notice}", err=True)
        click.echo(f"{len(rows)} harmonised, {skipped} already done, {len(failures)} failed")
    for failure in failures:
        click.echo(f"raiha: {failure['composite']}: {failure['error']}", err=True)
    return 2 if failures else 0
