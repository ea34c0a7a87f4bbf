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
    # Without O_NONBLOCK the opening of a pipe waits for somebody to write into it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(None, "it is no file but a pipe, a device or a folder")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
