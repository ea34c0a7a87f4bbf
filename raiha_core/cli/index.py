"""`raiha index`: build, change, inspect and verify reference indexes."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from ..errors import RaihaError

_DIRECTORY = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
_WAIT = click.option("--wait", default=10.0, show_default=True, help="Seconds to wait while another process writes the index.")
_ALLOW_EMPTY = click.option("--allow-empty", is_flag=True, help="Believe it where most photos of a gallery are gone.")
_DEVICE = click.option("--device", default=None, help="Where the encoder runs, for example cpu or cuda.")


@click.group()
def command() -> None:
    """Build, update, inspect and verify reference indexes."""


@command.command()
@_DIRECTORY
@click.argument("gallery", nargs=-1, type=click.Path(path_type=Path))
@click.option("--encoder", default=None, help="embedded (default), open_clip:MODEL/TAG or dinov2:MODEL.")
@click.option("--store", default="faiss", show_default=True, help="faiss, milvus (embedded), milvus:URI or pgvector:URI.")
@click.option("--rebuild", is_flag=True, help="Make an existing index anew; it is replaced when the new one is done.")
@click.option("--workers", type=click.IntRange(1), default=None, help="Threads that read files.")
@click.option("--cluster", default=None, help="'local', or the address of a Ray cluster that sees the gallery.")
@click.option("--ignore", multiple=True, help="Leave out what fits this pattern, as in .gitignore; may be repeated, '' for nothing.")
@click.option("--follow-links/--no-follow-links", default=None, help="Whether links may lead out of GALLERY; remembered, at first not.")
@_ALLOW_EMPTY
@_DEVICE
@_WAIT
@_JSON
def build(
    directory: Path,
    gallery: tuple[Path, ...],
    encoder: str | None,
    store: str,
    rebuild: bool,
    workers: int | None,
    cluster: str | None,
    ignore: tuple[str, ...],
    follow_links: bool | None,
    allow_empty: bool,
    device: str | None,
    wait: float,
    as_json: bool,
) -> None:
    """Build the index DIR of the photos in GALLERY..., or bring it up to date.

    An existing index remembers its galleries, so that without GALLERY only changes are read. After an interruption the
    same command goes on where it stopped.
    """
    from ..references import ReferenceIndex, manifest

    if gallery or rebuild:
        if not gallery:
            raise RaihaError("--rebuild needs to know the gallery: name its folder after the index")
        if encoder is None:
            encoder = "embedded"
            with contextlib.suppress(manifest.OlderFormat):
                encoder = manifest.load(directory).encoder.id if manifest.exists(directory) and not rebuild else encoder
        with _progress(as_json) as progress:
            index = ReferenceIndex.build(
                list(gallery), directory, encoder, store=store, device=device, progress=progress, wait=wait, rebuild=rebuild,
                workers=workers, cluster=cluster, allow_empty=allow_empty, follow_links=follow_links, ignore=list(ignore) or None,
            )  # fmt: skip
    else:
        if ignore or follow_links is not None:
            raise RaihaError("--ignore and --follow-links belong to a gallery: name its folder after the index")
        with _progress(as_json) as progress:
            index = ReferenceIndex.updated(
                directory, encoder, device=device, progress=progress, wait=wait, workers=workers, cluster=cluster, allow_empty=allow_empty
            )
    with index:
        _report(index, as_json)


@command.command()
@_DIRECTORY
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@_DEVICE
@_WAIT
@_JSON
def add(directory: Path, paths: tuple[Path, ...], device: str | None, wait: float, as_json: bool) -> None:
    """Add folders with photos, or photos that had been removed, to the index DIR."""
    from ..references import ReferenceIndex

    with ReferenceIndex.open(directory, device=device) as index:
        with _progress(as_json) as progress:
            index.add(list(paths), progress=progress, wait=wait)
        _report(index, as_json)


@command.command()
@_DIRECTORY
@click.argument("names", nargs=-1, required=True)
@_WAIT
@_JSON
def remove(directory: Path, names: tuple[str, ...], wait: float, as_json: bool) -> None:
    """Take photos (paths or ids), folders or galleries out of the index DIR; the files stay."""
    from ..references import ReferenceIndex

    with ReferenceIndex.open(directory) as index:
        count = index.remove(list(names), wait=wait)
        if as_json:
            click.echo(json.dumps({"removed": count, "images": len(index)}))
        else:
            click.echo(f"took {count} files out; {len(index)} photos remain")


@command.command()
@_DIRECTORY
@_WAIT
@_JSON
def clean(directory: Path, wait: float, as_json: bool) -> None:
    """Delete the vectors of photos that are no more in the index DIR, kept in case they come back."""
    from ..references import ReferenceIndex

    with ReferenceIndex.open(directory) as index:
        count = index.clean(wait=wait)
        if as_json:
            click.echo(json.dumps({"deleted": count, "images": len(index)}))
        else:
            click.echo(f"deleted the vectors of {count} photos; {len(index)} photos are in the index")


@command.command()
@_DIRECTORY
@_JSON
def info(directory: Path, as_json: bool) -> None:
    """Say what the index DIR holds."""
    from ..references import ReferenceIndex

    with ReferenceIndex.open(directory) as index:
        _report(index, as_json)


@command.command()
@_DIRECTORY
@click.option("--files", is_flag=True, help="Read every photo again and compare its bytes.")
@click.option("--repair", is_flag=True, help="Restore the manifest and the vectors from the catalogue.")
@_WAIT
@_JSON
def verify(directory: Path, files: bool, repair: bool, wait: float, as_json: bool) -> int:
    """Check the index DIR and its photos; the status is 2 if the index is damaged."""
    from ..references import verify as check

    report = check(directory, files=files, repair=repair, wait=wait)
    if as_json:
        document = {key: getattr(report, key) for key in ("sound", "problems", "repaired", "missing", "changed")}
        click.echo(json.dumps({**document, "unreadable": [{"path": p, "reason": r} for p, r in report.unreadable]}))
    else:
        for label, lines in (
            ("damaged", report.problems),
            ("mended", report.repaired),
            ("vanished", report.missing),
            ("changed", report.changed),
            ("unreadable", [f"{path}: {reason}" for path, reason in report.unreadable]),
        ):
            for line in lines:
                click.echo(f"{label}: {line}")
        click.echo("the index is sound" if report.sound else "the index is damaged")
    return 0 if report.sound else 2


def _report(index: Any, as_json: bool) -> None:
    """Say what an index holds, and which files could not be read."""
    facts = dict(index.info())
    failures = index.failures()
    if as_json:
        click.echo(json.dumps({**facts, "failures": [{"path": str(path), "reason": reason} for path, reason in failures]}))
        return
    encoder = facts["encoder"]
    click.echo(
        f"{facts['images']} photos, {facts['regions']} regions, {facts['files']} files in {facts['index']}, {facts['bytes'] / 1e6:.1f} MB"
    )
    click.echo(f"galleries: {', '.join(facts['galleries'])}")
    click.echo(f"encoder: {encoder['id']} (weights {encoder['weights_hash'][:12]}); vectors: {facts['store']}; updated {facts['updated']}")
    if facts.get("kept"):
        click.echo(f"kept: vectors of {facts['kept']} photos that are not there any more; `raiha index clean` deletes them")
    for line in facts["left_out"]:
        click.echo(f"left out: {line}", err=True)
    for line in facts["not_offered"]:
        click.echo(f"not offered: {line}", err=True)
    for path, reason in failures:
        click.echo(f"unreadable: {path}: {reason}", err=True)


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar with rate and time left on stderr; none for `--json` or where nobody looks."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm  # type: ignore[import-untyped]

    with tqdm(unit="photo", desc="index", file=sys.stderr, disable=False) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
