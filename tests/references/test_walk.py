"""What a gallery may hold besides photos: nothing of it stops a build, and all of it is accounted for."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raiha_core.errors import RaihaError
from raiha_core.references import ReferenceIndex
from raiha_core.references.photos import UnreadableImage, read_photo

resource = importlib.import_module("resource") if os.name == "posix" else None
posix = pytest.mark.skipif(os.name != "posix", reason="needs pipes, links and other users")


def left_out(index: ReferenceIndex) -> str:
    return "\n".join(index.info()["left_out"])


def as_another_user(action: Callable[[Path], None]) -> None:
    """Run an action in a process of a user who is not root, in a folder of his own; its failure is the test's."""
    folder = Path(tempfile.mkdtemp())
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(read)
            if os.getuid() == 0:
                os.chown(folder, 65534, 65534)
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            action(folder)
            code = 0
        except BaseException:
            os.write(write, traceback.format_exc().encode()[-60_000:])
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    shutil.rmtree(folder, ignore_errors=True)
    assert status == 0, said


@posix
def test_a_folder_that_may_not_be_listed_stops_nothing(encoder, fill_gallery):
    def build(folder: Path) -> None:
        gallery = folder / "photos"
        fill_gallery(gallery, 3)
        for name in ("private", "lost+found"):
            fill_gallery(gallery / name, 2, first=50)
            (gallery / name).chmod(0)
        fill_gallery(gallery / "locked", 1, first=70)[0].chmod(0)
        with ReferenceIndex.build(gallery, folder / "i", encoder) as index:
            assert len(index) == 3
            reasons = {path.name: why for path, why in index.failures()}
            assert "cannot be listed" in reasons["private"] and "cannot be read" in " ".join(reasons.values())
            assert len(reasons) == 2 and "lost+found" in left_out(index)
            index.update()
            assert len(index) == 3
            (gallery / "private").chmod(0o700)
            index.update()
            assert len(index) == 5 and len(index.failures()) == 1
            (gallery / "private").chmod(0)
            index.update()
            assert len(index) == 5, "what cannot be seen just now is not forgotten"
        (gallery / "private").chmod(0o700)
        (gallery / "lost+found").chmod(0o700)

    as_another_user(build)


@posix
def test_pipes_and_devices_neither_hang_nor_stop_a_build(tmp_path, encoder, fill_gallery):
    gallery = tmp_path / "photos"
    fill_gallery(gallery, 3)
    os.mkfifo(gallery / "pipe.jpg")
    (gallery / "zero.jpg").symlink_to("/dev/zero")
    (gallery / "folder.png").mkdir()
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder, follow_links=True) as index:
        assert len(index) == 3
        assert {path.name for path, why in index.failures() if "no file" in why} == {"pipe.jpg", "zero.jpg"}
    for name in ("pipe.jpg", "zero.jpg"):
        with pytest.raises(UnreadableImage, match="pipe, a device"):
            read_photo(gallery / name, 64)


def test_whatever_a_decoder_raises_is_one_bad_file(tmp_path, encoder, fill_gallery, monkeypatch):
    gallery = tmp_path / "photos"
    fill_gallery(gallery, 2)
    dds = bytearray(b"DDS " + (124).to_bytes(4, "little") + bytes(120))
    dds[8:12], dds[12:16], dds[16:20] = (0x1007).to_bytes(4, "little"), (4).to_bytes(4, "little"), (4).to_bytes(4, "little")
    dds[76:80], dds[80:84] = (32).to_bytes(4, "little"), (0x8000_0000).to_bytes(4, "little")
    (gallery / "odd.png").write_bytes(bytes(dds) + bytes(64))
    Image.new("RGB", (40, 30)).save(gallery / "damaged.avif")
    avif = (gallery / "damaged.avif").read_bytes()
    (gallery / "damaged.avif").write_bytes(avif[: len(avif) * 2 // 3])
    for number, error in enumerate((RuntimeError("broken"), NotImplementedError(), AssertionError(), ZeroDivisionError())):
        (gallery / f"raises{number}.tga").write_bytes(b"raise" + bytes([number]) * 40)
        opened = Image.open

        def open_(file, *arguments, _opened=opened, _number=number, _error=error, **options):
            head = file.read(6)
            file.seek(0)
            if head == b"raise" + bytes([_number]):
                raise _error
            return _opened(file, *arguments, **options)

        monkeypatch.setattr(Image, "open", open_)
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder) as index:
        assert len(index) == 2 and len(index.failures()) == 6
        assert all("damaged" in why for _, why in index.failures())


def test_files_of_other_kinds_are_counted_and_named(tmp_path, encoder):
    gallery = tmp_path / "photos"
    gallery.mkdir()
    for i in range(3):
        (gallery / f"{i}.CR2").write_bytes(b"raw")
    (gallery / "film.mov").write_bytes(b"film")
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder) as index:
        assert len(index) == 0 and "4 files" in left_out(index) and "3 .cr2" in left_out(index) and "1 .mov" in left_out(index)


