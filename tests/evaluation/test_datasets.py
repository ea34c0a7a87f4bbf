"""Layouts, lists, and what is said about broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raiha_core import RaihaError
from raiha_core.evaluation import IHarmony4, TripletFolder, open_dataset


def test_triplets_have_kinds_labels_and_references(triplets: Path) -> None:
    data = TripletFolder(triplets)
    assert [item.name for item in data] == [f"pic_{i}" for i in range(6)]
    assert data.groups == ("edit", "lut")
    assert data[4].label == "dog"
    assert [r.name for r in data[0].references] == ["r1.png", "r2.png"] and data[1].references == ()


def test_incomplete_triplets_are_named(triplets: Path) -> None:
    (triplets / "mask" / "pic_3.png").unlink()
    data = TripletFolder(triplets)
    assert len(data) == 5 and data.missing == ("pic_3",)


def test_iharmony4_pairs_by_name(iharmony4: Path) -> None:
    data = IHarmony4(iharmony4)
    assert data.groups == ("HCOCO", "HAdobe5k", "HFlickr", "Hday2night")
    assert len(data) == 8 and not data.missing and not data.note
    item = data[-1]
    assert item.name == "Hday2night/d90000001-10_1_2.jpg"
    assert (item.mask.name, item.real.name) == ("d90000001-10_1.png", "d90000001-10.jpg")


def test_iharmony4_joint_list_single_subset_and_no_list(iharmony4: Path) -> None:
    for listing in iharmony4.glob("*/*.txt"):
        listing.unlink()
    assert len(IHarmony4(iharmony4)) == 8 and "HCOCO" in IHarmony4(iharmony4).note
    joint = "HFlickr/composite_images/f12_1_2.jpg\nHCOCO/composite_images/c7_1_1.jpg\nHCOCO/composite_images/gone_1_1.jpg\n"
    (iharmony4 / "IHD_test.txt").write_text(joint)
    data = IHarmony4(iharmony4)
    assert [i.name for i in data] == ["HCOCO/c7_1_1.jpg", "HFlickr/f12_1_2.jpg"] and data.missing == ("HCOCO/gone_1_1.jpg",)
    assert [i.name for i in IHarmony4(iharmony4 / "HFlickr")] == ["HFlickr/f12_1_2.jpg"]


def test_layout_is_recognised(triplets: Path, iharmony4: Path, tmp_path: Path) -> None:
    assert isinstance(open_dataset(triplets), TripletFolder)
    assert isinstance(open_dataset(iharmony4), IHarmony4)
    with pytest.raises(RaihaError, match="is no data set"):
        open_dataset(tmp_path)
    with pytest.raises(RaihaError, match="not a folder"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(RaihaError, match="not laid out as iHarmony4"):
        open_dataset(triplets, iharmony4=True)


def test_the_papers_reference_list(iharmony4: Path) -> None:
    listing = iharmony4 / "refs.jsonl"
    entries = [
        {
            "input": "HCOCO/composite_images/c7_1_2.jpg",
            "mask": "HCOCO/masks/c7_1.png",
            "refs": ["HAdobe5k/real_images/a0001.jpg", "HFlickr/real_images/f12.jpg"],
        },
        {"input": "HFlickr/composite_images/f12_1_1.jpg", "mask": "HFlickr/masks/f12_1.png", "refs": ["HCOCO/real_images/gone.jpg"]},
        {"input": "HCOCO/composite_images/gone_1_1.jpg", "mask": "HCOCO/masks/gone_1.png", "refs": []},
    ]
    listing.write_text("\n\n".join(map(json.dumps, entries)))
    data = IHarmony4(iharmony4).with_references(listing)
    assert [i.name for i in data] == ["HCOCO/c7_1_2.jpg", "HFlickr/f12_1_1.jpg"]
    assert [r.name for r in data[0].references] == ["a0001.jpg", "f12.jpg"] and data[1].references == ()
    assert data.missing == ("HCOCO/real_images/gone.jpg", "HCOCO/composite_images/gone_1_1.jpg")
    assert "1 of them without" in data.note
    assert len(IHarmony4(iharmony4).with_references(listing, limit=1)[0].references) == 1


def test_a_reference_list_may_name_what_the_test_list_does_not(iharmony4: Path) -> None:
    (iharmony4 / "HCOCO" / "HCOCO_test.txt").write_text("c7_1_1.jpg\n")
    listing = iharmony4 / "refs.jsonl"
    listing.write_text(json.dumps({"input": "HCOCO/composite_images/c7_1_2.jpg", "mask": "HCOCO/masks/c7_1.png", "refs": []}))
    assert [i.real.name for i in IHarmony4(iharmony4).with_references(listing)] == ["c7.jpg"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "line 1 is no JSON"),
        ("[]", "line 1 is no JSON object"),
        ('{"input": "a", "mask": "b", "refs": "c"}', "entry 1"),
        ('{"input": "a.jpg", "mask": "b.png", "refs": []}', "names no composite"),
        ("", "names no composite"),
    ],
)
def test_broken_lists(iharmony4: Path, text: str, says: str) -> None:
    listing = iharmony4 / "refs.jsonl"
    listing.write_text(text)
    with pytest.raises(RaihaError, match=says):
        IHarmony4(iharmony4).with_references(listing)


def test_missing_list(triplets: Path) -> None:
    with pytest.raises(RaihaError, match="cannot be read"):
        TripletFolder(triplets).with_references(triplets / "no.jsonl")


def test_a_limit_spreads_over_the_data(iharmony4: Path) -> None:
    data = IHarmony4(iharmony4)
    assert [i.group for i in data.limited(4)] == list(data.groups)
    assert data.limited(99) == data.items == data.limited(None)
