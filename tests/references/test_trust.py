"""An index may come from a stranger: it is told nothing, and nothing outside its galleries is served."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import sqlite3
import threading

import pytest

from raiha_core.errors import RaihaError
from raiha_core.references import ReferenceIndex, manifest, verify
from raiha_core.references.manifest import _digest
from raiha_core.references.rows import checksum
from raiha_core.references.stores import Access, create_store
from raiha_core.references.stores.milvus import MilvusStore


@pytest.fixture
def listener():
    """A server that notes what it is sent."""
    heard: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                connection.settimeout(0.2)
                heard.append(b"")
                with contextlib.suppress(OSError):
                    heard[-1] += connection.recv(4096)
                connection.close()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}", heard
    # Closing alone does not wake a thread that waits for a connection.
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


def rewrite(folder, **entries) -> None:
    """Change a manifest as somebody would who knows how it is written."""
    document = json.loads((folder / "manifest.json").read_text())
    document.pop("check")
    document.update(entries)
    (folder / "manifest.json").write_text(json.dumps({**document, "check": _digest(document)}))


def test_no_server_is_called_that_the_user_did_not_name(tmp_path, gallery, encoder, listener, monkeypatch):
    address, heard = listener
    folder = tmp_path / "i"
    ReferenceIndex.build(gallery, folder, encoder).close()
    rewrite(folder, store={"kind": "milvus", "options": {"uri": address, "collection": "x"}, "state": {"last": 1, "count": 1}})
    monkeypatch.setenv("RAIHA_MILVUS_TOKEN", "secret-token")
    monkeypatch.delenv("RAIHA_MILVUS_URI", raising=False)
    for call in (
        lambda: ReferenceIndex.open(folder, encoder, token="secret-token"),
        lambda: ReferenceIndex.build(gallery, folder, encoder),
        lambda: ReferenceIndex.build(gallery, folder, encoder, store="milvus:http://another.example"),
        lambda: ReferenceIndex.build(gallery, folder, encoder, rebuild=True).close() or ReferenceIndex.open(folder, encoder),
    ):
        with contextlib.suppress(RaihaError):
            call()
    assert heard == []
    rewrite(folder, store={"kind": "milvus", "options": {"uri": address, "collection": "x"}, "state": {"last": 1, "count": 1}})
    with pytest.raises(RaihaError, match="RAIHA_MILVUS_URI=" + address):
        ReferenceIndex.open(folder, encoder)
    assert not verify(folder).sound
    assert heard == []


@pytest.mark.skipif(importlib.util.find_spec("pymilvus") is None, reason="needs pymilvus")
def test_a_server_is_called_when_it_is_named(tmp_path, listener, monkeypatch):
    address, heard = listener
    monkeypatch.setenv("RAIHA_MILVUS_URI", f"http://elsewhere:1 {address}")
    store = create_store("milvus", tmp_path, 4, 2, {"uri": address}, Access())
    assert isinstance(store, MilvusStore)
    monkeypatch.setattr("pymilvus.MilvusClient", lambda uri, **options: heard.append((uri, options)))
    assert store.client is None and heard == [(address, {"token": os.environ.get("RAIHA_MILVUS_TOKEN", "")})]


@pytest.mark.parametrize("state", [{"folder": "../../etc", "count": 1, "last": 1, "bytes": 1, "crc": 1}, {"folder": 3}, {}])
def test_published_vectors_lie_in_the_index(tmp_path, gallery, encoder, state):
    folder = tmp_path / "i"
    ReferenceIndex.build(gallery, folder, encoder).close()
    rewrite(folder, store={"kind": "faiss", "options": {}, "state": state})
    with pytest.raises(RaihaError, match="does not say which vectors"):
        ReferenceIndex.open(folder, encoder)
    assert verify(folder, repair=True).sound


def test_the_catalogue_lies_in_the_index(tmp_path, gallery, encoder):
    folder = tmp_path / "i"
    ReferenceIndex.build(gallery, folder, encoder).close()
    rewrite(folder, identity="../../../../etc/passwd00000000000")
    with pytest.raises(RaihaError, match="damaged"):
        manifest.load(folder)


@pytest.mark.parametrize("path", ["../private/x.png", "{absolute}", "sub/../../private/x.png", "link/x.png"])
def test_a_catalogue_cannot_lead_out_of_its_gallery(tmp_path, gallery, encoder, query, path, draw_picture, save_picture):
    """Rows of a hostile catalogue, with the checksums that belong to them."""
    folder, private = tmp_path / "i", tmp_path / "private" / "x.png"
    with ReferenceIndex.build(gallery, folder, encoder) as index:
        best = index.retrieve(*query, k=1)[0]
    private.parent.mkdir()
    shutil.copy(best.path, private)  # Even a file whose bytes the stranger knows.
    best.path.unlink()
    if hasattr(os, "symlink"):
        (gallery / "link").symlink_to(private.parent)
    path = path.replace("{absolute}", str(private))
    with contextlib.closing(sqlite3.connect(next(folder.glob("catalogue-*.sqlite")))) as db, db:
        image = db.execute("SELECT id FROM images WHERE hash LIKE ?", (best.id + "%",)).fetchone()[0]
        root, born, size, mtime = db.execute("SELECT root, born, size, mtime FROM files WHERE image = ?", (image,)).fetchone()
        db.execute("DELETE FROM files WHERE image = ?", (image,))
        values = (root, path, size, mtime, image, None)
        sql = "INSERT INTO files (root, path, size, mtime, image, error, checksum, born) VALUES (?,?,?,?,?,?,?,?)"
        db.execute(sql, (*values, checksum(*values), born))
    with ReferenceIndex.open(folder, encoder) as index:
        with pytest.raises(RaihaError, match="vanished or changed"):
            index.thumbnail(best.id)
        assert best.id not in {r.id for r in index.retrieve(*query, k=30)}
