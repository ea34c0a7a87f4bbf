"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import RaihaError

_PART = re.compile(r"^\..*\.(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}\.raihapart(\.[^.]*)?$")
_FOREIGN_AGE = 7 * 86400.0
"""Seconds after which what another machine began, in a shared folder, is taken for given up."""
_INTERVAL = 60.0
"""Seconds between two looks into the same folder."""
_cleared: dict[Path, float] = {}


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A file to fill, which takes the place of `target` at the end of the block, or vanishes if the block fails.

    It lies beside the target and has its suffix. What a killed process left behind there is cleared. A symbolic link is
    followed. Raises what the block raises, and OSError.
    """
    target = Path(os.path.realpath(target))
    part = _part_of(target)
    try:
        # Exclusive creation, not tempfile: the file gets the user's usual permissions.
        with part.open("xb"):
            pass
        yield part
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """As `replacing`, for a folder to fill; where there is a `target` already it is removed just before the new one takes its place."""
    part = _part_of(target)
    try:
        part.mkdir()
        yield part
        shutil.rmtree(target, ignore_errors=True)
        os.replace(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _part_of(target: Path) -> Path:
    """Where `target` is filled: beside it, in a folder that has been cleared of what killed processes left."""
    clear(target.parent)
    return target.with_name(f".{target.stem[:40]}.{_host()}-{os.getpid()}-{secrets.token_hex(4)}.raihapart{target.suffix.lower()}")


def atomically(file: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `file`, then move it there; a symbolic link is followed.

    Raises:
        RaihaError: nothing could be written; nothing is left behind.
    """
    try:
        with replacing(file) as part:
            write(part)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        what = "the disk is full; make room" if full else f"{error.strerror or error}; choose another output path"
        raise RaihaError(f"{file} could not be written: {what} and start again.") from None
    except MemoryError:
        raise RaihaError(f"{file} could not be written: the memory ran out; scale the picture down first.") from None
    except RaihaError:
        raise
    except (ValueError, TypeError, struct.error, OverflowError) as error:  # what encoders say to metadata that they cannot hold
        raise RaihaError(f"{file} could not be written ({error}); write .png or .tif, or remove the metadata.") from None


def clear(folder: Path) -> None:
    """Remove from a folder the unfinished files and folders that no running process owns; looks seldom, since batches write much."""
    now = time.monotonic()
    if now - _cleared.get(folder, -_INTERVAL) < _INTERVAL:
        return
    _cleared[folder] = now
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            found = _PART.match(entry.name)
            if found and not entry.is_symlink() and _abandoned(entry, found["host"], int(found["pid"])):
                with contextlib.suppress(OSError):
                    if entry.is_dir():
                        shutil.rmtree(entry.path, ignore_errors=True)
                    elif entry.is_file():
                        os.unlink(entry.path)


def _abandoned(entry: os.DirEntry[str], host: str, pid: int) -> bool:
    if host != _host():
        return time.time() - entry.stat().st_mtime > _FOREIGN_AGE
    if pid == os.getpid():
        return False  # another thread's
    import psutil

    return not psutil.pid_exists(pid)


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"
