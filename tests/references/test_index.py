"""Building, searching and changing an index."""

from __future__ import annotations

import shutil

import pytest
import torch

from raiha_core.errors import RaihaError
from raiha_core.references import Reference, ReferenceIndex, fingerprint, search, verify
from raiha_core.references import manifest as manifests
from raiha_core.references.index import DEFAULT_COUNT, DEFAULT_LIGHT


@pytest.fixture
def index(tmp_path, gallery, encoder):
    with ReferenceIndex.build(gallery, tmp_path / "x.index", encoder) as built:
        yield built


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


def test_load_reduces_and_crops(index, query):
    best = index.retrieve(*query, k=1)[0]
    assert best.load(max_side=60).shape == (1, 3, 45, 60)
    x0, y0, x1, y1 = best.region
    crop = best.load(crop=True)
    assert abs(crop.shape[-1] - (x1 - x0) * 120) <= 1 and abs(crop.shape[-2] - (y1 - y0) * 90) <= 1
    assert float(crop.min()) >= 0 and float(crop.max()) <= 1


def test_a_small_object_in_a_large_photo_is_found_by_its_region(tmp_path, encoder, draw_picture, save_picture):
    target = draw_picture("checks", 7, (100, 100))
    scene = draw_picture("disc", 50, (400, 400)) * 0
    scene[:220, 180:] = torch.nn.functional.interpolate(
        torch.from_numpy(target).permute(2, 0, 1)[None], (220, 220), mode="bilinear"
    )[0].permute(1, 2, 0).numpy()  # fmt: skip
    save_picture(tmp_path / "g" / "scene.png", scene)
    for i in range(8):
        save_picture(tmp_path / "g" / f"other{i}.png", draw_picture("stripes", i))
    composite = torch.from_numpy(target).float().permute(2, 0, 1)[None]
    mask = torch.zeros(1, 1, 100, 100)
    mask[..., 15:85, 15:85] = 1
    with ReferenceIndex.build(tmp_path / "g", tmp_path / "i", encoder) as index:
        best = index.retrieve(composite, mask, k=1, weight=0.0, min_illumination=0.0)[0]
    assert best.path.name == "scene.png"
    assert best.region == (0.45, 0.0, 1.0, 0.55)


def test_illumination_reranks(tmp_path, encoder, draw_picture, save_picture):
    for name, light, warmth in (("dark", 0.35, 1.0), ("same", 1.0, 1.0), ("warm", 1.0, 1.4)):
        save_picture(tmp_path / "g" / f"{name}.png", draw_picture("disc", 5, light=light, warmth=warmth))
    composite = torch.from_numpy(draw_picture("disc", 77)).float().permute(2, 0, 1)[None]
    mask = torch.zeros(1, 1, 90, 120)
    mask[..., 30:60, 40:80] = 1
    with ReferenceIndex.build(tmp_path / "g", tmp_path / "i", encoder) as index:
        found = index.retrieve(composite, mask, k=3, weight=1.0, min_illumination=0.0, deduplicate=False)
        assert names(found)[0] == "same.png"
        assert found[0].illumination > found[1].illumination
        # One scene in three lights is one photo: the best of them stays.
        assert names(index.retrieve(composite, mask, k=3, weight=1.0)) == ["same.png"]
        bright = index.retrieve(composite, mask, k=3, weight=0.5, min_illumination=found[1].illumination + 1e-4, deduplicate=False)
        assert names(bright) == ["same.png"]


def test_the_query_photo_itself_and_duplicates_are_never_returned(tmp_path, gallery, encoder, draw_picture, save_picture):
    original = draw_picture("stripes", 300)
    own = save_picture(gallery / "own.png", original)
    save_picture(gallery / "own-small.jpg", original[::1, ::1] * 0.8, quality=80)
    composite = torch.from_numpy(original).float().permute(2, 0, 1)[None].clone()
    mask = torch.zeros_like(composite[:, :1])
    mask[..., 30:60, 40:80] = 1
    composite[..., 30:60, 40:80] = torch.rand(3, 30, 40)
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder) as index:
        assert not {"own.png", "own-small.jpg"} & set(names(index.retrieve(composite, mask, k=24)))
        loose = names(index.retrieve(composite, mask, k=26, deduplicate=False))
        assert {"own.png", "own-small.jpg"} <= set(loose)
        assert "own.png" not in names(index.retrieve(composite, mask, k=26, deduplicate=False, query_path=own))


def test_equal_files_are_one_photo(tmp_path, gallery, encoder):
    shutil.copy(gallery / "disc0000.png", gallery / "copy.png")
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder) as index:
        assert len(index) == 24 and index.info()["files"] == 25


