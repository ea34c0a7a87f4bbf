"""Building over many machines: Ray Data reads and embeds, this process writes the catalogue."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..content.base import ContentEncoder
from ..errors import RaihaError
from .embed import Task, decode, embed
from .rows import Entry

_BATCH = 16


class ClusterEmbedder:
    """Embeds files on a Ray cluster whose machines see the gallery under the same path.

    Args:
        encoder: sent to the workers once.
        known: content hashes of photos in the index.
        address: `local` starts a cluster on this machine; otherwise the address of a running one (`auto` finds it).

    Raises:
        RaihaError: Ray is not installed, or the cluster does not answer.
    """

    def __init__(self, encoder: ContentEncoder, known: set[str], address: str):
        try:
            import ray
        except ImportError:
            raise RaihaError("building on a cluster needs Ray: pip install 'raiha[cluster]'") from None
        self.encoder = encoder
        self.known = known
        if not ray.is_initialized():
            try:
                where = None if address == "local" else address
                ray.init(address=where, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, RuntimeError, ValueError) as error:
                reason = (str(error).splitlines() or [""])[0][:160]
                raise RaihaError(f"cannot reach the Ray cluster at {address} ({reason}): check that it runs") from error

    def __call__(self, tasks: list[Task]) -> Iterator[Entry]:
        """Embed files in no particular order, as the machines finish them."""
        import ray

        if not tasks:
            return
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        machines = max(1, int(resources.get("CPU", 1)))
        rows = [{"root": t.root, "path": t.path, "file": t.file, "size": t.size, "mtime": t.mtime} for t in tasks]
        data = ray.data.from_items(rows, override_num_blocks=min(len(rows), max(machines * 4, len(rows) // 256)))
        shared = ray.put((self.encoder, frozenset(self.known)))
        embedded = data.map_batches(
            _Worker, fn_constructor_args=(shared,), batch_size=_BATCH, concurrency=(1, machines), num_cpus=1, batch_format="numpy"
        )
        for row in embedded.iter_rows():
            entry = _entry(row)
            if entry.hash is not None:
                self.known.add(entry.hash)
            yield entry


class _Worker:
    """One process of the cluster with its copy of the encoder."""

    def __init__(self, shared: Any):
        import ray

        self.encoder, self.known = ray.get(shared)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        columns = zip(batch["root"], batch["path"], batch["file"], batch["size"], batch["mtime"], strict=True)
        tasks = [Task(int(root), str(path), str(file), int(size), int(mtime)) for root, path, file, size, mtime in columns]
        decoded = [decode(task, self.known.__contains__, self.encoder.region_side) for task in tasks]
        rows = [_row(entry) for entry in embed(decoded, self.encoder)]
        return {key: np.array([row[key] for row in rows], dtype=object if key in _BYTES else None) for key in rows[0]}


_BYTES = ("signature", "boxes", "illumination", "content", "hash", "error", "path", "kind")


def _row(entry: Entry) -> dict[str, Any]:
    """An entry as plain columns; vectors as bytes, absent ones empty."""
    light = b"" if entry.illumination is None else entry.illumination.astype(np.float32).tobytes()
    content = b"" if entry.content is None else entry.content.astype(np.float32).tobytes()
    return {
        **{key: getattr(entry, key) for key in ("root", "path", "size", "mtime", "width", "height", "signature", "kind")},
        "hash": entry.hash or "",
        "error": entry.error or "",
        "illumination": light,
        "content": content,
        "boxes": np.array(entry.boxes, np.float64).tobytes(),
        "regions": 0 if entry.content is None else len(entry.content),
    }


def _entry(row: dict[str, Any]) -> Entry:
    content = np.frombuffer(row["content"], np.float32).reshape(row["regions"], -1) if row["regions"] else None
    boxes = tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in np.frombuffer(row["boxes"], np.float64).reshape(-1, 4).tolist())
    light = np.frombuffer(row["illumination"], np.float32) if row["illumination"] else None
    return Entry(
        int(row["root"]), str(row["path"]), int(row["size"]), int(row["mtime"]), row["hash"] or None, row["error"] or None,
        int(row["width"]), int(row["height"]), bytes(row["signature"]), light, content, str(row["kind"]), boxes,
    )  # fmt: skip
