"""One writer at a time, across processes; readers never wait."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from ..errors import RaihaError

NAME = "writer.lock"
_WHO = "writer.json"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def writing(directory: Path, wait: float) -> Iterator[None]:
    """Hold the index's write lock; the system frees it when the process ends, however it ends.

    Args:
        directory: the index folder, which exists.
        wait: how many seconds to wait for another writer.

    Raises:
        RaihaError: another process still writes after `wait` seconds; says which one. Or the disk is full, or the like.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(directory / NAME)
    try:
        lock.acquire(timeout=max(0.0, wait))
    except Timeout:
        raise RaihaError(f"the index at {directory} is being written by {_who(directory)}: wait until it is done, or stop it") from None
    except OSError as error:
        raise cannot_write(directory, error) from error
    try:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        # Not durable on purpose, and not needed: it only serves the sentence above.
        with contextlib.suppress(OSError):
            (directory / _WHO).write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now}))
        yield
    finally:
        with contextlib.suppress(OSError):
            (directory / _WHO).unlink(missing_ok=True)
        lock.release()


@contextlib.contextmanager
def explained(directory: Path) -> Iterator[None]:
    """Say in a sentence why the files of an index could not be written.

    Raises:
        RaihaError: instead of an OSError, or of what FAISS makes of one, in the body.
    """
    try:
        yield
    except OSError as error:
        raise cannot_write(directory, error) from error


def cannot_write(directory: Path, error: OSError) -> RaihaError:
    """The sentence for an index whose files cannot be written."""
    if error.errno in _FULL:
        return RaihaError(
            f"the index at {directory} cannot be written, since the disk is full: make room and start again; what was done stays"
        )
    return RaihaError(f"cannot write to the index folder {directory}: {error.strerror or error}; check that it may be written")


def _who(directory: Path) -> str:
    try:
        who = json.loads((directory / _WHO).read_text())
        return f"process {who['pid']} on {who['host']} since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