def test_pins_come_first_and_excluded_never(index, query, gallery):
    plain = index.retrieve(*query, k=3)
    last = index.retrieve(*query, k=24)[-1]
    found = index.retrieve(*query, k=3, pinned=[last.id], excluded=[plain[0].id, str(gallery / plain[1].path.relative_to(gallery))])
    assert found[0].id == last.id and found[0].pinned and not found[1].pinned
    assert len(found) == 3 and not {plain[0].id, plain[1].id} & {r.id for r in found}
    all_pinned = index.retrieve(*query, k=1, pinned=[last.id, plain[2].id], min_content=1.0)
    assert [r.id for r in all_pinned] == [last.id, plain[2].id]
    assert "nowhere.png" in index.retrieve(*query, pinned=["nowhere.png"]).notices[0]


def test_a_search_goes_on_until_there_are_enough(tmp_path, encoder, fill_gallery, query):
    # More regions than are looked at first, and all photos that they belong to are not wanted.
    fill_gallery(tmp_path / "photos", 70)
    with ReferenceIndex.build(tmp_path / "photos", tmp_path / "i", encoder) as index:
        assert index.info()["regions"] > search.FEWEST
        everything = index.retrieve(*query, k=70, weight=0.0, deduplicate=False)
        wanted = everything[-1]
        found = index.retrieve(*query, k=1, weight=0.0, deduplicate=False, excluded=[r.path for r in everything[:-1]])
        assert [r.id for r in found] == [wanted.id]


def test_minimum_content(index, query):
    found = index.retrieve(*query, k=24)
    limit = sorted(r.content for r in found)[12]
    assert {r.id for r in index.retrieve(*query, k=24, min_content=limit)} == {r.id for r in found if r.content >= limit}
    assert index.retrieve(*query, min_content=1.0) == []


def test_a_minimum_ends_the_search_of_a_large_index(index, query, monkeypatch):
    """What comes after the first region that shows too little is not read; the answer is the same."""
    found = index.retrieve(*query, k=24, weight=0.3)
    limit = sorted(r.content for r in found)[-3]
    expected = index.retrieve(*query, k=24, weight=0.3, min_content=limit)
    monkeypatch.setattr(search, "FEWEST", 16)
    asked, ask = [], index._snapshot.store.search

    def counted(content, illumination, weight, limit):
        asked.append(limit)
        return ask(content, illumination, weight, limit)

    monkeypatch.setattr(index._snapshot.store, "search", counted)
    assert [r.id for r in index.retrieve(*query, k=3, weight=0.3, min_content=limit)] == [r.id for r in expected]
    assert index.retrieve(*query, k=1, min_content=1.0) == []
    assert asked == [48 * 3, 48], "of 144 regions"


def test_more_references_than_photos(index, query):
    assert len({r.id for r in index.retrieve(*query, k=100, min_illumination=0.0)}) == len(index)


def test_what_would_harm_is_left_out_and_said(tmp_path, encoder, draw_picture, save_picture):
    for i, light in enumerate((0.12, 0.15)):
        save_picture(tmp_path / "g" / f"night{i}.png", draw_picture("disc", i, light=light, warmth=1.8))
    composite = torch.from_numpy(draw_picture("disc", 77)).float().permute(2, 0, 1)[None]
    mask = torch.zeros(1, 1, 90, 120)
    mask[..., 30:60, 40:80] = 1
    with ReferenceIndex.build(tmp_path / "g", tmp_path / "i", encoder) as index:
        every = index.retrieve(composite, mask, k=2, min_illumination=0.0, deduplicate=False)
        assert len(every) == 2 and all(r.illumination < DEFAULT_LIGHT for r in every) and not every.notices
        found = index.retrieve(composite, mask, k=2)
        assert not found and any("a light unlike the scene's" in notice for notice in found.notices)
        assert [r.id for r in index.retrieve(composite, mask, pinned=[every[0].id])] == [every[0].id]


def test_the_commands_offer_what_the_index_does() -> None:
    from raiha_core.cli import harmonize, retrieve

    asked = {o.name: o.default for o in retrieve.command.params}
    assert (asked["top_k"], asked["min_illumination"]) == (DEFAULT_COUNT, DEFAULT_LIGHT)
    assert {o.name: o.default for o in harmonize.command.params}["top_k"] == DEFAULT_COUNT


def test_a_mask_over_everything_ranks_by_content(index, query):
    composite, mask = query
    found = index.retrieve(composite, torch.ones_like(mask), k=3, weight=0.9, min_illumination=0.5)
    assert len(found) == 3 and all(r.score == pytest.approx(r.content) and r.illumination == 0 for r in found)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": 0}, "at least 1"),
        ({"weight": 1.5}, "between 0 and 1"),
        ({"min_content": float("nan")}, "min_content"),
        ({"mask": torch.zeros(1, 1, 90, 120)}, "mask is empty"),
        ({"mask": torch.ones(1, 1, 9, 12)}, "does not fit"),
        ({"composite": torch.zeros(2, 3, 90, 120)}, "one composite"),
    ],
)
def test_bad_queries_are_explained(index, query, change, words):
    arguments = {"composite": query[0], "mask": query[1], **change}
    with pytest.raises(RaihaError, match=words):
        index.retrieve(**arguments)


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


def test_unknown_exclusions_are_said(index, query):
    assert "nowhere.png" in index.retrieve(*query, excluded=["nowhere.png"]).notices[0]


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
