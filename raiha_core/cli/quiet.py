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


@contextlib.contextmanager
def quiet_threads() -> Iterator[None]:
    """As `without_decoders_noise`, for work in several threads, in which that may be used, too; what Python prints is shown."""
    shown = sys.stderr
    own = None
    with contextlib.suppress(OSError, AttributeError, ValueError):
        if sys.stderr.fileno() == 2:
            own = shown = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors=sys.stderr.errors)
    try:
        with without_decoders_noise(), contextlib.redirect_stderr(shown):
            yield
    finally:
        if own is not None:
            own.close()
