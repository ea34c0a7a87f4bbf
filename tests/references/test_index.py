"""Building and changing an index; `test_search.py` searches it."""

from __future__ import annotations

import shutil

import pytest

from raiha_core.errors import RaihaError
from raiha_core.references import Reference, ReferenceIndex, fingerprint, verify
from raiha_core.references import manifest as manifests


def names(references: list[Reference]) -> list[str]:
    return [r.path.name for r in references]


def test_build_reports_progress_and_finds_the_same_things(tmp_path, gallery, encoder, query):
    seen = []
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder, progress=lambda done, total: seen.append((done, total))) as index:
        assert len(index) == 24
        assert seen == [(i, 24) for i in range(25)]
        found = index.retrieve(*query, k=4, weight=0.0)
    assert all("stripes" in name for name in names(found[:3]))
    assert [r.content for r in found] == sorted((r.content for r in found), reverse=True)
    for r in found:
        assert 0 <= r.content <= 1 and 0 <= r.illumination <= 1 and r.score == pytest.approx(r.content)
        assert r.load().shape == (1, 3, 90, 120) and r.size == (120, 90)
        assert max(r.thumbnail.size) <= 256 and r.thumbnail.mode == "RGB"
        assert index is not None and len(r.id) == 16


def test_equal_files_are_one_photo(tmp_path, gallery, encoder):
    shutil.copy(gallery / "disc0000.png", gallery / "copy.png")
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder) as index:
        assert len(index) == 24 and index.info()["files"] == 25


def test_update_reads_only_what_changed(tmp_path, gallery, encoder, draw_picture, save_picture, query):
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder) as index:
        before = index.fingerprint
        save_picture(gallery / "disc0000.png", draw_picture("disc", 1234))
        save_picture(gallery / "new.png", draw_picture("cross", 1235))
        (gallery / "checks0006.png").unlink()
        seen = []
        index.update(progress=lambda done, total: seen.append((done, total)))
        assert seen[-1] == (2, 2) and len(index) == 24
        assert "checks0006.png" not in names(index.retrieve(*query, k=30))
        assert "new.png" in names(index.retrieve(*query, k=30))
        assert index.fingerprint != before
        seen.clear()
        index.update(progress=lambda done, total: seen.append((done, total)))
        assert seen == []
        assert index.verify(files=True).sound


def test_add_and_remove(tmp_path, gallery, encoder, fill_gallery, query):
    more = tmp_path / "more"
    fill_gallery(more, 6, first=100)
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder) as index:
        index.add(more)
        assert len(index) == 30 and index.galleries == [gallery, more]
        victim = index.retrieve(*query, k=1)[0]
        assert index.remove(victim.id) == 1 and len(index) == 29
        index.update()
        assert len(index) == 29, "what the user removed stays removed"
        assert victim.id not in {r.id for r in index.retrieve(*query, k=30)}
        index.add(victim.path)
        assert len(index) == 30
        assert index.remove([gallery / "sub"]) == 8
        assert index.remove(more) == 6 and index.galleries == [gallery] and len(index) == 16
        with pytest.raises(RaihaError, match="not in the index"):
            index.remove([gallery / "disc0000.png", "nothing.png"])
        assert len(index) == 16, "all or nothing"


def test_moved_galleries_are_recognised(tmp_path, gallery, encoder, make_encoder, query):
    first = ReferenceIndex.build(gallery, tmp_path / "i", encoder)
    expected = [r.id for r in first.retrieve(*query, k=4)]
    first.close()
    moved = tmp_path / "elsewhere" / "pictures"
    moved.parent.mkdir()
    shutil.move(gallery, moved)
    with ReferenceIndex.open(tmp_path / "i", encoder, gallery=moved) as index:
        assert [r.id for r in index.retrieve(*query, k=4)] == expected

    class Never(make_encoder):
        def encode(self, images):
            raise AssertionError("nothing needs embedding")

    with ReferenceIndex.build(moved, tmp_path / "i", Never()) as index:
        assert len(index) == 24 and index.galleries == [moved]
    with ReferenceIndex.open(tmp_path / "i", encoder) as index:
        assert [r.id for r in index.retrieve(*query, k=4)] == expected


def test_index_and_gallery_moved_together(tmp_path, encoder, fill_gallery, query):
    fill_gallery(tmp_path / "a" / "photos", 8)
    ReferenceIndex.build(tmp_path / "a" / "photos", tmp_path / "a" / "i", encoder).close()
    shutil.move(tmp_path / "a", tmp_path / "b")
    with ReferenceIndex.open(tmp_path / "b" / "i", encoder) as index:
        assert index.galleries == [tmp_path / "b" / "photos"] and len(index.retrieve(*query, k=4)) == 4
        index.update()
        assert len(index) == 8


