from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raiha_core.cli.pairing import find_jobs, is_batch, key, pair
from raiha_core.errors import RaihaError

DRESSED = ("{}_mask", "{}-mask", "{}_matte", "{}.alpha", "mask_{}", "{}_MASK")
STEMS = st.text(string.ascii_letters + string.digits + "-_ .", min_size=1, max_size=12).filter(
    # Composites that are themselves named like masks are refused, not guessed.
    lambda s: s.strip(". ") == s and all(key(Path(dress.format(s) + ".png")) == s.lower() for dress in ("{}", *DRESSED))
)
DRESSES = st.sampled_from(["{}", *DRESSED])


@given(st.lists(STEMS, min_size=1, max_size=8, unique_by=lambda s: key(Path(f"{s}.png"))), DRESSES, st.booleans())
def test_every_composite_finds_its_own_mask(stems: list[str], dress: str, backwards: bool) -> None:
    composites = [Path(f"in/{s}.jpg") for s in stems]
    masks = [Path(f"masks/{dress.format(s)}.png") for s in stems]
    assert pair(composites, masks[::-1] if backwards else masks) == (list(zip(composites, masks, strict=True)), [])


@given(STEMS)
def test_the_key_of_a_name_is_its_own_key(stem: str) -> None:
    assert key(Path(f"{stem}_mask.png")) == stem.lower()


def test_an_exact_name_wins() -> None:
    masks = [Path("m/a.png"), Path("m/a_mask.png")]
    assert pair([Path("c/a.jpg")], masks) == ([(Path("c/a.jpg"), masks[0])], [])


@pytest.mark.parametrize("masks", [["a_mask.png", "mask_a.png"], ["a.png", "a.tif"], ["b.png"]])
def test_no_guessing_between_masks(masks: list[str]) -> None:
    pairs, failures = pair([Path("a.jpg")], [Path(m) for m in masks])
    assert pairs == [] and re.match(r"a\.jpg has (no mask|2 masks)", failures[0][1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "a_mask.png", "b.JPG", "b_mask.png", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_composites_and_masks_may_share_a_folder(folder: Path) -> None:
    for composite, mask in ((folder, folder), (folder, folder / "*_mask.png"), (folder / "?.*", folder)):
        plan = find_jobs(str(composite), str(mask), folder / "out", None)
        assert plan.failures == [] and [p.name for p in plan.left_out] in ([], ["notes.txt"])
        assert plan.batch
        assert [(j.composite.name, j.mask.name) for j in plan.jobs if j.mask] == [("a.png", "a_mask.png"), ("b.JPG", "b_mask.png")]
        assert [j.output for j in plan.jobs] == [folder / "out" / "a.png", folder / "out" / "b.JPG"]


def test_a_file_of_a_magic_name_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "shot[1].png").write_bytes(b"")
    assert not is_batch(str(tmp_path / "shot[1].png")) and is_batch(str(tmp_path / "shot[2].png"))


def test_misunderstandings_are_said(folder: Path) -> None:
    (folder / "c").mkdir()
    (folder / "c" / "a.png").write_bytes(b"")
    (folder / "c" / "a.webp").write_bytes(b"")
    cases: list[tuple[str, str | None, Path, Path | None, str]] = [
        ("a.png", "", folder / "o.png", None, "both as files"),
        ("", "a_mask.png", folder / "out", None, "one file"),
        ("", None, folder / "out.png", None, "needs a folder"),
        ("", None, folder, None, "overwritten"),
        ("*.gif", None, folder / "out", None, "no pictures"),
        ("c", "c", folder / "out", None, "same files"),
        ("c", None, folder / "out", folder / "looked", "Two pictures"),
        ("a.png", "a_mask.png", folder / "o.png", folder / "o.png", "Two pictures"),
    ]
    for composite, mask, output, attention, word in cases:
        with pytest.raises(RaihaError, match=word):
            find_jobs(str(folder / composite), None if mask is None else str(folder / mask), output, attention)


def test_what_cannot_be_paired_is_named_and_the_rest_is_done(folder: Path) -> None:
    (folder / "c.png").write_bytes(b"")
    (folder / "lost_mask.png").write_bytes(b"")
    plan = find_jobs(str(folder), str(folder), folder / "out", None)
    assert [j.composite.name for j in plan.jobs] == ["a.png", "b.JPG"]
    assert [c.name for c, _ in plan.failures] == ["c.png"] and "has no mask" in plan.failures[0][1]
    assert [p.name for p in plan.left_out] == ["lost_mask.png", "notes.txt"]
    (folder / "m").mkdir()
    (folder / "m" / "z.png").write_bytes(b"")
    with pytest.raises(RaihaError, match="all 3 composites"):
        find_jobs(str(folder / "?.*"), str(folder / "m"), folder / "out", None)


def test_unusual_suffixes_of_pictures_belong_to_a_batch(tmp_path: Path) -> None:
    for name in ("a.jfif", "b.JPE", "c.psd", "d.raw", "e.txt"):
        (tmp_path / name).write_bytes(b"")
    plan = find_jobs(str(tmp_path), None, tmp_path / "out", None)
    assert [(j.composite.name, j.output.name) for j in plan.jobs] == [("a.jfif", "a.png"), ("b.JPE", "b.png"), ("c.psd", "c.png")]
    assert [p.name for p in plan.left_out] == ["d.raw", "e.txt"]
