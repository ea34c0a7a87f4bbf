"""Strips of a picture on all cores: a few threads, each of which computes on one core.

torch shares out single operations, and between two of them the cores wait for each other; with strips that fit the cache, and with
numpy in between, which uses one core, that costs more than it gains. Here each thread takes whole strips.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

T = TypeVar("T")
_MOST = 8
"""Threads; work that is bound by memory gains nothing from more."""
_PIECE = 2**20
"""Samples that are looked at in one piece: enough that threads do not wait for each other, little enough to be shared out."""
_lock = threading.Lock()


def each(work: Callable[[T], None], items: Iterable[T], limit: int | None = None) -> None:
    """Do a piece of work for every item, in any order, on as many threads as torch may use.

    Args:
        work: called with one item at a time in each thread; what it computes with torch stays on one core.
        items: independent of each other.
        limit: at most so many threads.

    Raises:
        whatever `work` raises first.
    """
    threads = min(torch.get_num_threads(), _MOST, _MOST if limit is None else limit)
    todo = list(items)
    if threads < 2 or len(todo) < 2:
        for item in todo:
            work(item)
        return
    # The results are taken, so that errors are raised here.
    for _ in _pool(os.getpid(), threads).map(work, todo):
        pass


def by_rows(look: Callable[[NDArray[Any]], NDArray[Any]], array: NDArray[Any]) -> NDArray[Any]:
    """What is found in every row of an array, by pieces on all cores.

    Args:
        look: from some rows `(n, ...)` to what is found in them, `(n, ...)`.
        array: at least one row.
    """
    step = max(1, _PIECE // max(1, array[0].size))
    pieces: dict[int, NDArray[Any]] = {}

    def piece(top: int) -> None:
        pieces[top] = look(array[top : top + step])

    each(piece, range(0, len(array), step))
    return np.concatenate([pieces[top] for top in sorted(pieces)])


def extremes(array: NDArray[Any]) -> tuple[float, float]:
    """The least and the highest value; NaN where one is among them. The array is not empty."""
    found = by_rows(lambda rows: np.array([[rows.min(), rows.max()]]), array)
    return float(found[:, 0].min()), float(found[:, 1].max())


@functools.cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """The threads of this process; another process, forked from it, has none of them and makes its own."""
    with _lock:
        before, started = torch.get_num_threads(), threading.Barrier(threads + 1)

        def start() -> None:
            torch.get_num_threads()  # a thread's first question sets it up, and would undo the next line later
            torch.set_num_threads(1)
            started.wait()

        pool = ThreadPoolExecutor(threads, "raiha", start)
        for _ in range(threads):
            pool.submit(lambda: None)
        started.wait()
        # torch has noted the number for threads to come, too: that was not meant.
        torch.set_num_threads(before)
        return pool
