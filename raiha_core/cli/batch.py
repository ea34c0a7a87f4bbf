"""`raiha harmonize` of many pictures: while one is harmonised, the next is read and the last is written."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import RaihaError, of_system
from .harmonize import Options, made, read_inputs, run_job
from .pairing import Job, Plan, make_folder, say_left_out
from .quiet import quiet_threads
from .record import Records, digest, stamp

if TYPE_CHECKING:
    from ..harmonizer import Harmonizer
    from ..image import NotedMask, Picture
    from ..references import ReferenceIndex

_THREADS = 2
"""That read, and as many that write; also how many pictures are read ahead or wait to be written."""
_MOST = 32_000_000
"""Pixels of a picture from which on it is alone in memory."""


@dataclass
class _Batch:
    """What is the same for all pictures, and what became of those that are done."""

    harmonizer: Harmonizer
    index: ReferenceIndex | None
    options: Options
    records: Records = field(default_factory=Records)
    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def attempt(self, job: Job, work: Callable[[], Any]) -> Any:
        """What the work gives; None after a failure, which is noted: whatever one file does, the rest of the batch is not lost."""
        try:
            return work()
        except RaihaError as error:
            why = str(error)
        except Exception as error:
            why = of_system(error) or f"unexpected {type(error).__name__}: {str(error).partition(chr(10))[0]}"
        self.failures.append({"composite": str(job.composite), "error": why})
        return None

    def read(self, job: Job) -> tuple[tuple[Picture, NotedMask] | None, float]:
        """A job's pictures, None where they are large; and how long it took."""
        from ..image import check_output
        from ..image.windows import kind_of

        started = time.monotonic()
        for file in job.written:
            make_folder(file.parent)
        check_output(job.output)
        if kind_of(job.composite)[0] > _MOST:
            return None, 0.0
        return read_inputs(job, self.options), time.monotonic() - started


@dataclass
class _Writing:
    """A result on its way to the disk."""

    job: Job
    made_of: str
    row: dict[str, Any]
    written: Future[float]


def run_batch(
    harmonizer: Harmonizer, index: ReferenceIndex | None, plan: Plan[Job], options: Options, overwrite: bool, as_json: bool
) -> int:
    """Harmonise many pictures, going on after bad ones; returns 0, or 2 where any failed."""
    batch = _Batch(harmonizer, index, options)
    batch.failures += [{"composite": str(composite), "error": why} for composite, why in plan.failures]
    with quiet_threads():
        skipped = _run(batch, plan.jobs, overwrite)
    if as_json:
        left_out = [str(path) for path in plan.left_out]
        click.echo(json.dumps({"results": batch.rows, "skipped": skipped, "failures": batch.failures, "left_out": left_out}))
    else:
        _report(batch.rows, plan.left_out, skipped, len(batch.failures))
    for failure in batch.failures:
        click.echo(f"raiha: {failure['composite']}: {failure['error']}", err=True)
    return 2 if batch.failures else 0


def _run(batch: _Batch, jobs: list[Job], overwrite: bool) -> int:
    """Do the jobs that are not done already; returns how many are."""
    from tqdm import tqdm

    shared, todo, skipped, large = batch.options.made_of(), deque(jobs), 0, False
    reading: deque[tuple[Job, str, Future[Any]]] = deque()
    writing: deque[_Writing] = deque()
    with (
        ThreadPoolExecutor(_THREADS) as readers,
        ThreadPoolExecutor(_THREADS) as writers,
        tqdm(total=len(jobs), desc="harmonise", unit="picture", disable=None) as bar,
    ):

        def settle(most: int) -> None:
            while len(writing) > most:
                done = writing.popleft()
                took = batch.attempt(done.job, done.written.result)
                if took is not None:
                    batch.rows.append(done.row | {"seconds": round(done.row["seconds"] + took, 3)})
                    batch.records.add(done.job.written, done.made_of)
                bar.update()

        try:
            while todo or reading:
                while todo and len(reading) < (1 if large else _THREADS):
                    job = todo.popleft()
                    # Taken before the files are read, so that one that changes meanwhile is read again next time.
                    made_of = digest([shared, stamp(job.composite), stamp(job.mask) if job.mask else None])
                    if not overwrite and batch.records.have(job.written, made_of):
                        skipped += 1
                        bar.update()
                        continue
                    reading.append((job, made_of, readers.submit(batch.read, job)))
                if not reading:
                    break
                job, made_of, future = reading.popleft()
                inputs = batch.attempt(job, future.result)
                large = inputs is not None and inputs[0] is None
                if large:
                    settle(0)
                ready = None if inputs is None else batch.attempt(job, lambda: _harmonized(batch, job, inputs))  # noqa: B023
                if ready is None:
                    bar.update()
                    continue
                writing.append(_Writing(job, made_of, ready[0], writers.submit(_timed, ready[1])))
                settle(_THREADS)
            settle(0)
        except BaseException:  # interrupted: what waits to be read is not wanted any more
            readers.shutdown(cancel_futures=True)
            raise
    return skipped


def _harmonized(batch: _Batch, job: Job, read: tuple[Any, float]) -> tuple[dict[str, Any], Callable[[], None]]:
    inputs, took = read
    if inputs is None:
        return run_job(batch.harmonizer, batch.index, job, batch.options, copy_empty=True), lambda: None
    started = time.monotonic()
    row, write = made(batch.harmonizer, batch.index, job, batch.options, inputs, copy_empty=True)
    return row | {"seconds": took + time.monotonic() - started}, write


def _timed(write: Callable[[], None]) -> float:
    started = time.monotonic()
    write()
    return time.monotonic() - started


def _report(rows: list[dict[str, Any]], left_out: list[Path], skipped: int, failed: int) -> None:
    """Say how a batch went: each notice once, with how many pictures it is true of."""
    pictures: dict[str, list[str]] = {}
    for row in rows:
        name = Path(row["composite"]).name
        for notice in row["notices"]:
            pictures.setdefault(notice.replace(row["composite"], name), []).append(name)
    for notice, names in pictures.items():
        where = names[0] if len(names) == 1 else f"{len(names)} pictures, the first {names[0]}"
        click.echo(f"raiha: {notice if names[0] in notice else f'{where}: {notice}'}", err=True)
    say_left_out(left_out, "that are no composites of known kinds or masks of none")
    copied = sum(bool(row.get("copied")) for row in rows)
    also = f", {copied} without foreground copied" if copied else ""
    click.echo(f"{len(rows) - copied} harmonised{also}, {skipped} already done, {failed} failed")
