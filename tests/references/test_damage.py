"""Damage is found or does no harm: no answer of a damaged index is taken for a sound one's."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from raiha_core.errors import RaihaError
from raiha_core.references import ReferenceIndex, verify
from raiha_core.references import manifest as manifests

Answers = list[tuple[str, float, float]]


@pytest.fixture
def sound(tmp_path, gallery, encoder) -> Path:
    """An index that has seen a change, so that it holds rows of several revisions."""
    folder = tmp_path / "sound"
    with ReferenceIndex.build(gallery, folder, encoder) as index:
        next(gallery.glob("*.png")).unlink()
        index.update()
    return folder


def answers(folder: Path, encoder, query) -> Answers:
    with ReferenceIndex.open(folder, encoder) as index:
        return [(r.id, round(r.content, 6), round(r.illumination, 6)) for r in index.retrieve(*query, k=30)]


def catalogue(folder: Path) -> Path:
    return next(folder.glob("catalogue-*.sqlite"))


@pytest.mark.parametrize("word", [b"roots", b"regions", b"CREATE TABLE"])
def test_a_schema_that_is_no_text(sound, encoder, word):
    """What SQLite says of it holds the damaged name, which Python cannot decode."""
    file = catalogue(sound)
    file.write_bytes(file.read_bytes().replace(word, word[:2] + b"\xa6" + word[3:]))
    with pytest.raises(RaihaError, match="damaged"):
        ReferenceIndex.open(sound, encoder)
    assert not verify(sound).sound


def by_sql(folder: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(catalogue(folder))) as db, db:
        for statement in statements:
            db.execute(statement)


def test_a_flipped_bit_anywhere_is_found_or_does_no_harm(tmp_path, sound, encoder, query):
    expected = answers(sound, encoder, query)
    files = [p.relative_to(sound) for p in sorted(sound.rglob("*")) if p.is_file() and p.name != "writer.lock"]
    moments, found = random.Random(15), 0
    for turn in range(45):
        folder = tmp_path / "damaged"
        shutil.copytree(sound, folder)
        path = folder / files[turn % len(files)]
        data = bytearray(path.read_bytes())
        data[moments.randrange(len(data))] ^= 1 << moments.randrange(8)
        path.write_bytes(data)
        try:
            same = answers(folder, encoder, query) == expected
        except RaihaError:
            same = False
        report = verify(folder)
        assert same or not report.sound, f"turn {turn}: {path.name}"
        found += not report.sound
        repaired = verify(folder, repair=True)
        if repaired.sound:
            assert answers(folder, encoder, query) == expected and verify(folder).sound
        shutil.rmtree(folder)
    assert found >= 20


@pytest.mark.parametrize(
    ("statements", "fails"),
    [
        (["UPDATE images SET illumination = zeroblob(length(illumination))"], True),
        (["UPDATE images SET illumination = x'00000000'"], True),
        (["UPDATE regions SET content = zeroblob(length(content))"], True),
        (["UPDATE regions SET content = x'0102'"], True),
        (["UPDATE regions SET content = 'text'"], True),
        (["UPDATE images SET look = x''"], True),
        (["UPDATE files SET path = '../photos/' || path"], True),
        (["DELETE FROM regions WHERE image IN (SELECT id FROM images LIMIT 5)"], False),
        (["DELETE FROM files WHERE image IN (1, 2, 3)"], False),
        (["DELETE FROM files"], False),
        (["UPDATE files SET image = 1 WHERE image IN (2, 3)"], True),
        (["UPDATE roots SET path = '/', relative = '.'"], True),
        (["UPDATE meta SET value = '{' WHERE key = 'encoder'"], True),
        (["DELETE FROM meta"], True),
    ],
)
def test_changes_by_sql_are_noticed(sound, encoder, query, statements, fails):
    expected = answers(sound, encoder, query)
    by_sql(sound, *statements)
    assert not verify(sound).sound
    try:
        wrong = answers(sound, encoder, query) != expected
    except RaihaError as error:
        assert "damaged" in str(error) or "holds no photos" in str(error)
    else:
        assert wrong and not fails, "a row that is not as it was written is never believed"


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1", "1e999", '"3"', "null", "true", "[]", "9" * 400])
@pytest.mark.parametrize("key", ["revision", "counts", "encoder", "store"])
def test_whatever_the_manifest_says_is_damage_in_a_sentence(sound, gallery, encoder, query, key, value):
    expected = answers(sound, encoder, query)
    path = sound / "manifest.json"
    document = json.loads(path.read_text())
    document[key] = "HERE" if key == "revision" else {**document[key], next(iter(document[key])): "HERE"}
    path.write_text(json.dumps(document).replace('"HERE"', value))
    for call in (lambda: ReferenceIndex.open(sound, encoder), lambda: ReferenceIndex.build(gallery, sound, encoder)):
        with pytest.raises(RaihaError, match="damaged"):
            call()
    assert not verify(sound).sound
    assert verify(sound, repair=True).sound and answers(sound, encoder, query) == expected


def test_a_replaced_catalogue_is_noticed(tmp_path, sound, gallery, encoder):
    ReferenceIndex.build(gallery, tmp_path / "other", encoder).close()
    shutil.copy(catalogue(tmp_path / "other"), catalogue(sound))
    with pytest.raises(RaihaError, match="belongs to another index"):
        ReferenceIndex.open(sound, encoder)
    assert not verify(sound).sound


def test_a_lost_manifest_is_restored_with_its_revision(sound, encoder, query):
    expected = answers(sound, encoder, query)
    with ReferenceIndex.open(sound, encoder) as index:
        before = index.info()
    (sound / "manifest.json").unlink()
    assert verify(sound, repair=True).repaired
    with ReferenceIndex.open(sound, encoder) as index:
        after = index.info()
    assert answers(sound, encoder, query) == expected
    assert after["revision"] > before["revision"] and after["images"] == before["images"] and after["kept"] == before["kept"]


def test_photos_that_were_replaced_or_taken_out_are_not_served(tmp_path, gallery, encoder, query, draw_picture, save_picture):
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder) as index:
        first, second, third = index.retrieve(*query, k=3)
        size = first.path.stat().st_size
        save_picture(first.path, draw_picture("disc", 4321))
        with pytest.raises(RaihaError, match="changed"):
            index.thumbnail(first.id)
        with pytest.raises(RaihaError, match="changed since it was indexed"):
            first.load()
        found = index.retrieve(*query, k=2)
        assert first.id not in {r.id for r in found} and "changed" in found.notices[0] and size
        content = second.path.read_bytes()
        second.path.write_bytes(content)  # Written anew, but the same.
        assert index.thumbnail(second.id).mode == "RGB" and second.load().shape[1] == 3
        index.remove(third.id)
        with pytest.raises(RaihaError, match="no photo"):
            index.thumbnail(third.id)


def test_an_index_of_an_earlier_layout_is_made_anew_and_not_called_damaged(sound, encoder, query):
    expected = answers(sound, encoder, query)
    made = manifests.load(sound)
    with contextlib.closing(sqlite3.connect(sound / made.catalogue)) as db, db:
        db.execute("UPDATE meta SET value = '\"whole+5\"' WHERE key = 'regions'")
        db.execute("DROP INDEX images_kind")
        db.execute("ALTER TABLE images DROP COLUMN kind")
    manifests.save(replace(made, regions="whole+5"), sound)
    for call in (lambda: verify(sound), lambda: ReferenceIndex.open(sound, encoder)):
        with pytest.raises(RaihaError, match="another version of Raiha: `raiha index build"):
            call()
    ReferenceIndex.updated(sound, encoder).close()
    assert answers(sound, encoder, query) == expected and verify(sound).sound
