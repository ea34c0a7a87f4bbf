"""Files appear whole or not at all, and what a killed process left is cleared by the next."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from raiha_core import atomic
from raiha_core.atomic import atomically, replacing, replacing_folder
from raiha_core.errors import RaihaError

DIES = """
import os, sys
from pathlib import Path
from raiha_core.atomic import replacing
with replacing(Path(sys.argv[1])) as part:
    part.write_bytes(b"half")
    os._exit(9)
"""


@pytest.fixture(autouse=True)
def looks_every_time(monkeypatch):
    monkeypatch.setattr(atomic, "_INTERVAL", 0.0)


def test_what_a_killed_process_left_is_cleared_by_the_next_write(tmp_path):
    done = subprocess.run([sys.executable, "-c", DIES, str(tmp_path / "x.png")], check=False)
    assert done.returncode == 9
    [left] = tmp_path.iterdir()
    assert left.name.startswith(".x.") and left.suffix == ".png"
    atomically(tmp_path / "other.png", lambda part: part.write_bytes(b"whole") and None)
    assert [p.name for p in tmp_path.iterdir()] == ["other.png"]


def test_what_others_are_writing_stays(tmp_path):
    name = ".x.{host}-{pid}-01234567.raihapart.png"
    ours = tmp_path / name.format(host=atomic._host(), pid=os.getppid())
    foreign = tmp_path / name.format(host="00000000", pid=1)
    mine = tmp_path / ".hidden.png"
    for path in (ours, foreign, mine):
        path.write_bytes(b"half")
    with replacing(tmp_path / "a.png") as first, replacing(tmp_path / "a.png") as second:
        first.write_bytes(b"1")
        second.write_bytes(b"2")
    assert {p.name for p in tmp_path.iterdir()} == {ours.name, foreign.name, mine.name, "a.png"}
    os.utime(foreign, (0, 0))
    with replacing(tmp_path / "b.png") as part:
        part.write_bytes(b"3")
    assert not foreign.exists() and ours.exists()


def test_a_folder_is_looked_through_once_in_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_INTERVAL", 60.0)
    looked = []
    monkeypatch.setattr(os, "scandir", lambda folder: looked.append(folder) or iter(()))
    for i in range(5):
        atomically(tmp_path / f"{i}.png", lambda part: part.write_bytes(b"x") and None)
    assert looked == [tmp_path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"old")
    with pytest.raises(RaihaError, match="memory ran out"):
        atomically(tmp_path / "x.bin", lambda part: (_ for _ in ()).throw(MemoryError))
    assert (tmp_path / "x.bin").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


DIES_IN_A_FOLDER = DIES.replace("import replacing", "import replacing_folder as replacing").replace("part.write", "(part / 'x').write")


def test_folders_appear_whole_or_not_at_all(tmp_path):
    done = subprocess.run([sys.executable, "-c", DIES_IN_A_FOLDER, str(tmp_path / "vectors")], check=False)
    assert done.returncode == 9 and [p.name[:9] for p in tmp_path.iterdir()] == [".vectors."]
    with replacing_folder(tmp_path / "vectors") as part:
        (part / "a").write_bytes(b"1")
    assert [p.name for p in tmp_path.iterdir()] == ["vectors"]
    with pytest.raises(ZeroDivisionError), replacing_folder(tmp_path / "vectors") as part:
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.rglob("*")] == ["vectors", "a"]
    with replacing_folder(tmp_path / "vectors") as part:
        (part / "b").write_bytes(b"2")
    assert [p.name for p in tmp_path.rglob("*")] == ["vectors", "b"]