@posix
def test_links_are_followed_inside_and_where_the_user_says_so(tmp_path, encoder, fill_gallery, query):
    gallery, outside, folder = tmp_path / "photos", tmp_path / "outside", tmp_path / "i"
    fill_gallery(gallery / "a", 3)
    fill_gallery(outside, 4, first=60)
    (gallery / "loop").symlink_to(gallery)
    (gallery / "again").symlink_to(gallery / "a")
    (gallery / "twin.png").symlink_to(next((gallery / "a").glob("*.png")))
    (gallery / "away").symlink_to(outside)
    (gallery / "one.png").symlink_to(next(outside.glob("*.png")))
    (gallery / "nowhere.png").symlink_to(tmp_path / "nothing.png")
    with ReferenceIndex.build(gallery, folder, encoder) as index:
        assert len(index) == 3 and index.info()["files"] == 4 and index.failures() == []
        assert "3 links" in left_out(index) and str(outside) in left_out(index) and "--follow-links" in left_out(index)
    with ReferenceIndex.build(gallery, folder, encoder, follow_links=True) as index:
        assert len(index) == 7 and "1 links" in left_out(index)
        assert {r.path.parent.name for r in index.retrieve(*query, k=9)} >= {"away"}
        index.update()
        assert len(index) == 7, "it is remembered"
    with ReferenceIndex.build(gallery, folder, encoder, follow_links=False, allow_empty=True) as index:
        assert len(index) == 3


@posix
def test_a_file_that_becomes_a_link_out_of_the_gallery_is_not_served(tmp_path, gallery, encoder, query):
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder) as index:
        best = index.retrieve(*query, k=1)[0]
        shutil.move(best.path, tmp_path / "private.png")
        best.path.symlink_to(tmp_path / "private.png")
        with pytest.raises(RaihaError, match="vanished or changed"):
            index.thumbnail(best.id)
        found = index.retrieve(*query, k=1)
        assert found[0].id != best.id and "leads out of the gallery" in found.notices[0]


def test_folders_of_tools_and_ignored_ones_are_left_out(tmp_path, gallery, encoder, fill_gallery):
    for name in ("@eaDir", "#recycle", "__MACOSX", ".thumbnails", "deep/@eaDir", "My.lrdata", "drafts", "nomedia"):
        fill_gallery(gallery / name, 1, first=80)
    (gallery / "nomedia" / ".nomedia").touch()
    (gallery / ".raihaignore").write_text("# mine\ndrafts/\n*0001.png\n!sub/\n")
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder) as index:
        assert len(index) == 23
        for name in ("@eaDir/", "#recycle/", "__MACOSX/", "drafts/", "8 ignored", "3 more"):
            assert name in left_out(index)
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder, ignore=["sub/", "disc*"]) as index:
        few = len(index)
        assert few < 15
        index.update()
        assert len(index) == few, "patterns are remembered"
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder, ignore=[""]) as index:
        assert len(index) == 23


