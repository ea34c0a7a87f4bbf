"""Building, updating, shrinking, checking and mending indexes: everything that holds the write lock."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ..content.base import ContentEncoder
from ..errors import RaihaError
from ..illumination import DESCRIPTOR_DIM, DESCRIPTOR_ID
from . import manifest as manifests
from .builder import Embedder, LocalEmbedder, Progress, Writer
from .catalogue import ID_LENGTH, Catalogue
from .catalogue import NAME as CATALOGUE
from .lock import writing
from .manifest import EncoderInfo, Manifest
from .photos import file_hash
from .regions import LAYOUT
from .scan import Scan, check_gallery, scan
from .stores import VectorStore, create_store, parse_store


def load(name: str, device: torch.device | str | None) -> ContentEncoder:
    """Load a content encoder by name."""
    from ..content import load_encoder

    encoder: ContentEncoder = load_encoder(name, device)
    return encoder


def wrong_encoder(directory: Path, made: EncoderInfo, asked: object) -> RaihaError:
    """The sentence for an index and an encoder that do not belong together."""
    return RaihaError(
        f"the index at {directory} was made with the encoder {made}, not with {asked}: use {made.id}, or make it anew with --rebuild"
    )


def require_encoder(manifest: Manifest, encoder: ContentEncoder, directory: Path | None = None) -> None:
    """Refuse an encoder whose vectors cannot be compared with those of the index.

    Raises:
        RaihaError: names both.
    """
    given = EncoderInfo(encoder.id, encoder.weights_hash, encoder.dim)
    if given != manifest.encoder:
        raise wrong_encoder(directory or Path("."), manifest.encoder, given)


def require_current(manifest: Manifest, directory: Path) -> None:
    """Refuse to mix descriptors or regions of another version of Raiha."""
    if (manifest.illumination, manifest.regions) != (DESCRIPTOR_ID, LAYOUT):
        raise RaihaError(f"the index at {directory} was made by another version of Raiha: make it anew with --rebuild")


def check_numbers(*, k: int, weight: float, min_content: float, min_illumination: float) -> None:
    """Refuse numbers out of range.

    Raises:
        RaihaError: names the number and its range.
    """
    if k < 1:
        raise RaihaError(f"the number of references must be at least 1, not {k}")
    for name, value in (("weight", weight), ("min_content", min_content), ("min_illumination", min_illumination)):
        if not (math.isfinite(value) and 0 <= value <= 1):
            raise RaihaError(f"{name} must lie between 0 and 1, not {value}")


def places(catalogue: Catalogue, moved: Path | None = None) -> dict[int, Path]:
    """Where each gallery lies: as it was added, or at the same place relative to the index, or where the user says."""
    found = {}
    for root in catalogue.roots():
        path = Path(root.path)
        beside = Path(os.path.normpath(catalogue.directory.resolve() / root.relative))
        found[root.id] = moved or (path if path.is_dir() or not beside.is_dir() else beside)
    return found


def row_of_path(catalogue: Catalogue, roots: dict[int, Path], path: Path) -> int | None:
    """Row of the photo in a file, by its path."""
    located = _locate(roots, path)
    row = catalogue.file(*located) if located else None
    return row.image if row else None


def _locate(roots: dict[int, Path], path: Path) -> tuple[int, str] | None:
    absolute = Path(os.path.abspath(path))
    for root, folder in roots.items():
        if absolute.is_relative_to(folder):
            return root, absolute.relative_to(folder).as_posix()
    return None


# --- writing


@contextlib.contextmanager
def _writer(directory: Path, wait: float, token: str | None, mend: bool = False) -> Iterator[Writer]:
    with writing(directory, wait):
        manifest = manifests.load(directory)
        catalogue = Catalogue(directory)
        store = _store(directory, manifest, token)
        if mend and store.check(manifest.store["state"]):
            manifest = manifest.next(None, catalogue.counts())
        try:
            yield Writer(catalogue, store, manifest)
        finally:
            store.close()
            catalogue.close()


def _store(directory: Path, manifest: Manifest, token: str | None) -> VectorStore:
    return create_store(manifest.store["kind"], directory, manifest.encoder.dim, DESCRIPTOR_DIM, manifest.store["options"], token)


def build(
    directory: Path,
    galleries: Sequence[Path],
    encoder: str | ContentEncoder,
    *,
    store: str,
    device: torch.device | str | None,
    progress: Progress | None,
    wait: float,
    rebuild: bool,
    workers: int | None,
    cluster: str | None,
    token: str | None,
) -> None:
    """See `ReferenceIndex.build`."""
    kind, options = parse_store(store)
    folders = [check_gallery(g) for g in galleries]
    if not folders:
        raise RaihaError("no gallery folder given: name a folder with photos")
    if not rebuild and manifests.exists(directory):
        made = manifests.load(directory).encoder
        name = encoder.id if isinstance(encoder, ContentEncoder) else encoder
        if name != made.id:
            raise wrong_encoder(directory, made, name)
    loaded = encoder if isinstance(encoder, ContentEncoder) else load(encoder, device)
    _create(directory, loaded, kind, options, wait, rebuild, token)
    with _writer(directory, wait, token, mend=True) as writer:
        require_encoder(writer.manifest, loaded, directory)
        require_current(writer.manifest, directory)
        if writer.manifest.store["kind"] != kind and store != "faiss":
            raise RaihaError(f"the index at {directory} keeps its vectors in {writer.manifest.store['kind']}: make it anew with --rebuild")
        catalogue = writer.catalogue
        known = places(catalogue)
        roots = {root: folder for root, folder in known.items() if folder.is_dir()}
        for folder in folders:
            if not any(folder.is_relative_to(known_folder) for known_folder in roots.values()):
                roots[catalogue.set_root(folder)] = folder
        lost = [root for root in known if root not in roots]
        _fill(writer, scan(catalogue, roots.items()), _embedder(loaded, catalogue, workers, cluster), progress, lost)


def _create(
    directory: Path, encoder: ContentEncoder, kind: str, options: dict[str, Any], wait: float, rebuild: bool, token: str | None
) -> None:
    """Make an empty index, unless there is one."""
    if directory.exists() and not directory.is_dir():
        raise RaihaError(f"{directory} is a file: choose a folder for the index")
    ours = manifests.exists(directory) or (directory / CATALOGUE).exists()
    if directory.is_dir() and not ours and any(p.name not in ("writer.lock", "writer.json") for p in directory.iterdir()):
        raise RaihaError(f"the folder {directory} holds other things: choose an empty or a new folder for the index")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RaihaError(f"cannot make the index folder {directory}: {error.strerror or error}") from error
    with writing(directory, wait):
        if rebuild:
            _wipe(directory, token)
        if manifests.exists(directory):
            return
        manifest = Manifest(
            EncoderInfo(encoder.id, encoder.weights_hash, encoder.dim),
            DESCRIPTOR_ID,
            LAYOUT,
            {"kind": kind, "options": options, "state": None},
        )
        # What a build that was killed before its first manifest left is worth nothing.
        (directory / CATALOGUE).unlink(missing_ok=True)
        catalogue = Catalogue(directory, create=True)
        # The manifest's constant parts, from which `verify` restores it.
        constant = {key: value for key, value in asdict(manifest).items() if key in ("encoder", "illumination", "regions", "store")}
        catalogue.set_meta(constant)
        counts = catalogue.counts()
        catalogue.close()
        manifests.save(manifest.next(None, counts), directory)


def _wipe(directory: Path, token: str | None) -> None:
    with contextlib.suppress(RaihaError):
        store = _store(directory, manifests.load(directory), token)
        store.destroy()
        store.close()
    # The manifest goes first: from here on there is no index, rather than half of one.
    for name in (manifests.NAME, CATALOGUE, CATALOGUE + "-journal"):
        (directory / name).unlink(missing_ok=True)
    for folder in directory.glob("vectors-*"):
        shutil.rmtree(folder, ignore_errors=True)


def update(
    directory: Path,
    encoder: ContentEncoder,
    *,
    progress: Progress | None,
    wait: float,
    workers: int | None,
    cluster: str | None,
    token: str | None,
) -> None:
    """See `ReferenceIndex.update`."""
    with _writer(directory, wait, token, mend=True) as writer:
        require_encoder(writer.manifest, encoder, directory)
        require_current(writer.manifest, directory)
        roots = places(writer.catalogue)
        for folder in roots.values():
            if not folder.is_dir():
                raise RaihaError(
                    f"the gallery {folder} is not there: connect its drive, or build the index again with the folder where it lies now"
                )
        _fill(writer, scan(writer.catalogue, roots.items()), _embedder(encoder, writer.catalogue, workers, cluster), progress, [])


def add(
    directory: Path, paths: Sequence[Path], encoder: ContentEncoder, *, progress: Progress | None, wait: float, token: str | None
) -> None:
    """See `ReferenceIndex.add`."""
    with _writer(directory, wait, token) as writer:
        require_encoder(writer.manifest, encoder, directory)
        require_current(writer.manifest, directory)
        catalogue = writer.catalogue
        roots = places(catalogue)
        chosen: dict[int, Path] = {}
        back: list[tuple[int, str]] = []
        for path in paths:
            located = _locate(roots, path)
            if located is None:
                if path.is_file():
                    raise RaihaError(f"{path} lies in none of the index's galleries: add its folder instead")
                folder = check_gallery(path)
                root = catalogue.set_root(folder)
                roots[root] = chosen[root] = folder
            else:
                if not path.exists():
                    raise RaihaError(f"no photo or folder at {path}: check the path")
                root, inside = located
                chosen[root] = roots[root]
                back += [
                    (root, f.path)
                    for f in catalogue.files(root)
                    if f.image is None and (inside in (".", f.path) or f.path.startswith(inside + "/"))
                ]
        catalogue.drop_files(back)
        _fill(writer, scan(catalogue, chosen.items()), _embedder(encoder, catalogue, None, None), progress, [])


def remove(directory: Path, names: Sequence[Path], *, wait: float, token: str | None) -> int:
    """See `ReferenceIndex.remove`."""
    with _writer(directory, wait, token) as writer:
        catalogue = writer.catalogue
        roots = places(catalogue)
        aside: set[tuple[int, str]] = set()
        whole: list[int] = []
        for name in names:
            row = catalogue.image_by_id(str(name))
            if row is not None:
                aside.update(catalogue.files_of([row])[row])
                continue
            located = _locate(roots, name)
            if located is None:
                raise RaihaError(f"{name} is not in the index at {directory}: give a photo's path or id, or one of its folders")
            root, inside = located
            if inside == ".":
                whole.append(root)
                continue
            files = [(root, f.path) for f in catalogue.files(root) if f.path == inside or f.path.startswith(inside + "/")]
            if not files:
                raise RaihaError(f"{name} is not in the index at {directory}: give a photo's path or id, or one of its folders")
            aside.update(files)
        dropped = [(root, f.path) for root in whole for f in catalogue.files(root)]
        aside -= set(dropped)
        catalogue.set_aside(aside)
        catalogue.drop_files(dropped)
        for root in whole:
            catalogue.drop_root(root)
        catalogue.drop_orphans()
        writer.publish()
        return len(aside) + len(dropped)


def _embedder(encoder: ContentEncoder, catalogue: Catalogue, workers: int | None, cluster: str | None) -> Embedder:
    if cluster is not None:
        from .cluster import ClusterEmbedder

        return ClusterEmbedder(encoder, catalogue.hashes(), cluster)
    return LocalEmbedder(encoder, catalogue.hashes(), workers)


def _fill(writer: Writer, found: Scan, embedder: Embedder, progress: Progress | None, lost: list[int]) -> None:
    """Embed what a scan found, then forget what is gone; photos of `lost` galleries that turned up elsewhere stay."""
    writer.add(found.failed)
    writer.write(found.tasks, embedder, progress)
    catalogue = writer.catalogue
    catalogue.drop_files(found.gone)
    for root in lost:
        rows = list(catalogue.files(root))
        copies = catalogue.files_of(row.image for row in rows if row.image is not None)
        # A folder that is gone was moved if some of its photos turned up; otherwise its drive may just be unplugged.
        if any(other != root for files in copies.values() for other, _ in files):
            catalogue.drop_files([(root, row.path) for row in rows])
            catalogue.drop_root(root)
    catalogue.drop_orphans()
    writer.publish()


# --- checking


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
    store = _store(directory, manifest, token)
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


def info(directory: Path, manifest: Manifest, catalogue: Catalogue, store: VectorStore, galleries: Sequence[Path]) -> dict[str, Any]:
    """See `ReferenceIndex.info`."""
    counts = catalogue.counts()
    size = sum(p.stat().st_size for p in directory.rglob("*") if p.is_file())
    return {
        "index": str(directory),
        "galleries": [str(g) for g in galleries],
        **counts,
        "encoder": asdict(manifest.encoder),
        "illumination": manifest.illumination,
        "store": store.describe(),
        "bytes": size,
        "revision": manifest.revision,
        "updated": manifest.updated,
        "id_length": ID_LENGTH,
    }
