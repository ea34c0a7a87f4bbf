"""PostgreSQL with pgvector: for galleries that outgrow one machine, on a server that many have already."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import numpy as np
from numpy.typing import NDArray

from ...errors import RaihaError
from ..manifest import damaged
from .base import Access, State, Vector, VectorSource, VectorStore

if TYPE_CHECKING:
    import psycopg

ADDRESS_VARIABLE = "RAIHA_PGVECTOR_URI"
_TABLE = re.compile(r"raiha(_[0-9a-f]{12})?")
_DEEPEST = 1000
"""Of pgvector: an HNSW search keeps at most so many candidates; for more, all rows are compared."""
_LONGEST = 2000
"""Of pgvector: longer vectors cannot be indexed, and are compared one by one."""


class PgvectorStore(VectorStore):
    """Regions in one table with two vector columns, `content` (cosine) and `illumination` (Euclidean), each with an HNSW index.

    Rows are upserted by region, so a repeated or interrupted write leaves no duplicates, and every commit of a build is
    searchable at once. Candidates of both columns are joined and ordered by the score that ranking gives them.

    An index may come from a stranger: only an address that the user named is connected to. The password is the access
    token, or what libpq finds (PGPASSWORD, ~/.pgpass); addresses that hold one are refused, so that none is written down.

    Args:
        options: `uri` of the server (postgresql://user@host/database), `collection`: name of the table.
        access: address and password; more addresses: the environment variable RAIHA_PGVECTOR_URI (separated by blanks).
    """

    kind: ClassVar[str] = "pgvector"
    hybrid: ClassVar[bool] = True

    def __init__(self, directory: Path, dim: int, light_dim: int, options: dict[str, Any], access: Access, tag: str = ""):
        super().__init__(directory, dim, light_dim, options, tag)
        self.uri = str(options.get("uri", ""))
        self.table = str(options.get("collection", "raiha"))
        if not _TABLE.fullmatch(self.table):
            raise damaged(directory, "manifest.json does not say which vectors are published")
        self._access = access
        self._lock = threading.RLock()
        self._connection: psycopg.Connection[Any] | None = None

    def _connect(self) -> psycopg.Connection[Any]:
        """The connection, made on first use, and again when it was lost.

        Raises:
            RaihaError: the user did not name the server, psycopg or pgvector is missing, or the server does not answer.
        """
        if self._connection is not None and not self._connection.closed:
            return self._connection
        if self.uri not in (*self._access.named, *os.environ.get(ADDRESS_VARIABLE, "").split()):
            raise RaihaError(
                f"the index at {self.directory} keeps its vectors on the server {self.uri}, which you have not named: if you "
                f"trust it, set {ADDRESS_VARIABLE}={self.uri}"
            )
        try:
            import psycopg
            from pgvector.psycopg import register_vector
        except ImportError:
            raise RaihaError("the index keeps its vectors in PostgreSQL, which needs psycopg: pip install 'raiha[pgvector]'") from None
        options: dict[str, Any] = {"password": self._access.token} if self._access.token else {}
        try:
            connection = psycopg.connect(self.uri, autocommit=True, connect_timeout=10, application_name="raiha", **options)
            connection.execute("SET client_min_messages = warning")
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            register_vector(connection)
        except psycopg.Error as error:
            mend = "check the address, the password, and that the server has pgvector"
            raise RaihaError(f"cannot use PostgreSQL at {self.uri} ({_first_line(error)}): {mend}") from error
        self._connection = connection
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection[Any]]:
        with self._lock:
            connection = self._connect()
            import psycopg

            try:
                with connection.transaction():
                    yield connection
            except psycopg.Error as error:
                raise RaihaError(f"PostgreSQL at {self.uri} failed ({_first_line(error)}): check the server, and try again") from error

    def _sql(self, text: str, **names: str) -> Any:
        """A statement about this table; identifiers are quoted by the library."""
        from psycopg import sql

        return sql.SQL(text).format(t=sql.Identifier(self.table), **{key: sql.Identifier(name) for key, name in names.items()})

    def publish(self, source: VectorSource, state: State | None, *, revision: int, final: bool) -> State | None:
        """See `VectorStore.publish`: upserts what is new, deletes what is gone, and at the end of a build makes the HNSW indexes."""
        with self._transaction() as connection:
            if state is None:
                connection.execute(self._sql("DROP TABLE IF EXISTS {t}"))
                columns = f"id bigint PRIMARY KEY, content vector({self.dim}) NOT NULL, illumination vector({self.light_dim}) NOT NULL"
                connection.execute(self._sql("CREATE TABLE {t} (" + columns + ")"))
            last = int(state["last"]) if state else 0
            removed = source.removed()
            connection.execute(self._sql("DELETE FROM {t} WHERE id = ANY(%s)"), (removed,))
            connection.execute(self._sql("CREATE TEMP TABLE fresh (LIKE {t}) ON COMMIT DROP"))
            with connection.cursor() as cursor, cursor.copy("COPY fresh FROM STDIN WITH (FORMAT BINARY)") as copy:
                copy.set_types(["int8", "vector", "vector"])
                for rows in source.rows(after=last):
                    for row, content, light in zip(rows.ids, rows.content, rows.illumination, strict=True):
                        copy.write_row((int(row), content, light))
                    last = int(rows.ids[-1])
            update = "ON CONFLICT (id) DO UPDATE SET content = excluded.content, illumination = excluded.illumination"
            connection.execute(self._sql("INSERT INTO {t} SELECT * FROM fresh " + update))
            if final:
                for column, length, distance in (("content", self.dim, "cosine"), ("illumination", self.light_dim, "l2")):
                    if length <= _LONGEST:
                        make = f"CREATE INDEX IF NOT EXISTS {{i}} ON {{t}} USING hnsw ({column} vector_{distance}_ops)"
                        connection.execute(self._sql(make, i=f"{self.table}_{column}"))
        if removed:
            source.forget_removed()
        return {"collection": self.table, "last": last, "count": source.count()}

    def load(self, source: VectorSource, state: State | None) -> None:
        """See `VectorStore.load`."""
        problems = self.check(state)
        if problems:
            raise damaged(self.directory, problems[0])

    def search(self, content: Vector, illumination: Vector | None, weight: float, limit: int) -> NDArray[np.int64]:
        """See `VectorStore.search`: candidates of both columns, ordered by the weighted score."""
        values: dict[str, Any] = {"content": content, "light": illumination, "weight": weight, "limit": limit}
        near = "SELECT id, content, illumination FROM {t} ORDER BY content <=> %(content)s LIMIT %(limit)s"
        if illumination is None or weight <= 0:
            statement = f"SELECT id FROM ({near}) AS near ORDER BY content <=> %(content)s, id"
        else:
            lit = "SELECT id, content, illumination FROM {t} ORDER BY illumination <-> %(light)s LIMIT %(limit)s"
            score = "(1 - %(weight)s) * (1 - (content <=> %(content)s)) + %(weight)s * exp(-power(illumination <-> %(light)s, 2))"
            both = f"({near}) UNION ({lit})"
            statement = f"SELECT id FROM ({both}) AS near ORDER BY {score} DESC, id LIMIT %(limit)s"
        with self._transaction() as connection:
            if not self._exists(connection):
                return np.zeros(0, np.int64)
            if limit > _DEEPEST:
                connection.execute("SET LOCAL enable_indexscan = off")
            else:
                connection.execute(self._sql(f"SET LOCAL hnsw.ef_search = {min(_DEEPEST, max(100, 2 * limit))}"))
            return np.array([row[0] for row in connection.execute(self._sql(statement), values)], np.int64)

    def _exists(self, connection: psycopg.Connection[Any]) -> bool:
        return bool(connection.execute("SELECT to_regclass(%s)", (self.table,)).fetchone() != (None,))

    def check(self, state: State | None, *, thorough: bool = False) -> list[str]:
        """See `VectorStore.check`: the table is there and holds as many rows as it should."""
        if state is None:
            return []
        with self._transaction() as connection:
            if type(state.get("last")) is not int or not self._exists(connection):
                return [f"PostgreSQL at {self.uri} has no table {self.table!r}"]
            if thorough:
                found = connection.execute(self._sql("SELECT count(*) FROM {t}")).fetchone()
                if found != (state.get("count"),):
                    return [f"PostgreSQL at {self.uri} holds {found and found[0]} vectors instead of {state.get('count')}"]
        return []

    def collect_garbage(self, keep: list[State | None]) -> None:
        """See `VectorStore.collect_garbage`: there is only the one table."""

    def destroy(self) -> None:
        """See `VectorStore.destroy`: drops the table."""
        with self._transaction() as connection:
            connection.execute(self._sql("DROP TABLE IF EXISTS {t}"))

    def close(self) -> None:
        """See `VectorStore.close`."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def describe(self) -> str:
        """Kind of search in a few words."""
        return f"PostgreSQL with pgvector ({self.uri}), HNSW over content and illumination"


def check_address(uri: str) -> str:
    """An address that may be written into an index.

    Raises:
        RaihaError: it is none of PostgreSQL, or holds a password.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("postgresql", "postgres"):
        raise RaihaError(f"pgvector: needs the address of a PostgreSQL server, postgresql://user@host/database, not {uri!r}")
    if parts.password is not None or "password" in parse_qs(parts.query, keep_blank_values=True):
        raise RaihaError("give the address of the server without its password, which an index must not hold: set PGPASSWORD, or ~/.pgpass")
    return uri


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
