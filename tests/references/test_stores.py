"""The vector stores: one set of tests for all of them."""

from __future__ import annotations

import importlib.util
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from raiha_core.errors import RaihaError
from raiha_core.references import ReferenceIndex
from raiha_core.references.stores import Access, VectorRows, VectorStore, create_store, parse_store
from raiha_core.references.stores.faiss_store import FaissStore
from raiha_core.references.stores.pgvector import PgvectorStore

DIM, LIGHT = 16, 8


@dataclass
class Source:
    """Vectors in memory, as the catalogue would give them."""

    ids: np.ndarray
    content: np.ndarray
    illumination: np.ndarray
    gone: list[int] = field(default_factory=list)

    @classmethod
    def random(cls, count: int, seed: int = 0) -> Source:
        rng = np.random.default_rng(seed)
        centres = rng.normal(size=(20, DIM))
        content = centres[rng.integers(20, size=count)] + 0.5 * rng.normal(size=(count, DIM))
        content /= np.linalg.norm(content, axis=1, keepdims=True)
        return cls(np.arange(1, count + 1), content.astype(np.float32), rng.random((count, LIGHT)).astype(np.float32))

    def count(self, after: int = 0) -> int:
        return int((self.ids > after).sum())

    def rows(self, after: int = 0, batch: int = 8192, light: bool = True) -> Iterator[VectorRows]:
        (chosen,) = np.nonzero(self.ids > after)
        for start in range(0, len(chosen), batch):
            part = chosen[start : start + batch]
            yield VectorRows(self.ids[part], self.content[part], self.illumination[part])

    def removed(self) -> list[int]:
        return list(self.gone)

    def forget_removed(self) -> None:
        self.gone.clear()

    def remove(self, ids: list[int]) -> None:
        keep = ~np.isin(self.ids, ids)
        self.ids, self.content, self.illumination = self.ids[keep], self.content[keep], self.illumination[keep]
        self.gone += ids

    def extend(self, other: Source) -> None:
        start = int(self.ids.max())
        self.ids = np.concatenate([self.ids, other.ids + start])
        self.content = np.concatenate([self.content, other.content])
        self.illumination = np.concatenate([self.illumination, other.illumination])

    def nearest(self, query: np.ndarray, k: int) -> list[int]:
        return [int(self.ids[i]) for i in np.argsort(-(self.content @ query), kind="stable")[:k]]


def milvus_missing() -> str:
    lacking = [name for name in ("pymilvus", "milvus_lite") if importlib.util.find_spec(name) is None]
    return f"{' and '.join(lacking)} not installed: pip install 'raiha[milvus]'" if lacking else ""


KINDS = [
    "faiss",
    pytest.param("milvus", marks=pytest.mark.skipif(bool(milvus_missing()), reason=milvus_missing() or "installed")),
    "pgvector",
]


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def options(kind, request, monkeypatch) -> dict[str, str]:
    """Where a store of this kind is, if that has to be said: of pgvector on a server, if one can be had here."""
    if kind != "pgvector":
        return {}
    uri = request.getfixturevalue("postgres")
    monkeypatch.setenv("RAIHA_PGVECTOR_URI", uri)
    return {"uri": uri, "collection": f"raiha_{uuid.uuid4().hex[:12]}"}


@pytest.fixture
def store(kind, tmp_path, options) -> Iterator[VectorStore]:
    made = create_store(kind, tmp_path, DIM, LIGHT, options)
    yield made
    if options:
        made.destroy()
    made.close()


def publish(store: VectorStore, source: Source, state, revision: int = 1):
    state = store.publish(source, state, revision=revision, final=True)
    store.load(source, state)
    return state


def test_finds_the_nearest(store):
    source = Source.random(300)
    publish(store, source, None)
    for query in source.content[:5]:
        assert store.search(query, None, 0.0, 10).tolist() == source.nearest(query, 10)


def test_asks_for_more_than_there_is_and_for_nothing(store):
    source = Source.random(3)
    publish(store, source, None)
    assert sorted(store.search(source.content[0], source.illumination[0], 0.4, 50).tolist()) == [1, 2, 3]


def test_an_empty_store_finds_nothing(store):
    store.load(Source.random(0), None)
    assert store.search(np.eye(1, DIM, dtype=np.float32)[0], None, 0.0, 5).tolist() == []


def test_hybrid_candidates_hold_the_best_of_both(store):
    source = Source.random(200)
    publish(store, source, None)
    query, light = source.content[17], source.illumination[17]
    found = store.search(query, light, 0.3, 60).tolist()
    assert found[0] == 18
    assert len(set(found)) == len(found) == 60


def test_additions_and_removals(store):
    source = Source.random(100)
    state = publish(store, source, None)
    source.extend(Source.random(50, seed=1))
    source.remove([5, 6, 120])
    state = publish(store, source, state, 2)
    for query in source.content[::40]:
        live = [i for i in store.search(query, None, 0.0, 40).tolist() if i in set(source.ids.tolist())]
        assert live[:20] == source.nearest(query, 20)
    assert store.check(state) == []


