"""Checking an index, and mending what can be made again from its catalogue."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import RaihaError
from . import manifest as manifests
from .catalogue import Catalogue
from .checks import require_current
from .folder import open_store
from .galleries import places
from .lock import explained, writing
from .manifest import Manifest
from .photos import file_hash
from .rows import ALIVE
from .stores import Access

_ANEW = "nothing can be restored, build the index anew with --rebuild"


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes:
        problems: what is wrong with the index itself; empty: it is sound.
        repaired: what was mended.
        missing: photos whose files have vanished.
        changed: photos whose bytes have changed (only if files were read).
        unreadable: files that could not be read when the index was built, with the reason.
    """

    problems: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether the index can be used as it is."""
        return not self.problems


def verify(
    directory: str | os.PathLike[str],
    *,
    files: bool = False,
    repair: bool = False,
    wait: float = 10.0,
    access: Access | None = None,
) -> Verification:
    """Check an index, also one that does not open, and mend it if asked.

    All rows of the catalogue and all published vectors are read and compared with their checksums, and counted. The
    manifest and the vectors can be made again from the catalogue; a damaged catalogue cannot be mended.

    Args:
        directory: folder of the index.
        files: also read every photo again and compare its bytes.
        repair: restore the manifest and the vectors.
        wait: seconds to wait for another writer before a repair.
        access: what the user gave for servers.

    Raises:
        RaihaError: there is no index, or another version of Raiha made it.
    """
    folder = Path(directory)
    report = Verification()
    manifest, lost = _manifest(folder, report)
    if manifest is None:
        return report
    require_current(manifest, folder)
    try:
        with contextlib.closing(Catalogue(folder, manifest)) as catalogue:
            broken = _catalogue_problems(catalogue, manifest, lost)
            if broken:
                report.problems.append(f"{catalogue.name} is damaged ({broken[0]}): {_ANEW}")
                return report
            _verify_vectors(folder, manifest, catalogue, report, lost, repair, wait, access or Access())
            _verify_files(catalogue, report, files)
    except RaihaError as error:
        report.problems.append(f"{manifest.catalogue} is damaged: {_ANEW}" if "is damaged" in str(error) else str(error))
    return report


def _manifest(folder: Path, report: Verification) -> tuple[Manifest | None, list[str]]:
    """The manifest, and what is wrong with it if it had to be restored from the catalogue; None: it cannot be.

    Raises:
        RaihaError: there is no index.
    """
    catalogues = sorted(folder.glob("catalogue-*.sqlite"), key=lambda p: p.stat().st_mtime, reverse=True)
    try:
        manifest = manifests.load(folder)
    except manifests.OlderFormat:
        raise
    except RaihaError as error:
        if not catalogues and not manifests.exists(folder):
            raise
        with contextlib.suppress(RaihaError):  # What is only being made anew is restored last.
            begun = folder / manifests.load(folder, manifests.REBUILD).catalogue
            catalogues.sort(key=lambda path: path == begun)
        lost = f"{manifests.NAME} is missing or damaged"
        for path in catalogues:
            with contextlib.suppress(RaihaError, KeyError, TypeError, ValueError, sqlite3.Error):
                return _restored(path), [lost]
        report.problems.append(f"{lost} ({error}), and so is the catalogue: {_ANEW}" if not catalogues else f"{lost}: {_ANEW}")
        return None, []
    if not (folder / manifest.catalogue).is_file():
        report.problems.append(f"{manifest.catalogue} is missing: {_ANEW}")
        return None, []
    return manifest, []


def _restored(path: Path) -> Manifest:
    """The manifest of a catalogue, at the last revision that it knows."""
    with contextlib.closing(sqlite3.connect(path.resolve().as_uri() + "?mode=ro", uri=True)) as db:
        meta = {key: json.loads(value) for key, value in db.execute("SELECT key, value FROM meta")}
        revision = db.execute("SELECT max(coalesce(max(born), 0), coalesce(max(nullif(died, ?)), 0)) FROM files", (ALIVE,)).fetchone()[0]
    manifest = manifests.from_document({**meta, "revision": int(revision or 0)})
    if manifest.catalogue != path.name:
        raise ValueError("identity")
    return manifest


def _catalogue_problems(catalogue: Catalogue, manifest: Manifest, lost: list[str]) -> list[str]:
    try:
        broken = catalogue.check()
        if broken:
            return broken
        constant = {key: catalogue.meta().get(key) for key in manifest.constant()}
        if constant != manifest.constant():
            return ["what it was made with is not what the manifest says"]
        if lost:
            return []
        counted, known = catalogue.recount(), manifest.counts
        # A writer that was killed before its manifest leaves photos of the next revision, which look as if they were kept.
        counted["kept"] = min(counted["kept"], known.get("kept", 0))
        wrong = [f"{number} {name} instead of {known.get(name, 0)}" for name, number in counted.items() if number != known.get(name, 0)]
        return [f"it holds {', '.join(wrong)}"] if wrong else []
    except RaihaError as error:
        return [str(error).partition(" is damaged (")[2].partition("): mend it")[0] or str(error)]


def _verify_vectors(
    directory: Path,
    manifest: Manifest,
    catalogue: Catalogue,
    report: Verification,
    lost: list[str],
    repair: bool,
    wait: float,
    access: Access,
) -> None:
    problems = list(lost)
    store = open_store(directory, manifest, access)
    with contextlib.closing(store):
        problems += store.check(manifest.store["state"], thorough=True)
        if not problems:
            try:
                store.load(catalogue, manifest.store["state"])
            except RaihaError as error:
                problems.append(str(error))
        if not (repair and problems):
            report.problems.extend(problems)
            return
        with writing(directory, wait), explained(directory):
            store.close()
            # Numbers only grow, so no reader takes the restored manifest for the one it knows.
            revision = max([manifest.revision, *(_revision(p.name) for p in directory.glob(f"vectors-{manifest.tag}-*"))])
            with contextlib.closing(Catalogue(directory, replace(manifest, revision=revision), write=True)) as writer:
                state = store.publish(writer, None, revision=writer.at, final=True)
                manifests.save(replace(manifest, revision=revision).next(state, writer.recount()), directory)
            store.collect_garbage([state])
        report.repaired.extend(problems)


def _revision(folder: str) -> int:
    digits = folder.rpartition("-")[2]
    return int(digits) if digits.isdigit() else 0


def _verify_files(catalogue: Catalogue, report: Verification, read: bool) -> None:
    roots = places(catalogue)
    hashes = {}
    if read:
        rows = {f.image for f in catalogue.files() if f.image is not None}
        hashes = {row: image.hash for row, image in catalogue.images(rows).items()}
    for row in catalogue.files():
        path = roots[row.root] / row.path
        if row.error is not None:
            report.unreadable.append((str(path), row.error))
        elif row.image is not None and not os.path.isfile(path):
            report.missing.append(str(path))
        elif row.image is not None and read:
            try:
                same = file_hash(path) == hashes[row.image]
            except OSError:
                same = False
            if not same:
                report.changed.append(str(path))