def test_of_lookalikes_the_largest_is_kept(tmp_path, encoder, draw_picture, save_picture):
    large = Image.fromarray((draw_picture("stripes", 3, (480, 360)) * 255).astype(np.uint8))
    (tmp_path / "g" / "thumbs").mkdir(parents=True)
    large.save(tmp_path / "g" / "original.png")
    for i, side in enumerate((96, 160)):
        large.resize((side, side * 3 // 4)).save(tmp_path / "g" / "thumbs" / f"a{i}.png")
    save_picture(tmp_path / "g" / "other.png", draw_picture("disc", 1))
    import torch

    composite = torch.from_numpy(draw_picture("stripes", 991)).float().permute(2, 0, 1)[None]
    mask = torch.zeros(1, 1, 90, 120)
    mask[..., 20:70, 30:90] = 1
    with ReferenceIndex.build(tmp_path / "g", tmp_path / "i", encoder) as index:
        names = [r.path.name for r in index.retrieve(composite, mask, k=4)]
        assert sorted(names) == ["original.png", "other.png"]
        (tmp_path / "g" / "original.png").unlink()
        assert "a1.png" in [r.path.name for r in index.retrieve(composite, mask, k=4)]


def test_a_gallery_that_lost_most_photos_is_asked_about(tmp_path, encoder, fill_gallery, make_encoder):
    gallery, folder = tmp_path / "photos", tmp_path / "i"
    fill_gallery(gallery, 60)
    ReferenceIndex.build(gallery, folder, encoder).close()
    shutil.move(gallery, tmp_path / "drive")
    gallery.mkdir()  # The mount point of a drive that is unplugged.
    for again in (lambda: ReferenceIndex.build(gallery, folder, encoder), lambda: ReferenceIndex.updated(folder, encoder)):
        with pytest.raises(RaihaError, match=r"60 of 60 photos in .* are gone: connect its drive.*--allow-empty"):
            again()
    (gallery / "new.png").write_bytes(next((tmp_path / "drive").glob("*.png")).read_bytes())
    with pytest.raises(RaihaError, match="--allow-empty"):
        ReferenceIndex.build(gallery, folder, encoder)
    with ReferenceIndex.open(folder, encoder) as index:
        assert len(index) == 60
    with ReferenceIndex.build(gallery, folder, encoder, allow_empty=True) as index:
        assert len(index) == 1 and index.info()["kept"] == 59
    shutil.rmtree(gallery)
    shutil.move(tmp_path / "drive", gallery)

    class Never(make_encoder):
        def encode(self, images):
            raise AssertionError("what was embedded once is kept")

    with ReferenceIndex.build(gallery, folder, Never()) as index:
        assert len(index) == 60 and index.info()["kept"] == 0 and index.verify().sound


def test_moving_photos_within_a_gallery_asks_nothing(tmp_path, encoder, fill_gallery):
    gallery = tmp_path / "photos"
    fill_gallery(gallery / "old", 30)
    with ReferenceIndex.build(gallery, tmp_path / "i", encoder) as index:
        (gallery / "old").rename(gallery / "new")
        index.update()
        assert len(index) == 30 and index.info()["files"] == 30


@posix
def test_a_full_disk_is_said_in_a_sentence(encoder, fill_gallery):
    """A limit of zero bytes for what a process may write stands for a disk without room."""

    def build(folder: Path) -> None:
        fill_gallery(folder / "photos", 2)
        ReferenceIndex.build(folder / "photos", folder / "i", encoder).close()
        fill_gallery(folder / "photos", 4)
        fill_gallery(folder / "more", 1)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        for call in (
            lambda: ReferenceIndex.build(folder / "photos", folder / "new", encoder),
            lambda: ReferenceIndex.build(folder / "photos", folder / "i", encoder),
            lambda: ReferenceIndex.open(folder / "i", encoder).add(folder / "more"),
        ):
            try:
                call()
            except RaihaError as error:
                assert "index" in str(error) and ("full" in str(error) or "free space" in str(error)), error
            else:
                raise AssertionError("nothing was said")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        with ReferenceIndex.build(folder / "photos", folder / "i", encoder) as index:
            assert len(index) == 4 and index.verify(files=True).sound

    as_another_user(build)