def test_publishing_twice_changes_nothing(store):
    source = Source.random(60)
    state = publish(store, source, None)
    again = publish(store, source, state, 2)
    assert again == state
    query = source.content[3]
    assert store.search(query, None, 0.0, 60).tolist() == source.nearest(query, 60)


def test_a_store_is_opened_again(store, kind, tmp_path, options):
    source = Source.random(80)
    state = publish(store, source, None)
    store.close()
    other = create_store(kind, tmp_path, DIM, LIGHT, options)
    other.load(source, state)
    assert other.search(source.content[0], None, 0.0, 5).tolist() == source.nearest(source.content[0], 5)
    other.close()


def test_a_lost_collection_or_file_is_noticed(store, kind, tmp_path):
    source = Source.random(20)
    state = publish(store, source, None)
    store.destroy()
    assert store.check(state)
    with pytest.raises(RaihaError, match="damaged"):
        store.load(source, state)
    publish(store, source, None, 3)
    assert store.search(source.content[0], None, 0.0, 1).tolist() == [1]


def test_both_stores_retrieve_the_same(kind, tmp_path, gallery, encoder, query, options):
    kind = f"{kind}:{options['uri']}" if options else kind
    with (
        ReferenceIndex.build(gallery, tmp_path / "plain", encoder) as plain,
        ReferenceIndex.build(gallery, tmp_path / "i", encoder, store=kind) as index,
    ):
        expected, found = plain.retrieve(*query, k=5), index.retrieve(*query, k=5)
        assert [(r.id, r.region, round(r.score, 5)) for r in found] == [(r.id, r.region, round(r.score, 5)) for r in expected]
        best = found[0]
        index.remove(best.id)
        assert index.retrieve(*query, k=5)[0].id == expected[1].id
        index.add(best.path)
        assert index.retrieve(*query, k=5)[0].id == best.id
        assert index.verify().sound
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder, store=kind, rebuild=True) as index:
        assert [r.id for r in index.retrieve(*query, k=5)] == [r.id for r in expected]


def test_many_vectors_use_inverted_lists_and_a_tail(tmp_path):
    store = FaissStore(tmp_path, DIM, LIGHT, {"exact_up_to": 2000})
    source = Source.random(6000)
    state = publish(store, source, None)
    assert "inverted lists" in store.describe()
    queries = source.content[::97]
    recall = np.mean([len(set(store.search(q, None, 0.0, 10).tolist()) & set(source.nearest(q, 10))) / 10 for q in queries])
    assert recall >= 0.95
    # A few more rows stay a tail: the file is not written again, and they are found all the same.
    source.extend(Source.random(100, seed=2))
    assert publish(store, source, state, 2) == state
    assert store.search(source.content[-1], None, 0.0, 1).tolist() == [6100]
    source.extend(Source.random(3000, seed=3))
    assert publish(store, source, state, 3)["count"] == 9100


def test_growth_is_written_without_what_was_there(tmp_path, monkeypatch):
    """What is added to a large index goes into a second file, time and again, until it is a tenth of the first."""
    monkeypatch.setattr("raiha_core.references.stores.faiss_store.TAIL", 50)
    store = FaissStore(tmp_path, DIM, LIGHT, {"exact_up_to": 2000})
    source = Source.random(6000)
    state = publish(store, source, None)
    first = dict(state)
    for revision, rows in ((2, 100), (3, 300)):
        source.extend(Source.random(rows - source.count(after=6000), seed=revision))
        state = publish(store, source, state, revision)
        store.collect_garbage([state])
        assert {key: state[key] for key in first} == first and state["more"]["count"] == rows
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([first["folder"], state["more"]["folder"]])
        assert store.check(state, thorough=True) == []
        queries = source.content[::97]
        recall = np.mean([len(set(store.search(q, None, 0.0, 10).tolist()) & set(source.nearest(q, 10))) / 10 for q in queries])
        assert recall >= 0.95 and store.search(source.content[-1], None, 0.0, 1).tolist() == [6000 + rows]
    source.extend(Source.random(20, seed=4))
    assert publish(store, source, state, 4) == state and store.search(source.content[-1], None, 0.0, 1).tolist() == [6320]
    # Deleted rows count too, and nothing of the second file is lost when all is written anew.
    source.remove(list(range(1, 400)))
    state = publish(store, source, state, 5)
    assert "more" not in state and state["count"] == 6320 - 399 and source.removed() == []
    assert store.search(source.content[-1], None, 0.0, 1).tolist() == [6320]


