"""What of a clip is done, in a folder beside the result, so that a command that was stopped goes on where it was.

It holds the predictions, one record after the other, and the segments that are encoded. It is bound to what it was made of, and
goes when the result is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from ..errors import RaihaError
from ..harmonizer import PlacedTransform
from ..image import Box
from ..models.base import AffineMap
from ..models.guided import LocalColours
from .encode import Segment
from .mixing import linear_part

_KINDS = {"affine": AffineMap, "local": LocalColours}


class WorkFolder:
    """The folder of one result.

    Args:
        output: the result to be.
        made_of: a digest of everything that decides what is in it; what was made of something else is thrown away.

    Raises:
        RaihaError: another process makes the same result, or the folder cannot be written.
    """

    def __init__(self, output: Path, made_of: str):
        self.path = output.with_name(f".{output.name}.raiha-clip")
        try:
            self.path.mkdir(exist_ok=True)
            self._lock = FileLock(self.path / "lock")
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RaihaError(f"{output} is being made by another process; wait for it, or choose another output.") from None
        except OSError as error:
            raise RaihaError(f"The folder {output.parent} cannot be written ({error.strerror or error}); choose another output.") from None
        told = self.path / "made_of"
        if not told.is_file() or told.read_text(encoding="utf-8", errors="replace") != made_of:
            self.empty()
            told.write_text(made_of, encoding="utf-8")

    def empty(self) -> None:
        """Throw away what is done."""
        for entry in self.path.iterdir():
            if entry.name != "lock":
                entry.unlink()

    def segments(self) -> list[Segment]:
        """Those that are encoded, without a gap from the first."""
        found: dict[int, Segment] = {}
        for path in self.path.glob("segment_*.mp4"):
            with contextlib.suppress(ValueError):
                _, number, start = path.stem.split("_")
                found[int(number)] = Segment(path, int(start))
        whole: list[Segment] = []
        while len(whole) in found:
            whole.append(found[len(whole)])
        return whole

    def segment(self, number: int, start: int) -> Path:
        """Where a segment belongs that starts at this time, in units of the clip's time base."""
        return self.path / f"segment_{number:06d}_{start}.mp4"

    def remove(self) -> None:
        """The result is there: nothing of this is needed any more."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Let others go on with it."""
        self._lock.release()


class KeptTransforms(Sequence[PlacedTransform]):
    """Transforms in a file, read when they are asked for: one record after the other, in float32.

    Args:
        folder: where they lie.
        box: the common box of all.
    """

    def __init__(self, folder: Path, box: Box):
        self._file, self._head, self._box = folder / "transforms.f32", folder / "transforms.json", box
        self._kind = ""
        self._shape: tuple[int, ...] = (0,)
        with contextlib.suppress(OSError, ValueError, KeyError):
            head = json.loads(self._head.read_text(encoding="utf-8"))
            if head["kind"] in _KINDS and head["box"] == list(box):
                self._kind, self._shape = head["kind"], tuple(int(n) for n in head["shape"])

    @property
    def _bytes(self) -> int:
        return 4 * int(np.prod(self._shape))

    def __len__(self) -> int:
        with contextlib.suppress(OSError):
            if self._kind:
                return self._file.stat().st_size // self._bytes
        return 0

    def __getitem__(self, i: Any) -> Any:
        """Transform `i`."""
        if not 0 <= i < len(self):
            raise IndexError(i)
        record = np.fromfile(self._file, np.float32, self._bytes // 4, offset=i * self._bytes)
        matrix = torch.from_numpy(record.reshape(self._shape))
        if self._kind == "affine":
            return PlacedTransform(AffineMap(matrix), self._box)
        return PlacedTransform(LocalColours(matrix, torch.zeros(3, 1, 1)), self._box)

    def keep(self, transforms: Iterable[PlacedTransform], whole: int) -> None:
        """Write transforms behind the first `whole` ones, which are kept.

        Raises:
            RaihaError: transforms that cannot be averaged.
        """
        # One that was cut off by a kill goes.
        with open(self._file, "r+b" if whole else "wb") as file:
            file.truncate(whole * self._bytes if whole else 0)
            file.seek(0, os.SEEK_END)
            first: PlacedTransform | None = self[0] if whole else None
            for placed in transforms:
                placed = PlacedTransform(placed.transform.to("cpu"), placed.box)
                first = first or placed
                matrix = linear_part(placed, first)
                if not self._kind:
                    self._kind = next(name for name, kind in _KINDS.items() if isinstance(placed.transform, kind))
                    self._shape = tuple(matrix.shape)
                    head = {"kind": self._kind, "shape": list(self._shape), "box": list(self._box)}
                    self._head.write_text(json.dumps(head), encoding="utf-8")
                file.write(matrix.numpy().astype("<f4", copy=False).tobytes())
                file.flush()
