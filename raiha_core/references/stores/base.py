"""What every vector store is: vectors of regions in, the nearest rows out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
State = dict[str, Any]


@dataclass(frozen=True)
class VectorRows:
    """Some regions: `ids` (N,) int64, `content` (N, D) float32 unit length, `illumination` (N, E) float32 of their photos."""

    ids: NDArray[np.int64]
    content: Vector
    illumination: Vector


class VectorSource(Protocol):
    """Where a store takes its vectors from: the catalogue."""

    def count(self, after: int = 0) -> int:
        """Number of regions with an id greater than `after`."""

    def rows(self, after: int = 0, batch: int = 8192, light: bool = True) -> Iterator[VectorRows]:
        """The regions with an id greater than `after`, by id; without `light`, their illumination has no columns."""

    def removed(self) -> list[int]:
        """Ids deleted since `forget_removed`."""

    def forget_removed(self) -> None:
        """The store holds none of them any more."""


@dataclass(frozen=True)
class Access:
    """What the user gave for servers: nothing of it comes from an index, nor is written into one.

    Attributes:
        token: access token or password; None takes it from the environment.
        named: addresses that the user named in this call; the environment may name more. No other is connected to.
    """

    token: str | None = None
    named: tuple[str, ...] = ()


class VectorStore(ABC):
    """Vectors of regions, searchable.

    A store is derived from a source and can always be made again from it. Its *state*, a small JSON object kept in the
    manifest, names what is published: whoever opens the store with an older state still finds what that state promised,
    apart from deleted regions.

    Args:
        directory: the index folder.
        dim: D, length of content vectors.
        light_dim: E, length of illumination descriptors.
        options: what the user chose, from the manifest; JSON.
        tag: what the names of files of this index carry.
    """

    kind: ClassVar[str]
    exclusive: ClassVar[bool] = False
    """Whether nobody may have it open while it is written."""
    hybrid: ClassVar[bool] = False
    """Whether `search` weighs the illumination in; others order by content alone."""

    def __init__(self, directory: Path, dim: int, light_dim: int, options: dict[str, Any], tag: str = ""):
        self.directory = directory
        self.dim = dim
        self.light_dim = light_dim
        self.options = options
        self.tag = tag

    @abstractmethod
    def publish(self, source: VectorSource, state: State | None, *, revision: int, final: bool) -> State | None:
        """Bring what is published up to date with the source; returns the new state for the manifest.

        Args:
            source: all regions.
            state: what is published now; None for nothing.
            revision: number of this write, for names.
            final: False in the midst of a build, where a store may leave new rows for later if `load` finds them.
        """

    @abstractmethod
    def load(self, source: VectorSource, state: State | None) -> None:
        """Open what a state names, together with rows of the source that came after it.

        Raises:
            RaihaError: it cannot be reached, or is damaged.
        """

    @abstractmethod
    def search(self, content: Vector, illumination: Vector | None, weight: float, limit: int) -> NDArray[np.int64]:
        """Ids of promising regions, best first; deleted ones may be among them.

        Args:
            content: (D,) unit length.
            illumination: (E,), or None to search by content alone. A store without a second field ignores it: the
                caller re-ranks what it gets.
            weight: share of the illumination in [0, 1], for stores that search both at once.
            limit: how many, at most.
        """

    @abstractmethod
    def check(self, state: State | None, *, thorough: bool = False) -> list[str]:
        """Problems of what a state names, as sentences; empty if all is well; `thorough` also reads all of it."""

    @abstractmethod
    def collect_garbage(self, keep: list[State | None]) -> None:
        """Delete what neither of these states names."""

    @abstractmethod
    def destroy(self) -> None:
        """Delete everything the store keeps outside the index folder."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections."""

    def describe(self) -> str:
        """Kind of search in a few words, for `info`."""
        return self.kind
