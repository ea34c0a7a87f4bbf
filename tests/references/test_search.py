"""Searching an index: what is found, in which order, what is left out, and what is said of it."""

from __future__ import annotations

import pytest
import torch

from raiha_core.errors import RaihaError
from raiha_core.references import Reference, ReferenceIndex, search
from raiha_core.references.index import DEFAULT_COUNT, DEFAULT_LIGHT


def names(references: list[Reference]) -> list[str]:
    return [r.path.name for r in references]


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


def test_unknown_exclusions_are_said(index, query):
    assert "nowhere.png" in index.retrieve(*query, excluded=["nowhere.png"]).notices[0]
