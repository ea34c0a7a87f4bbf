"""`raiha transfer`: the look of an edited version, at the original's size and in its detail."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import click

from ..errors import EmptyMaskError, RaihaError
from .pairing import Plan, check_results, is_batch, make_folder, pair, pictures, require_folder, result_name, say_left_out
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
    plan = _plan(original, version, mask, output)
    rows: list[dict[str, Any]] = []
    failures = [{"original": str(path), "error": why} for path, why in plan.failures]
    for job in plan.jobs:
        try:
            if plan.batch:
                make_folder(output)
            rows.append(run_job(job, strength, device, resize_mask, copy_empty=plan.batch))
        except RaihaError as error:
            if not plan.batch:
                raise
            failures.append({"original": str(job.original), "error": str(error)})
    if as_json:
        left_out = [str(path) for path in plan.left_out]
        click.echo(json.dumps({"results": rows, "failures": failures, "left_out": left_out} if plan.batch else rows[0]))
    else:
        for notice in dict.fromkeys(notice for row in rows for notice in row["notices"]):
            click.echo(f"raiha: {notice}", err=True)
        say_left_out(plan.left_out, "that are no pictures of known kinds or belong to no original")
        click.echo(f"{len(rows)} written, {len(failures)} failed" if plan.batch else f"wrote {rows[0]['output']}")
    for failure in failures:
        click.echo(f"raiha: {failure['original']}: {failure['error']}", err=True)
    return 2 if failures else 0


class TransferJob(NamedTuple):
    """One look to transfer; `mask` None means the whole picture."""

    original: Path
    version: Path
    mask: Path | None
    output: Path


def _plan(original: str, version: str, mask: str | None, output: Path) -> Plan[TransferJob]:
    """What there is to do.

    Raises:
        RaihaError: files beside folders, a batch in which nothing can be done, a result that would be written over an input.
    """
    given = [text for text in (original, version, mask) if text is not None]
    batch = is_batch(original)
    if any(is_batch(text) != batch for text in given):
        raise RaihaError("Some are files and some are folders or globs; give all as files, or all as folders.")
    if batch:
        require_folder(output)
        plan = _batch(original, version, mask, output)
    else:
        plan = Plan([TransferJob(Path(original), Path(version), Path(mask) if mask else None, output)])
    check_results([j.output for j in plan.jobs], [p for j in plan.jobs for p in (j.original, j.version, j.mask) if p is not None])
    return plan


def _batch(original: str, version: str, mask: str | None, output: Path) -> Plan[TransferJob]:
    originals, left_out = pictures(original)
    partners: list[dict[Path, Path]] = []
    failures: dict[Path, str] = {}
    for given in (version, mask):
        if given is None:
            continue
        files, other = pictures(given)
        pairs, without = pair(originals, files)
        partners.append(dict(pairs))
        for path, _ in without:
            failures.setdefault(path, f"{path.name} has no partner, or several, in {given}; give the files of one picture one name.")
        left_out += [*other, *(set(files) - {p for _, p in pairs} - set(originals))]
    whole = [o for o in originals if o not in failures]
    if not whole:
        more = f" So it is with all {len(failures)} originals." if len(failures) > 1 else ""
        raise RaihaError(next(iter(failures.values())) + more)
    jobs = [TransferJob(o, partners[0][o], partners[1][o] if mask else None, output / result_name(o)) for o in whole]
    return Plan(jobs, True, list(failures.items()), sorted(set(left_out)))


def run_job(job: TransferJob, strength: float, device: str | None, resize_mask: bool, copy_empty: bool = False) -> dict[str, Any]:
    """Transfer one look and write the result; returns what `--json` prints.

    Args:
        copy_empty: write an original with an empty mask as it is, so that a sequence of frames stays whole.

    Raises:
        RaihaError: any mistake with one of its files; nothing half-written is left.
    """
    import numpy as np

    from ..image import check_output, read_image, write_image
    from ..image.masks import FittedMask, read_noted_mask
    from ..transfer import apply_look, fit_look, fit_region
    from ..unchanged import visibly_changed

    started, (original, version, mask, output) = time.monotonic(), job
    check_output(output)
    row: dict[str, Any] = {"original": str(original), "version": str(version), "mask": str(mask) if mask else None, "output": str(output)}
    with without_decoders_noise():
        picture, edited = read_image(original), read_image(version)
        region = FittedMask(np.ones(picture.size, np.float32))
        if mask is not None:
            try:
                region = fit_region(read_noted_mask(mask), picture, resize_mask)
            except EmptyMaskError:
                if not copy_empty:
                    raise
                write_image(output, picture)
                row |= {"changed": False, "copied": True, "notices": [f"{original.name} has an empty mask and was copied as it is."]}
                return row | {"seconds": round(time.monotonic() - started, 3)}
    look = fit_look(picture, edited, None if mask is None else region.mask, device)
    result = apply_look(picture, look, region.mask, strength)
    write_image(output, result)
    notices = [*picture.notices, *edited.notices, *region.notices]
    changed = strength > 0 and visibly_changed(picture, result, region.mask)
    if strength > 0 and not changed:
        notices.append("Nothing was changed that could be seen: the version looks as the original does there.")
    return row | {"changed": changed, "notices": notices, "seconds": round(time.monotonic() - started, 3)}