def test_an_unplugged_gallery_keeps_its_photos(tmp_path, gallery, encoder, fill_gallery):
    index = ReferenceIndex.build(gallery, tmp_path / "i", encoder)
    gallery.rename(tmp_path / "unplugged")
    with index, pytest.raises(RaihaError, match="is not there"):
        index.update()
    fill_gallery(tmp_path / "other", 4, first=60)
    with ReferenceIndex.build(tmp_path / "other", tmp_path / "i", encoder) as index:
        assert len(index) == 28


def test_vanished_files_are_skipped_and_said(index, query):
    best = index.retrieve(*query, k=2)
    best[0].path.unlink()
    found = index.retrieve(*query, k=2)
    assert found[0].id == best[1].id and len(found) == 2
    assert best[0].path.name in found.notices[0]
    with pytest.raises(RaihaError, match="cannot be loaded"):
        best[0].load()
    with pytest.raises(RaihaError, match="vanished"):
        index.thumbnail(best[0].id)
    assert [best[0].path.name in m for m in index.verify().missing] == [True]


def test_a_gallery_that_is_gone_is_said_once(tmp_path, gallery, encoder, query):
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder) as index:
        files = sorted(p for p in gallery.rglob("*") if p.is_file())
        for file in files[:-3]:
            file.unlink()
        found = index.retrieve(*query, k=20, min_illumination=0.0)
        assert len(found) == 3 and len(found.notices) == 6
        assert found.notices[-1].startswith(f"{len(files) - 3 - 5} more photos have vanished")
        gallery.rename(tmp_path / "elsewhere")
        with pytest.raises(RaihaError, match=r"the gallery .*photos is not there.*--gallery"):
            index.retrieve(*query, k=20)


def test_thumbnails_only_of_catalogued_photos(index, gallery):
    best = index.path_of(next(r for r in index._snapshot.catalogue.images([1]).values()).hash[:16])
    assert best.is_relative_to(gallery)
    for name in ("../../etc/passwd", "0" * 16, "", "'; DROP TABLE images; --"):
        with pytest.raises(RaihaError, match="no photo"):
            index.thumbnail(name)


def test_another_encoder_is_refused_by_name(tmp_path, gallery, encoder, make_encoder, query):
    ReferenceIndex.build(gallery, tmp_path / "i", encoder).close()
    other = make_encoder("other")
    for call in (lambda: ReferenceIndex.open(tmp_path / "i", other), lambda: ReferenceIndex.build(gallery, tmp_path / "i", other)):
        with pytest.raises(RaihaError, match=r"tiny.*not with other"):
            call()
    with pytest.raises(RaihaError, match=r"tiny.*embedded"):
        ReferenceIndex.open(tmp_path / "i", "embedded")
    with ReferenceIndex.build(gallery, tmp_path / "i", make_encoder("other"), rebuild=True) as index:
        assert index.encoder_info.id == "other" and len(index) == 24


@pytest.mark.parametrize("by", ["build", "updated"])
def test_other_weights_of_the_same_encoder_rebuild_by_themselves(tmp_path, gallery, encoder, make_encoder, fill_gallery, query, by):
    folder, fresh = tmp_path / "i", make_encoder("tiny", seed=1)
    fill_gallery(tmp_path / "more", 3, first=90)
    with ReferenceIndex.build([gallery, tmp_path / "more"], folder, encoder, ignore=["none"]) as old:
        taken = old.retrieve(*query, k=1)[0].id
        old.remove(taken)
        expected = [r.id for r in old.retrieve(*query, k=4)]
        with pytest.raises(RaihaError, match=r"others by now.*makes it anew"):
            ReferenceIndex.open(folder, fresh)
        seen = []

        def look(done: int, total: int) -> None:
            old.refresh()
            seen.append((done, total, [r.id for r in old.retrieve(*query, k=4)] == expected))

        call = (lambda: ReferenceIndex.build(gallery, folder, fresh, progress=look)) if by == "build" else None
        with call() if call else ReferenceIndex.updated(folder, fresh, progress=look) as new:
            assert seen == [(i, 26, True) for i in range(27)], "with progress, and the old answers until it is done"
            assert new.encoder_info.weights_hash == "seed1" and len(new) == 26 and len(new.galleries) == 2
            assert taken not in {r.id for r in new.retrieve(*query, k=30)}, "what the user took out stays out"
    ReferenceIndex.build(gallery, folder, encoder).close()
    (tmp_path / "more").rename(tmp_path / "unplugged")
    with pytest.raises(RaihaError, match=r"anew.*more is not there"):
        ReferenceIndex.build(gallery, folder, fresh)
    with ReferenceIndex.open(folder, encoder) as index:
        assert len(index) == 26


def test_an_index_of_an_earlier_format_is_made_anew(tmp_path, gallery, encoder, query):
    folder = tmp_path / "i"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"format": "raiha-index", "version": 1, "encoder": {}}')
    (folder / "catalogue.sqlite").write_bytes(b"old")
    (folder / "vectors-00000003").mkdir()
    with pytest.raises(RaihaError, match="earlier version"):
        ReferenceIndex.open(folder, encoder)
    with ReferenceIndex.build(gallery, folder, encoder) as index:
        assert len(index) == 24 and len(index.retrieve(*query, k=4)) == 4
    assert not (folder / "catalogue.sqlite").exists() and not (folder / "vectors-00000003").exists()


