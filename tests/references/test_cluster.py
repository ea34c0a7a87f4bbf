"""Building over several machines, on a cluster of this one."""

from __future__ import annotations

import importlib.util
import os
import sys
import time

import pytest

from raiha_core.errors import RaihaError
from raiha_core.references import ReferenceIndex
from raiha_core.references.cluster import _entry, _row
from raiha_core.references.embed import Task, decode, embed
from raiha_core.references.rows import Entry


def test_entries_survive_the_journey(gallery, encoder):
    file = gallery / "disc0000.png"
    status = file.stat()
    task = Task(1, file.name, str(file), status.st_size, status.st_mtime_ns)
    (entry,) = embed([decode(task, lambda digest: False, encoder.region_side)], encoder)
    back = _entry(_row(entry))
    assert back.content is not None and entry.content is not None and (back.content == entry.content).all()
    assert back.illumination is not None and entry.illumination is not None and (back.illumination == entry.illumination).all()
    assert (back.hash, back.signature, back.path, back.mtime, back.error) == (entry.hash, entry.signature, entry.path, entry.mtime, None)
    failed = Entry(1, "x.jpg", 3, 4, error="damaged")
    assert _entry(_row(failed)) == failed


def test_missing_ray_is_explained(tmp_path, gallery, encoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RaihaError, match=r"needs Ray: pip install 'raiha\[cluster\]'"):
        ReferenceIndex.build(gallery, tmp_path / "i", encoder, cluster="local")


def needs_cluster() -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed: pip install 'raiha[cluster]'")
    if not os.environ.get("RAIHA_TEST_CLUSTER"):
        pytest.skip("starting a Ray cluster takes most of a minute: set RAIHA_TEST_CLUSTER=1, or `make cluster`")


def test_building_on_a_local_cluster(tmp_path, gallery, encoder, query):
    needs_cluster()
    import ray

    # Workers cannot import this module; real encoders lie in an installed package.
    ray.cloudpickle.register_pickle_by_value(sys.modules[type(encoder).__module__])
    (gallery / "broken.jpg").write_bytes(b"\xff\xd8 no")
    with ReferenceIndex.build(gallery, tmp_path / "here", encoder) as here:
        expected = [(r.id, round(r.score, 4)) for r in here.retrieve(*query, k=4)]
    try:
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
        with ReferenceIndex.build(gallery, tmp_path / "there", encoder, cluster="local") as there:
            assert [(r.id, round(r.score, 4)) for r in there.retrieve(*query, k=4)] == expected
            assert len(there) == 24 and len(there.failures()) == 1
    finally:
        ray.shutdown()


def test_a_node_dies_in_the_middle(tmp_path, fill_gallery, make_encoder, query, postgres, monkeypatch):
    """Two nodes embed, one is killed, the vectors go to a server: the answers are those of the index made here."""
    needs_cluster()
    import ray
    from ray.cluster_utils import Cluster

    class Slow(make_encoder):
        def encode_regions(self, images, boxes):
            time.sleep(0.2)
            return super().encode_regions(images, boxes)

    ray.cloudpickle.register_pickle_by_value(sys.modules[make_encoder.__module__])
    monkeypatch.setenv("RAIHA_PGVECTOR_URI", postgres)
    fill_gallery(tmp_path / "photos", 192)
    with ReferenceIndex.build(tmp_path / "photos", tmp_path / "here", make_encoder()) as here:
        expected = [(r.id, round(r.score, 4)) for r in here.retrieve(*query, k=12)]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 90_000_000, "include_dashboard": False})
    node = cluster.add_node(num_cpus=1, object_store_memory=90_000_000)
    seen: list[int] = []

    def kill_one(done: int, total: int) -> None:
        if done >= 16 and not seen:
            seen.append(len(ray.nodes()))
            cluster.remove_node(node, allow_graceful=False)

    try:
        store = f"pgvector:{postgres}"
        folder = tmp_path / "there"
        with ReferenceIndex.build(tmp_path / "photos", folder, Slow(), store=store, cluster=cluster.address, progress=kill_one) as there:
            assert seen == [2] and len(there) == 192 and not there.failures()
            assert [(r.id, round(r.score, 4)) for r in there.retrieve(*query, k=12)] == expected
            assert there.verify().sound
            there._snapshot.store.destroy()
    finally:
        ray.shutdown()
        cluster.shutdown()
