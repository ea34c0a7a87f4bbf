"""Opening files by name, and nothing else that may bear a name: a pipe would wait for ever, a device never end."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading bytes; links are followed.

    Raises:
        OSError: it is not there, may not be read, or is a pipe, a socket, a device or a folder.
    """
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(None, "it is no file but a pipe, a device or a folder")
    return file


def _without_waiting(path: str, flags: int) -> int:
    # Without O_NONBLOCK the opening of a pipe waits for somebody to write into it.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
