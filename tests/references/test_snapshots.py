"""Readers hold a state of the index as it was; writers and whoever closes it do not disturb them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from raiha_core.errors import RaihaError
from raiha_core.references import ReferenceIndex, verify
from raiha_core.references import manifest as manifests
from raiha_core.references.folder import open_store
from raiha_core.references.stores import Access

HELPERS = Path(__file__).with_name("conftest.py")
SECONDS = float(os.environ.get("RAIHA_STRESS_SECONDS", "4"))
"""How long the stress of readers against builds runs: `make stress` gives it a minute."""


def answers(index: ReferenceIndex, query: tuple[torch.Tensor, torch.Tensor]) -> tuple[tuple[str, float], ...]:
    return tuple((r.id, round(r.score, 5)) for r in index.retrieve(*query, k=3))


def run_beside(action: Callable[[], None], readers: list[Callable[[], None]], seconds: float) -> list[BaseException]:
    """Call readers in threads of their own, over and over, while `action` is called over and over; what they raised."""
    errors: list[BaseException] = []
    over = threading.Event()

    def repeat(call: Callable[[], None]) -> None:
        try:
            while not over.is_set() and not errors:
                call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=repeat, args=(reader,)) for reader in readers]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end and not errors:
            action()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    return errors


def test_threads_search_while_others_refresh_and_write(tmp_path, encoder, fill_gallery, query):
    """Two states of a gallery take turns; each answer is that of one of them, never a mixture, and nothing crashes."""
    gallery, aside, folder = tmp_path / "photos", tmp_path / "aside", tmp_path / "i"
    fill_gallery(gallery, 12)
    aside.mkdir()
    index = ReferenceIndex.build(gallery, folder, encoder)
    before = answers(index, query)
    best = index.retrieve(*query, k=1)[0].path
    states = {before}
    best.rename(aside / best.name)
    index.update()
    states.add(answers(index, query))
    assert len(states) == 2
    turns = 0

    def write() -> None:
        nonlocal turns
        there, away = (best, aside / best.name) if best.exists() else (aside / best.name, best)
        there.rename(away)
        ReferenceIndex.build(gallery, folder, encoder).close()
        index.refresh()
        turns += 1

    def read() -> None:
        # A file that is away is skipped, whatever the index says.
        found = tuple((r.id, round(r.score, 5)) for r in index.retrieve(*query, k=2))
        assert any(found == state[:2] for state in states), "a mixture of two states"

    def look() -> None:
        try:
            assert max(index.thumbnail(before[1][0], 32).size) <= 32
            index.refresh()
        except RaihaError as error:
            assert "vanished" in str(error)

    def read_anew() -> None:
        with ReferenceIndex.open(folder, encoder) as fresh:
            assert len(fresh.retrieve(*query, k=2)) == 2

    assert run_beside(write, [read, read, look, read_anew], SECONDS) == [] and turns > 1
    index.close()
    assert verify(folder).sound


READER = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("helpers", sys.argv[1])
helpers = importlib.util.module_from_spec(spec); spec.loader.exec_module(helpers)
import torch
torch.set_num_threads(1)
from raiha_core.references import ReferenceIndex
composite = torch.from_numpy(helpers.draw("stripes", 991)).float().permute(2, 0, 1)[None]
mask = torch.zeros(1, 1, *composite.shape[-2:])
mask[..., 20:70, 30:90] = 1
print("ready", flush=True)
count = 0
with ReferenceIndex.open(sys.argv[2], helpers.TinyEncoder()) as index:
    while sys.stdin.read(1) == "g":
        index.refresh()
        print(",".join(r.id for r in index.retrieve(composite, mask, k=1)), flush=True)
"""


def test_a_process_reads_while_another_writes(tmp_path, encoder, fill_gallery, query):
    gallery, folder = tmp_path / "photos", tmp_path / "i"
    fill_gallery(gallery, 8)
    with ReferenceIndex.build(gallery, folder, encoder) as index:
        expected = ",".join(r.id for r in index.retrieve(*query, k=1))
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(HELPERS), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert reader.stdin is not None and reader.stdout is not None and reader.stdout.readline() == "ready\n"
    replies: list[str] = []

    def ask() -> None:
        reader.stdin.write("g")
        reader.stdin.flush()
        replies.append(reader.stdout.readline().strip())
        assert replies[-1] == expected

    number = 1000

    def write() -> None:
        # Photos that fit less come and go; what fits best stays, and so must the answer. (The second best may be outdone.)
        nonlocal number
        files = fill_gallery(gallery / "discs", 1, first=number * 4)
        ReferenceIndex.build(gallery, folder, encoder).close()
        files[0].unlink()
        number += 1
        ReferenceIndex.build(gallery, folder, encoder, rebuild=number % 5 == 0).close()

    errors = run_beside(write, [ask], SECONDS)
    reader.stdin.close()
    assert reader.wait() == 0, "the reader ends as it should"
    reader.stdout.close()
    assert errors == [] and len(replies) > 1


