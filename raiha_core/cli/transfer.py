"""`raiha transfer`: the look of an edited version, at the original's size and in its detail."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from ..errors import RaihaError
from .pairing import is_batch, pair, pictures
from .quiet import without_decoders_noise

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("original")
@click.argument("version")
@click.argument("mask", required=False)
@click.option("-o", "--output", required=True, type=FILE, help="Result file; a folder for a batch.")
@click.option("--strength", default=1.0, show_default=True, help="0 gives the original back, 1 the full change.")
@click.option("--device", default=None, help="For example cpu or cuda; default cpu.")
@click.option("--resize-mask", is_flag=True, help="Scale a mask of another size.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(
    original: str,
    version: str,
    mask: str | None,
    output: Path,
    strength: float,
    device: str | None,
    resize_mask: bool,
    as_json: bool,
) -> int:
    """Give ORIGINAL the light and colour of VERSION, an edited copy of it of any size, and keep every detail of its own.

    With MASK (white) only there. For a batch all are folders or quoted globs, paired by name, and the output is a folder.
    """
    if not 0 <= strength <= 1:
        raise RaihaError(f"The strength is {strength:g}; give a number from 0 to 1.")
    jobs, batch = _jobs(original, version, mask, output)
    rows, failures = [], []
    for job in jobs:
        try:
            if batch:
                output.mkdir(parents=True, exist_ok=True)
            rows.append(run_job(*job, strength, device, resize_mask))
        except RaihaError as error:
            if not batch:
                raise
            failures.append({"original": str(job[0]), "error": str(error)})
    if as_json:
        click.echo(json.dumps({"results": rows, "failures": failures} if batch else rows[0]))
    else:
        for notice in dict.fromkeys(notice for row in rows for notice in row["notices"]):
            click.echo(f"raiha: {notice}", err=True)
        click.echo(f"{len(rows)} written, {len(failures)} failed" if batch else f"wrote {rows[0]['output']}")
    for failure in failures:
        click.echo(f"raiha: {failure['original']}: {failure['error']}", err=True)
    return 2 if failures else 0


Job = tuple[Path, Path, Path | None, Path]
"""Original, version, mask, result."""


def _jobs(original: str, version: str, mask: str | None, output: Path) -> tuple[list[Job], bool]:
    """What there is to do, and whether it is a batch.

    Raises:
        RaihaError: files beside folders, pictures without partners, a result that would be written over an input.
    """
    from ..image import WRITABLE

    given = [text for text in (original, version, mask) if text is not None]
    batch = is_batch(original)
    if any(is_batch(text) != batch for text in given):
        raise RaihaError("Some are files and some are folders or globs; give all as files, or all as folders.")
    if batch and (output.is_file() or output.suffix.lower() in WRITABLE):
        raise RaihaError(f"The output {output} is a file name, but a batch needs a folder; give a folder.")
    if batch:
        originals, _ = pictures(original)
        versions = _partners(originals, version)
        masks = _partners(originals, mask) if mask else {}
        names = {o: o.name if o.suffix.lower() in WRITABLE else f"{o.stem}.png" for o in originals}
        jobs: list[Job] = [(o, versions[o], masks.get(o), output / names[o]) for o in originals]
    else:
        jobs = [(Path(original), Path(version), Path(mask) if mask else None, output)]
    inputs = {p.resolve() for o, v, m, _ in jobs for p in (o, v, m) if p is not None}
    for *_, result in jobs:
        if result.resolve() in inputs:
            raise RaihaError(f"{result} is an input and would be overwritten; choose another output.")
    return jobs, batch


def _partners(originals: list[Path], given: str) -> dict[Path, Path]:
    """The file of each original's name.

    Raises:
        RaihaError: one has none, or several.
    """
    found, failures = pair(originals, pictures(given)[0])
    if failures:
        raise RaihaError(f"{failures[0][0].name} has no partner, or several, in {given}; give the files of one picture one name.")
    return dict(found)


def run_job(
    original: Path, version: Path, mask: Path | None, output: Path, strength: float, device: str | None, resize_mask: bool
) -> dict[str, Any]:
    """Transfer one look and write the result; returns what `--json` prints.

    Raises:
        RaihaError: any mistake with one of its files; nothing half-written is left.
    """
    import numpy as np

    from ..image import check_output, read_image, write_image
    from ..image.masks import FittedMask, read_noted_mask
    from ..transfer import apply_look, fit_look, fit_region
    from ..unchanged import visibly_changed

    started = time.monotonic()
    check_output(output)
    with without_decoders_noise():
        picture, edited = read_image(original), read_image(version)
        region = FittedMask(np.ones(picture.size, np.float32))
        if mask is not None:
            region = fit_region(read_noted_mask(mask), picture, resize_mask)
    look = fit_look(picture, edited, None if mask is None else region.mask, device)
    result = apply_look(picture, look, region.mask, strength)
    write_image(output, result)
    notices = [*picture.notices, *edited.notices, *region.notices]
    changed = strength > 0 and visibly_changed(picture, result, region.mask)
    if strength > 0 and not changed:
        notices.append("Nothing was changed that could be seen: the version looks as the original does there.")
    names = {"original": str(original), "version": str(version), "mask": str(mask) if mask else None, "output": str(output)}
    return names | {"changed": changed, "notices": notices, "seconds": round(time.monotonic() - started, 3)}
