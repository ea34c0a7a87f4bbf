"""Building, searching and changing an index."""

from __future__ import annotations

from raiha_core.references import ReferenceIndex


def test_build_and_retrieve(tmp_path, gallery, encoder, query):
    seen = []
    index = ReferenceIndex.build(gallery, tmp_path / "x.index", encoder, progress=lambda done, total: seen.append((done, total)))
    assert len(index) == 24
    assert seen[0] == (0, 24) and seen[-1] == (24, 24)
    found = index.retrieve(*query, k=4)
    assert len(found) == 4
    for r in found:
        assert r.path.is_file() and 0 <= r.content <= 1 and 0 <= r.illumination <= 1
        assert r.load().shape == (1, 3, 90, 120)
        assert max(r.thumbnail.size) <= 256