def test_a_reader_keeps_its_state_until_it_refreshes(tmp_path, gallery, encoder, fill_gallery, query):
    folder = tmp_path / "i"
    with ReferenceIndex.build(gallery, folder, encoder) as reader:
        expected = answers(reader, query)
        copies = {r.id: r.path.read_bytes() for r in reader.retrieve(*query, k=3)}
        first = reader.retrieve(*query, k=1)[0]
        with ReferenceIndex.open(folder, encoder) as writer:
            writer.remove(first.id)
            fill_gallery(gallery, 4, first=400)
            writer.update()
            assert answers(writer, query)[0] != expected[0]
        assert answers(reader, query) == expected, "of the state that it holds"
        assert reader.path_of(first.id).read_bytes() == copies[first.id]
        assert reader.refresh() and not reader.refresh()
        assert answers(reader, query)[0] != expected[0] and len(reader) == 27


def test_who_has_just_read_a_manifest_still_finds_what_it_names(tmp_path, gallery, encoder, fill_gallery):
    folder = tmp_path / "i"
    with ReferenceIndex.build(gallery, folder, encoder) as writer:
        read = [manifests.load(folder)]
        for first in (400, 500):
            fill_gallery(gallery, 24, first=first)
            writer.update()
            read.append(manifests.load(folder))
        states = [manifest.store["state"] for manifest in read]
        assert len({state["folder"] for state in states}) == 3
        with contextlib.closing(open_store(folder, read[-1], Access())) as store:
            problems = [store.check(state, thorough=True) for state in states]
    assert problems[1:] == [[], []], "the last and the one before"
    assert "missing" in problems[0][0], "older ones do not fill the disk"


def test_what_is_cleaned_away_under_a_reader_is_not_missed_silently(tmp_path, gallery, encoder, query):
    folder = tmp_path / "i"
    with ReferenceIndex.build(gallery, folder, encoder) as reader, ReferenceIndex.open(folder, encoder) as writer:
        best = reader.retrieve(*query, k=1)[0]
        writer.remove(best.id)
        assert writer.info()["kept"] == 1
        assert writer.clean() == 1 and writer.info()["kept"] == 0 and writer.verify().sound
        # Its own state is no more, so it answers from the next one.
        assert answers(reader, query) == answers(writer, query) and len(reader) == 23
        writer.add(best.path)
        assert answers(writer, query)[0][0] == best.id


def test_the_last_reader_closes(tmp_path, gallery, encoder, query):
    index = ReferenceIndex.build(gallery, tmp_path / "i", encoder)
    snapshot = index._snapshot
    with snapshot.using():
        index.close()
        index.close()
        assert snapshot.catalogue.counts()["images"] == 24, "who reads may finish"
    with pytest.raises(RaihaError, match="closed"):
        index.retrieve(*query, k=4)
    with pytest.raises(RaihaError, match="closed"):
        index.refresh()
    assert not snapshot.hold()


def test_an_index_made_anew_in_the_same_folder_is_another(tmp_path, gallery, encoder, fill_gallery, query, monkeypatch):
    """Both have the same revision, the same encoder and the same folder."""
    monkeypatch.setattr("raiha_core.references.builder.COMMIT_SECONDS", 1e9)
    folder = tmp_path / "i"
    reader = ReferenceIndex.build(gallery, folder, encoder)
    revision, identity = reader.info()["revision"], reader.identity
    shutil.rmtree(folder)
    shutil.rmtree(gallery)
    fill_gallery(gallery, 12, first=500)
    with ReferenceIndex.build(gallery, folder, encoder) as other:
        assert other.info()["revision"] == revision and other.identity != identity
        assert reader.refresh() and reader.identity == other.identity
        assert answers(reader, query) == answers(other, query) and len(reader) == 12
    reader.close()


def test_rebuilding_keeps_the_old_answers_until_it_is_done(tmp_path, gallery, encoder, query):
    folder = tmp_path / "i"
    with ReferenceIndex.build(gallery, folder, encoder) as reader:
        expected, seen = answers(reader, query), []

        def look(done: int, total: int) -> None:
            reader.refresh()
            with ReferenceIndex.open(folder, encoder) as fresh:
                seen.append(answers(reader, query) == answers(fresh, query) == expected)
            if len(seen) == 9:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            ReferenceIndex.build(gallery, folder, encoder, progress=look, rebuild=True)
        assert answers(reader, query) == expected and verify(folder).sound
        totals = []
        ReferenceIndex.build(gallery, folder, encoder, progress=lambda done, total: totals.append(total), rebuild=True).close()
        assert totals[0] == 24 - 8, "it went on where it had stopped"
        assert all(seen) and reader.refresh() and answers(reader, query) == expected
    assert len(list(folder.glob("catalogue-*.sqlite"))) == 1 and not (folder / "rebuild.json").exists()
