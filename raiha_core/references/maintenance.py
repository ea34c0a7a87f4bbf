"""Building, updating and shrinking indexes, under the write lock."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..content.base import ContentEncoder
from ..errors import RaihaError
from ..illumination import DESCRIPTOR_ID
from . import manifest as manifests
from .builder import Embedder, LocalEmbedder, Progress, Writer
from .catalogue import NAME as CATALOGUE
from .catalogue import Catalogue
from .checks import load_by_name, locate, open_store, places, require_current, require_encoder, wrong_encoder
from .lock import writing
from .manifest import EncoderInfo, Manifest
from .regions import LAYOUT
from .scan import Scan, check_gallery, scan
from .stores import parse_store


@dataclass(frozen=True)
class Options:
    """How to write; see `ReferenceIndex.build`."""

    progress: Progress | None = None
    wait: float = 10.0
    workers: int | None = None
    cluster: str | None = None
    token: str | None = None


@contextlib.contextmanager
def _writer(directory: Path, options: Options, *, mend: bool = False) -> Iterator[Writer]:
    """Hold the lock and everything that is written to; `mend` lets damaged vectors be made again."""
    with (
        writing(directory, options.wait),
        contextlib.closing(Catalogue(directory)) as catalogue,
        contextlib.closing(open_store(directory, manifests.load(directory), options.token)) as store,
    ):
        manifest = manifests.load(directory)
        if mend and store.check(manifest.store["state"]):
            manifest = manifest.next(None, catalogue.counts())
        yield Writer(catalogue, store, manifest)


def build(
    directory: Path,
    galleries: Sequence[Path],
    encoder: str | ContentEncoder,
    options: Options,
    *,
    store: str,
    device: torch.device | str | None,
    rebuild: bool,
) -> None:
    """See `ReferenceIndex.build`."""
    kind, store_options = parse_store(store)
    folders = [check_gallery(g) for g in galleries]
    if not folders:
        raise RaihaError("no gallery folder given: name a folder with photos")
    if not rebuild and manifests.exists(directory):
        made = manifests.load(directory).encoder
        name = encoder.id if isinstance(encoder, ContentEncoder) else encoder
        if name != made.id:
            raise wrong_encoder(directory, made, name)
    loaded = encoder if isinstance(encoder, ContentEncoder) else load_by_name(encoder, device)
    _create(directory, loaded, kind, store_options, options, rebuild)
    with _writer(directory, options, mend=True) as writer:
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
        _fill(writer, scan(catalogue, roots.items()), _embedder(loaded, catalogue, options), options.progress, lost)


def _create(directory: Path, encoder: ContentEncoder, kind: str, store_options: dict[str, Any], options: Options, rebuild: bool) -> None:
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
    with writing(directory, options.wait):
        if rebuild:
            _wipe(directory, options.token)
        if manifests.exists(directory):
            return
        if kind == "milvus":
            # Several indexes may share a server.
            store_options = {**store_options, "collection": f"raiha_{uuid.uuid4().hex[:12]}"}
        manifest = Manifest(
            EncoderInfo(encoder.id, encoder.weights_hash, encoder.dim),
            DESCRIPTOR_ID,
            LAYOUT,
            {"kind": kind, "options": store_options, "state": None},
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
        store = open_store(directory, manifests.load(directory), token)
        store.destroy()
        store.close()
    # The manifest goes first: from here on there is no index, rather than half of one.
    for name in (manifests.NAME, CATALOGUE, CATALOGUE + "-journal"):
        (directory / name).unlink(missing_ok=True)
    for folder in directory.glob("vectors-*"):
        shutil.rmtree(folder, ignore_errors=True)


def update(directory: Path, encoder: ContentEncoder, options: Options) -> None:
    """See `ReferenceIndex.update`."""
    with _writer(directory, options, mend=True) as writer:
        require_encoder(writer.manifest, encoder, directory)
        require_current(writer.manifest, directory)
        roots = places(writer.catalogue)
        for folder in roots.values():
            if not folder.is_dir():
                raise RaihaError(
                    f"the gallery {folder} is not there: connect its drive, or build the index again with the folder where it lies now"
                )
        _fill(writer, scan(writer.catalogue, roots.items()), _embedder(encoder, writer.catalogue, options), options.progress, [])


def add(directory: Path, paths: Sequence[Path], encoder: ContentEncoder, options: Options) -> None:
    """See `ReferenceIndex.add`."""
    with _writer(directory, options) as writer:
        require_encoder(writer.manifest, encoder, directory)
        require_current(writer.manifest, directory)
        catalogue = writer.catalogue
        roots = places(catalogue)
        chosen: dict[int, Path] = {}
        back: list[tuple[int, str]] = []
        for path in paths:
            located = locate(roots, path)
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
        _fill(writer, scan(catalogue, chosen.items()), _embedder(encoder, catalogue, options), options.progress, [])


def remove(directory: Path, names: Sequence[Path], options: Options) -> int:
    """See `ReferenceIndex.remove`."""
    with _writer(directory, options) as writer:
        catalogue = writer.catalogue
        roots = places(catalogue)
        aside: set[tuple[int, str]] = set()
        whole: list[int] = []
        for name in names:
            row = catalogue.image_by_id(str(name))
            if row is not None:
                aside.update(catalogue.files_of([row])[row])
                continue
            located = locate(roots, name)
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


def _embedder(encoder: ContentEncoder, catalogue: Catalogue, options: Options) -> Embedder:
    if options.cluster is not None:
        from .cluster import ClusterEmbedder

        return ClusterEmbedder(encoder, catalogue.hashes(), options.cluster)
    return LocalEmbedder(encoder, catalogue.hashes(), options.workers)


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
