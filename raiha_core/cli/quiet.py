"""Decoders in C that write to stderr behind Python's back."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without_decoders_noise() -> Iterator[None]:
    """Keep what libtiff, libpng and their like print about odd files off stderr; what is wrong is said in our own sentence.

    The process's file descriptor is turned away, so this is for the command line alone, where nothing else is printing.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError, ValueError):  # no stderr at all
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
