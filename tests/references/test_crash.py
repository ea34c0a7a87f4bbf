"""Killed builds, two writers, readers beside a writer."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from raiha_core.errors import RaihaError
from raiha_core.references import ReferenceIndex, verify
from raiha_core.references.lock import writing

# Imports everything once, then forks a builder for each line it reads: starting Python twenty times takes a minute.
NURSERY = """
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("helpers", sys.argv[1])
helpers = importlib.util.module_from_spec(spec); spec.loader.exec_module(helpers)
import torch
torch.set_num_threads(1)
from raiha_core.references import ReferenceIndex, builder
import filelock, faiss
builder.COMMIT_IMAGES = 8
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        def progress(done, total):
            os.write(1, f"{os.getpid()} {done}\\n".encode())
        ReferenceIndex.build(sys.argv[2], sys.argv[3], helpers.TinyEncoder(), progress=progress, workers=1).close()
        os._exit(0)
    os.waitpid(child, 0)
    os.write(1, b"over\\n")
"""
HELPERS = Path(__file__).with_name("conftest.py")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_twenty_kills_lose_at_most_the_last_moments(tmp_path, encoder, fill_gallery, query):
    gallery, folder = tmp_path / "photos", tmp_path / "i"
    fill_gallery(gallery, 8)
    ReferenceIndex.build(gallery, folder, encoder).close()
    fill_gallery(gallery, 240, first=8)
    moments = random.Random(4)
    kept = 8
    command = [sys.executable, "-c", NURSERY, str(HELPERS), str(gallery), str(folder)]
    nursery = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    assert nursery.stdin is not None and nursery.stdout is not None
    for _ in range(20):
        nursery.stdin.write("\n")
        child, reported = (int(word) for word in nursery.stdout.readline().split())
        wanted = moments.randrange(10)
        while reported < wanted:  # However fast the machine is, the kill hits a build at work.
            reported = int(nursery.stdout.readline().split()[1])
        time.sleep(moments.uniform(0, 0.01))
        os.kill(child, signal.SIGKILL)
        for line in nursery.stdout:
            if line == "over\n":
                break
            reported = int(line.split()[1])
        with ReferenceIndex.open(folder, encoder) as index:
            images = len(index)
            assert len(index.retrieve(*query, k=3)) == 3
        assert verify(folder).sound
        # Every eight photos are committed here, every 256 or 2 s in earnest; eight are embedded together.
        assert images >= kept + reported - 20, "more than the last moments were lost"
        assert images >= kept, "what was committed stays"
        kept = images
    nursery.stdin.close()
    assert nursery.wait() == 0
    nursery.stdout.close()
    assert 8 < kept < 248, "the kills hit builds at work"
    with ReferenceIndex.build(gallery, folder, encoder) as index:
        assert len(index) == 248 and index.verify(files=True).sound
    assert not list(folder.glob("*.new"))


def test_an_interrupted_build_keeps_what_it_did(tmp_path, gallery, encoder, make_encoder):
    class Stop(Exception):
        pass

    def interrupt(done: int, total: int) -> None:
        if done == 10:
            raise Stop

    with pytest.raises(Stop):
        ReferenceIndex.build(gallery, tmp_path / "i", encoder, progress=interrupt)
    with ReferenceIndex.open(tmp_path / "i", encoder) as index:
        assert len(index) == 10
    totals = []
    ReferenceIndex.build(gallery, tmp_path / "i", encoder, progress=lambda done, total: totals.append(total)).close()
    assert totals[0] == 14

    class Broken(make_encoder):
        def encode(self, images):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        ReferenceIndex.build(gallery, tmp_path / "j", Broken())
    with ReferenceIndex.build(gallery, tmp_path / "j", encoder) as index:
        assert len(index) == 24


def test_a_second_writer_waits_or_says_so(tmp_path, gallery, encoder):
    folder = tmp_path / "i"
    ReferenceIndex.build(gallery, folder, encoder).close()
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with writing(folder, 5):
            held.set()
            release.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(5)
    with ReferenceIndex.open(folder, encoder) as index:
        with pytest.raises(RaihaError, match=r"being written by process \d+ on"):
            index.update(wait=0.2)
        assert len(index) == 24, "readers are not disturbed"
        threading.Timer(0.3, release.set).start()
        index.update(wait=10)
    holder.join()


def test_a_reader_searches_while_a_writer_writes(tmp_path, gallery, encoder, fill_gallery, query):
    folder = tmp_path / "i"
    ReferenceIndex.build(gallery, folder, encoder).close()
    fill_gallery(gallery, 60, first=24)
    failures: list[BaseException] = []

    def write() -> None:
        try:
            ReferenceIndex.build(gallery, folder, encoder).close()
        except BaseException as error:
            failures.append(error)

    with ReferenceIndex.open(folder, encoder) as reader:
        expected = [r.id for r in reader.retrieve(*query, k=4)]
        writer = threading.Thread(target=write)
        writer.start()
        rounds = 0
        while writer.is_alive():
            assert [r.id for r in reader.retrieve(*query, k=4)] == expected
            with ReferenceIndex.open(folder, encoder) as fresh:
                assert len(fresh.retrieve(*query, k=4)) == 4
            rounds += 1
        writer.join()
        assert not failures and rounds > 0
        assert reader.refresh() and not reader.refresh()
        assert len(reader) == 84