def test_empty_galleries_and_wrong_folders(tmp_path, encoder, query):
    (tmp_path / "empty").mkdir()
    with (
        ReferenceIndex.build(tmp_path / "empty", tmp_path / "i", encoder) as index,
        pytest.raises(RaihaError, match="holds no photos"),
    ):
        index.retrieve(*query, k=4)
    with pytest.raises(RaihaError, match="no gallery folder"):
        ReferenceIndex.build(tmp_path / "nowhere", tmp_path / "j", encoder)
    with pytest.raises(RaihaError, match="no reference index"):
        ReferenceIndex.open(tmp_path / "nowhere")
    with pytest.raises(RaihaError, match="no reference index"):
        fingerprint(tmp_path / "nowhere")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    with pytest.raises(RaihaError, match="other things"):
        ReferenceIndex.build(tmp_path / "empty", tmp_path / "full", encoder, rebuild=True)
    assert (tmp_path / "full" / "thesis.txt").read_text() == "precious"
    assert not (tmp_path / "j").exists()


def test_damage_is_noticed_and_mended(tmp_path, gallery, encoder, query):
    folder = tmp_path / "i"
    with ReferenceIndex.build(gallery, folder, encoder) as index:
        expected = [r.id for r in index.retrieve(*query, k=4)]

    def check_mended() -> None:
        with pytest.raises(RaihaError, match=r"damaged.*--repair"):
            ReferenceIndex.open(folder, encoder)
        assert not verify(folder).sound
        assert verify(folder, repair=True).repaired and verify(folder).sound
        with ReferenceIndex.open(folder, encoder) as index:
            assert [r.id for r in index.retrieve(*query, k=4)] == expected

    (folder / "manifest.json").write_text('{"format": "raiha-index", "version": 2}')
    check_mended()
    vectors = next(folder.glob("vectors-*")) / "content.faiss"
    vectors.write_bytes(vectors.read_bytes()[:100])
    check_mended()
    vectors = next(folder.glob("vectors-*")) / "content.faiss"
    vectors.write_bytes(bytes(vectors.stat().st_size))
    check_mended()
    shutil.rmtree(next(folder.glob("vectors-*")))
    check_mended()
    catalogue = next(folder.glob("catalogue-*.sqlite"))
    catalogue.write_bytes(b"not a database" * 1000)
    with pytest.raises(RaihaError, match="damaged"):
        ReferenceIndex.open(folder, encoder)
    assert "build the index anew" in verify(folder, repair=True).problems[0]


def test_growth_beside_the_first_file_is_part_of_the_index(tmp_path, gallery, encoder, fill_gallery, query, monkeypatch):
    """Vectors in the second file are found, checked, mended, and not lost to readers that hold an earlier state."""
    monkeypatch.setattr("raiha_core.references.stores.faiss_store.TAIL", 5)

    def answers(index: ReferenceIndex) -> list[tuple[str, float]]:
        return [(r.id, round(r.score, 4)) for r in index.retrieve(*query, k=30)]

    folder = tmp_path / "i"
    with ReferenceIndex.build(gallery, folder, encoder) as index, ReferenceIndex.open(folder, encoder) as reader:
        first, before = manifests.load(folder).store["state"], answers(reader)
        for number in (701, 801):  # Stripes, as in the query.
            fill_gallery(gallery, 1, first=number)
            index.update()
        state = manifests.load(folder).store["state"]
        assert {**state, "more": None} == {**first, "more": None} and state["more"]["count"] == 2 * 6
        with ReferenceIndex.build(gallery, tmp_path / "anew", encoder) as anew:
            expected = answers(anew)
        assert answers(index) == expected != before == answers(reader) and index.verify().sound
    file = folder / state["more"]["folder"] / "content.faiss"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(RaihaError, match="damaged"):
        ReferenceIndex.open(folder, encoder)
    assert not verify(folder).sound and verify(folder, repair=True).repaired and verify(folder).sound
    with ReferenceIndex.open(folder, encoder) as index:
        assert answers(index) == expected


def test_a_build_mends_lost_vectors(tmp_path, gallery, encoder, query):
    ReferenceIndex.build(gallery, tmp_path / "i", encoder).close()
    shutil.rmtree(next((tmp_path / "i").glob("vectors-*")))
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder) as index:
        assert len(index.retrieve(*query, k=4)) == 4


def test_a_failed_write_changes_nothing(tmp_path, gallery, encoder, draw_picture, save_picture):
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder) as index:
        save_picture(gallery / "new.png", draw_picture("cross", 1235))
        limit = "CREATE TRIGGER full BEFORE INSERT ON images BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
        index._snapshot.catalogue._db.execute(limit)
        with pytest.raises(RaihaError):
            index.update()
        index._snapshot.catalogue._db.execute("DROP TRIGGER full")
        assert len(index) == 24
        index.update()
        assert len(index) == 25
