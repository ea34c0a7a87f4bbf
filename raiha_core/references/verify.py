"""Checking an index, and mending what can be made again from its catalogue."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import RaihaError
from . import manifest as manifests
from .catalogue import NAME as CATALOGUE
from .catalogue import Catalogue
from .checks import open_store, places
from .lock import writing
from .manifest import EncoderInfo, Manifest
from .photos import file_hash


@dataclass(frozen=True)
class Report:
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
    directory: str | os.PathLike[str], *, files: bool = False, repair: bool = False, wait: float = 10.0, token: str | None = None
) -> Report:
    """Check an index, also one that does not open, and mend it if asked.

    The manifest and the vectors can be made again from the catalogue; a damaged catalogue cannot be mended.

    Args:
        directory: folder of the index.
        files: also read every photo again and compare its bytes.
        repair: restore the manifest and the vectors.
        wait: seconds to wait for another writer before a repair.
        token: access token of a Milvus cluster.

    Raises:
        RaihaError: there is no index.
    """
    folder = Path(directory)
    if not (folder / CATALOGUE).is_file():
        manifests.load(folder)
        return Report(problems=[f"{CATALOGUE} is missing: nothing can be restored, build the index anew with --rebuild"])
    report = Report()
    try:
        catalogue = Catalogue(folder)
    except RaihaError:
        report.problems.append(f"{CATALOGUE} is damaged: nothing can be restored, build the index anew with --rebuild")
        return report
    with contextlib.closing(catalogue):
        try:
            broken = catalogue.check()
        except RaihaError as error:
            broken = [str(error)]
        if broken:
            report.problems.append(f"{CATALOGUE} is damaged ({broken[0]}): build the index anew with --rebuild")
            return report
        _verify_vectors(folder, catalogue, report, repair, wait, token)
        _verify_files(catalogue, report, files)
    return report


def _verify_vectors(directory: Path, catalogue: Catalogue, report: Report, repair: bool, wait: float, token: str | None) -> None:
    problems = []
    try:
        manifest = manifests.load(directory)
    except RaihaError:
        problems.append("manifest.json is missing or damaged")
        constant = catalogue.meta()
        manifest = Manifest(EncoderInfo(**constant["encoder"]), constant["illumination"], constant["regions"], constant["store"])
    store = open_store(directory, manifest, token)
    with contextlib.closing(store):
        problems += store.check(manifest.store["state"])
        if not problems:
            try:
                store.load(catalogue, manifest.store["state"])
            except RaihaError as error:
                problems.append(str(error))
        if not (repair and problems):
            report.problems.extend(problems)
            return
        with writing(directory, wait):
            store.close()
            # Numbers only grow, so no reader takes the restored manifest for the one it knows.
            revision = max([manifest.revision, *(_revision(p.name) for p in directory.glob("vectors-*"))])
            state = store.publish(catalogue, None, revision=revision + 1, final=True)
            restored = replace(manifest, revision=revision).next(state, catalogue.counts())
            manifests.save(restored, directory)
            store.collect_garbage([state])
        report.repaired.extend(problems)


def _revision(folder: str) -> int:
    digits = folder.removeprefix("vectors-").removesuffix(".new")
    return int(digits) if digits.isdigit() else 0


def _verify_files(catalogue: Catalogue, report: Report, read: bool) -> None:
    roots = places(catalogue)
    hashes = {}
    if read:
        rows = {f.image for f in catalogue.files() if f.image is not None}
        hashes = {row: image.hash for row, image in catalogue.images(rows).items()}
    for row in catalogue.files():
        path = roots[row.root] / row.path
        if row.error is not None:
            report.unreadable.append((str(path), row.error))
        elif row.image is not None and not path.is_file():
            report.missing.append(str(path))
        elif row.image is not None and read:
            try:
                same = file_hash(path) == hashes[row.image]
            except OSError:
                same = False
            if not same:
                report.changed.append(str(path))
