"""Milvus: for galleries that outgrow one machine; a cluster by its address, or embedded in a file (milvus-lite)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import RaihaError
from ..manifest import damaged
from .base import Access, State, Vector, VectorSource, VectorStore

if TYPE_CHECKING:
    from pymilvus import MilvusClient  # type: ignore[import-untyped]

EMBEDDED = "milvus.db"
_BATCH = 1000
TOKEN_VARIABLE = "RAIHA_MILVUS_TOKEN"
ADDRESS_VARIABLE = "RAIHA_MILVUS_URI"
# The embedded server takes pymilvus' ping every 10 s for an attack and says so on stderr (GOAWAY); it is on this machine anyway.
_QUIET = {"grpc.keepalive_time_ms": 3_600_000, "grpc.keepalive_permit_without_calls": False}


class MilvusStore(VectorStore):
    """Regions in one Milvus collection with two vector fields, `content` (cosine) and `illumination` (Euclidean).

    Rows are upserted by region, so a repeated or interrupted write leaves no duplicates, and every commit of a build is
    searchable at once. Both fields are searched together: `hybrid_search` with a `WeightedRanker`.

    An index may come from a stranger: only an address that the user named is connected to, and sent the token.

    Args:
        options: `uri` of a cluster (none: embedded, in the index folder), `collection`: its name.
        access: address and token; default: the environment variables RAIHA_MILVUS_URI (several: separated by blanks) and
            RAIHA_MILVUS_TOKEN.
    """

    kind: ClassVar[str] = "milvus"
    hybrid: ClassVar[bool] = True

    def __init__(self, directory: Path, dim: int, light_dim: int, options: dict[str, Any], access: Access, tag: str = ""):
        super().__init__(directory, dim, light_dim, options, tag)
        self.remote = bool(options.get("uri"))
        self.uri = str(options["uri"]) if self.remote else str(directory.resolve() / EMBEDDED)
        self.collection = str(options.get("collection", "raiha"))
        self._access = access
        self._client: MilvusClient | None = None

    @property
    def exclusive(self) -> bool:  # type: ignore[override]
        """The embedded Milvus lets only one client in."""
        return not self.remote

    @property
    def client(self) -> MilvusClient:
        """The connection, made on first use.

        Raises:
            RaihaError: the user did not name the server, pymilvus is not installed, or the server does not answer.
        """
        if self._client is None:
            options: dict[str, Any] = {"grpc_options": _QUIET}
            if self.remote:
                if self.uri not in (*self._access.named, *os.environ.get(ADDRESS_VARIABLE, "").split()):
                    raise RaihaError(
                        f"the index at {self.directory} keeps its vectors on the server {self.uri}, which you have not named: if you "
                        f"trust it, set {ADDRESS_VARIABLE}={self.uri}"
                    )
                token = self._access.token if self._access.token is not None else os.environ.get(TOKEN_VARIABLE, "")
                options = {"token": token}
            try:
                from pymilvus import MilvusClient, MilvusException
            except ImportError:
                raise RaihaError("the index keeps its vectors in Milvus, which needs pymilvus: pip install 'raiha[milvus]'") from None
            try:
                self._client = MilvusClient(self.uri, **options)
            except (MilvusException, OSError, ValueError, ModuleNotFoundError) as error:
                raise RaihaError(
                    f"cannot reach Milvus at {self.uri} ({_first_line(error)}): check the address, the token and the network"
                ) from error
        return self._client

    def publish(self, source: VectorSource, state: State | None, *, revision: int, final: bool) -> State | None:
        """See `VectorStore.publish`: upserts what is new, deletes what is gone."""
        if state is None:
            if self.client.has_collection(self.collection):
                self.client.drop_collection(self.collection)
            self._create()
        last = int(state["last"]) if state else 0
        removed = source.removed()
        for start in range(0, len(removed), _BATCH):
            self.client.delete(self.collection, ids=removed[start : start + _BATCH])
        for rows in source.rows(after=last, batch=_BATCH):
            data = [
                {"id": int(i), "content": content.tolist(), "illumination": light.tolist()}
                for i, content, light in zip(rows.ids, rows.content, rows.illumination, strict=True)
            ]
            self.client.upsert(self.collection, data)
            last = int(rows.ids[-1])
        if removed:
            source.forget_removed()
        if final:
            self.client.flush(self.collection)
        return {"collection": self.collection, "last": last, "count": source.count()}

    def _create(self) -> None:
        from pymilvus import DataType

        schema = self.client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("content", DataType.FLOAT_VECTOR, dim=self.dim)
        schema.add_field("illumination", DataType.FLOAT_VECTOR, dim=self.light_dim)
        indexes = self.client.prepare_index_params()
        indexes.add_index("content", index_type="AUTOINDEX", metric_type="COSINE")
        indexes.add_index("illumination", index_type="AUTOINDEX", metric_type="L2")
        self.client.create_collection(self.collection, schema=schema, index_params=indexes)

    def load(self, source: VectorSource, state: State | None) -> None:
        """See `VectorStore.load`."""
        if state is None:
            return
        problems = self.check(state)
        if problems:
            raise damaged(self.directory, problems[0])
        self.client.load_collection(self.collection)

    def search(self, content: Vector, illumination: Vector | None, weight: float, limit: int) -> NDArray[np.int64]:
        """See `VectorStore.search`: hybrid, unless there is nothing to weigh."""
        from pymilvus import AnnSearchRequest, WeightedRanker

        if not self.client.has_collection(self.collection):
            return np.zeros(0, np.int64)
        limit = min(limit, 16384)  # Milvus' own bound.
        if illumination is None or weight <= 0:
            hits = self.client.search(self.collection, [content.tolist()], anns_field="content", limit=limit, output_fields=["id"])
        else:
            requests = [
                AnnSearchRequest(data=[content.tolist()], anns_field="content", param={"metric_type": "COSINE"}, limit=limit),
                AnnSearchRequest(data=[illumination.tolist()], anns_field="illumination", param={"metric_type": "L2"}, limit=limit),
            ]
            ranker = WeightedRanker(1 - weight, weight)
            hits = self.client.hybrid_search(self.collection, requests, ranker, limit=limit, output_fields=["id"])
        return np.array([hit["id"] for hit in hits[0]], np.int64)

    def check(self, state: State | None, *, thorough: bool = False) -> list[str]:
        """See `VectorStore.check`: the collection is there and holds as many rows as it should."""
        if state is None:
            return []
        if type(state.get("last")) is not int or not self.client.has_collection(self.collection):
            return [f"Milvus at {self.uri} has no collection {self.collection!r}"]
        if thorough:
            found = self.client.query(self.collection, output_fields=["count(*)"])[0]["count(*)"]
            if found != state.get("count"):
                return [f"Milvus at {self.uri} holds {found} vectors instead of {state.get('count')}"]
        return []

    def collect_garbage(self, keep: list[State | None]) -> None:
        """See `VectorStore.collect_garbage`: there is only the one collection."""

    def destroy(self) -> None:
        """See `VectorStore.destroy`: drops the collection."""
        if self.client.has_collection(self.collection):
            self.client.drop_collection(self.collection)

    def close(self) -> None:
        """See `VectorStore.close`."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def describe(self) -> str:
        """Kind of search in a few words."""
        where = self.uri if self.remote else "embedded"
        return f"Milvus ({where}), hybrid search of content and illumination"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
