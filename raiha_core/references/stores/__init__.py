"""Vector stores: FAISS in a file beside the catalogue, Milvus, or PostgreSQL with pgvector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import RaihaError
from .base import Access, State, VectorRows, VectorSource, VectorStore

__all__ = ["Access", "State", "VectorRows", "VectorSource", "VectorStore", "create_store", "parse_store"]


def parse_store(text: str) -> tuple[str, dict[str, Any]]:
    """Kind and options of a store from what the user wrote: `faiss`, `milvus` (embedded), `milvus:URI`, or `pgvector:URI`.

    Raises:
        RaihaError: there is no such store.
    """
    kind, _, uri = text.partition(":")
    if kind == "faiss" and not uri:
        return "faiss", {}
    if kind == "milvus":
        return "milvus", {"uri": uri} if uri else {}
    if kind == "pgvector":
        from .pgvector import check_address

        return "pgvector", {"uri": check_address(uri)}
    raise RaihaError(f"unknown vector store {text!r}: use faiss, milvus (embedded), milvus:URI or pgvector:postgresql://USER@HOST/DATABASE")


def create_store(
    kind: str, directory: Path, dim: int, light_dim: int, options: dict[str, Any], access: Access | None = None, tag: str = ""
) -> VectorStore:
    """A store of some kind; nothing is opened yet.

    Args:
        access: what the user gave for servers; never written to the index.
        tag: what the names of files of this index carry.
    """
    if kind == "faiss":
        from .faiss_store import FaissStore

        return FaissStore(directory, dim, light_dim, options, tag)
    if kind == "milvus":
        from .milvus import MilvusStore

        return MilvusStore(directory, dim, light_dim, options, access or Access(), tag)
    if kind == "pgvector":
        from .pgvector import PgvectorStore

        return PgvectorStore(directory, dim, light_dim, options, access or Access(), tag)
    raise RaihaError(f"the index uses an unknown vector store {kind!r}: it was made by a newer version")
