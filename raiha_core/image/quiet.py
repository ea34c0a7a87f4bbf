"""Reading pictures without the decoders' warnings, in any number of threads.

`warnings.catch_warnings` is of no use there: it saves and restores the filters of the whole process, so that two threads
whose turns overlap leave everything silenced for good.
"""

from __future__ import annotations

import contextlib
import re
import threading
import warnings
from collections.abc import Iterator
from typing import Any

_lock = threading.Lock()
_readers = 0
# Only warnings that are raised within Pillow and tifffile; all others of the process go their way.
_FILTER: Any = ("ignore", None, Warning, re.compile(r"(PIL|tifffile)\b"), 0)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ignore what decoders warn of while anybody reads; afterwards the process's filters are as they were."""
    global _readers
    with _lock:
        _readers += 1
        if _FILTER not in warnings.filters:
            warnings.filters.insert(0, _FILTER)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0:
                with contextlib.suppress(ValueError):
                    warnings.filters.remove(_FILTER)  # type: ignore[attr-defined]