@pytest.mark.parametrize("damage", ["gone", "shorter", "changed", "nonsense"])
def test_a_damaged_second_file_is_seen(tmp_path, monkeypatch, damage):
    monkeypatch.setattr("raiha_core.references.stores.faiss_store.TAIL", 50)
    store = FaissStore(tmp_path, DIM, LIGHT, {"exact_up_to": 2000})
    source = Source.random(6000)
    state = publish(store, source, None)
    source.extend(Source.random(100, seed=1))
    state = publish(store, source, state, 2)
    file = tmp_path / state["more"]["folder"] / "content.faiss"
    if damage == "gone":
        file.unlink()
    elif damage == "shorter":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "changed":
        data = bytearray(file.read_bytes())
        data[-9] ^= 1
        file.write_bytes(data)
    else:
        state = {**state, "more": [1]}
    assert len(store.check(state, thorough=True)) == 1
    with pytest.raises(RaihaError, match="damaged"):
        store.load(source, state)
    mended = publish(store, source, None if damage == "changed" else state, 3)
    assert mended["count"] == 6100 and store.check(mended, thorough=True) == []


def test_readers_keep_their_generation(tmp_path):
    source = Source.random(50)
    writer, reader = FaissStore(tmp_path, DIM, LIGHT, {}), FaissStore(tmp_path, DIM, LIGHT, {})
    first = publish(writer, source, None)
    reader.load(source, first)
    query = source.content[1]
    expected = reader.search(query, None, 0.0, 10).tolist()
    for revision in (2, 3, 4):
        source.extend(Source.random(20, seed=revision))
        last = writer.publish(source, first, revision=revision, final=True)
        writer.collect_garbage([last])
    assert reader.search(query, None, 0.0, 10).tolist() == expected


def test_store_names():
    assert parse_store("faiss") == ("faiss", {})
    assert parse_store("milvus") == ("milvus", {})
    assert parse_store("milvus:http://host:19530") == ("milvus", {"uri": "http://host:19530"})
    assert parse_store("pgvector:postgresql://me@host/photos") == ("pgvector", {"uri": "postgresql://me@host/photos"})
    for wrong in ("pinecone", "faiss:x", ""):
        with pytest.raises(RaihaError, match="unknown vector store"):
            parse_store(wrong)
    for secret in ("postgresql://me:word@host/photos", "postgresql://me@host/photos?password=word"):
        with pytest.raises(RaihaError, match="without its password"):
            parse_store(f"pgvector:{secret}")
    with pytest.raises(RaihaError, match="needs the address of a PostgreSQL server"):
        parse_store("pgvector")


@pytest.mark.skipif(bool(milvus_missing()), reason=milvus_missing() or "installed")
def test_a_silent_cluster_is_explained_and_the_token_stays_out_of_the_index(tmp_path, gallery, encoder):
    with pytest.raises(RaihaError, match=r"cannot reach Milvus at http://127.0.0.1:9"):
        ReferenceIndex.build(gallery, tmp_path / "i", encoder, store="milvus:http://127.0.0.1:9", token="secret-token")
    assert not any(b"secret-token" in p.read_bytes() for p in (tmp_path / "i").rglob("*") if p.is_file())


def test_searches_deeper_than_the_graph_goes(store):
    source = Source.random(1500)
    publish(store, source, None)
    query, light = source.content[3], source.illumination[3]
    assert sorted(store.search(query, None, 0.0, 1500).tolist()) == list(range(1, 1501))
    assert len(set(store.search(query, light, 0.3, 1200).tolist())) == 1200


def test_a_graph_finds_what_is_near(postgres, tmp_path):
    """Large enough that PostgreSQL takes the HNSW index."""
    options = {"uri": postgres, "collection": f"raiha_{uuid.uuid4().hex[:12]}"}
    store = PgvectorStore(tmp_path, DIM, LIGHT, options, Access(named=(postgres,)))
    source = Source.random(6000)
    try:
        publish(store, source, None)
        queries = source.content[::97]
        recall = np.mean([len(set(store.search(q, None, 0.0, 10).tolist()) & set(source.nearest(q, 10))) / 10 for q in queries])
        assert recall >= 0.95
        plan = "\n".join(r[0] for r in store._connect().execute(
            f"EXPLAIN SELECT id FROM {options['collection']} ORDER BY content <=> %s LIMIT 10", (source.content[0],)
        ))  # fmt: skip
        assert "_content" in plan
    finally:
        store.destroy()
        store.close()


def test_no_postgres_is_called_that_the_user_did_not_name(tmp_path, monkeypatch):
    monkeypatch.delenv("RAIHA_PGVECTOR_URI", raising=False)
    options = {"uri": "postgresql://me@127.0.0.1:9/photos", "collection": "raiha_0123456789ab"}
    with pytest.raises(RaihaError, match="which you have not named"):
        create_store("pgvector", tmp_path, DIM, LIGHT, options).check({"last": 1, "count": 1})
    with pytest.raises(RaihaError, match="damaged"):
        create_store("pgvector", tmp_path, DIM, LIGHT, {**options, "collection": "users; drop"})
    if importlib.util.find_spec("psycopg") and importlib.util.find_spec("pgvector"):
        with pytest.raises(RaihaError, match="cannot use PostgreSQL at postgresql://me@127"):
            create_store("pgvector", tmp_path, DIM, LIGHT, options, Access(named=(options["uri"],))).check({"last": 1, "count": 1})
