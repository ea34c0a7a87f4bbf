"""Building, updating and shrinking indexes, under the write lock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ..content import ContentEncoder, load_encoder
from ..errors import RaihaError
from . import manifest as manifests
from .builder import Embedder, LocalEmbedder, Progress, Writer
from .catalogue import Catalogue
from .checks import is_current, require_current, require_encoder, wrong_encoder
from .folder import continues, create, info_of, make_folder, manifest_or_none, new_manifest, open_store, tidy
from .galleries import locate, places
from .lock import explained, writing
from .rows import Entry, FileRow
from .scan import Scan, check_gallery, scan
from .stores import Access, parse_store


@dataclass(frozen=True)
class Options:
    """How to write; see `ReferenceIndex.build`."""

    progress: Progress | None = None
    wait: float = 10.0
    workers: int | None = None
    cluster: str | None = None
    access: Access = field(default_factory=Access)
    allow_empty: bool = False
    follow_links: bool | None = None
    ignore: Sequence[str] | None = None


@contextlib.contextmanager
def _opened(directory: Path, access: Access, name: str = manifests.NAME, *, mend: bool = False) -> Iterator[Writer]:
    """Everything that is written to, of the manifest `name`; `mend` lets damaged vectors be made again."""
    manifest = manifests.load(directory, name)
    with (
        contextlib.closing(Catalogue(directory, manifest, write=True)) as catalogue,
        contextlib.closing(open_store(directory, manifest, access)) as store,
    ):
        if mend and store.check(manifest.store["state"]):
            manifest = replace(manifest, store={**manifest.store, "state": None})
            catalogue.dirty = True
        yield Writer(catalogue, store, manifest, name)


@contextlib.contextmanager
def _writer(directory: Path, options: Options, *, mend: bool = False) -> Iterator[Writer]:
    """Hold the lock and everything that is written to."""
    with writing(directory, options.wait), _opened(directory, options.access, mend=mend) as writer:
        yield writer


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
    name = encoder.id if isinstance(encoder, ContentEncoder) else encoder
    if not rebuild and manifests.exists(directory):
        with contextlib.suppress(manifests.OlderFormat):
            made = manifests.load(directory).encoder
            if name != made.id:
                raise wrong_encoder(directory, made, name)
    loaded = encoder if isinstance(encoder, ContentEncoder) else load_encoder(encoder, device)
    make_folder(directory)
    with writing(directory, options.wait):
        if manifests.exists(directory):
            wanted = {"kind": kind, "options": store_options}
            if rebuild:
                _rebuild(directory, {folder: options.follow_links for folder in folders}, loaded, options, wanted)
                return
            if _outdated(directory, loaded):
                _renew(directory, folders, loaded, options, wanted)
                return
        else:
            with explained(directory):
                create(directory, new_manifest(loaded, kind, store_options))
        with _opened(directory, options.access, mend=True) as writer:
            require_encoder(writer.manifest, loaded, directory)
            if writer.manifest.store["kind"] != kind and store != "faiss":
                kept = writer.manifest.store["kind"]
                raise RaihaError(f"the index at {directory} keeps its vectors in {kept}: make it anew with --rebuild")
            _build_galleries(writer, folders, loaded, options)
        tidy(directory, options.access)


def _build_galleries(writer: Writer, folders: Sequence[Path], encoder: ContentEncoder, options: Options) -> None:
    """Fill an index from folders, and from the galleries it knows already."""
    catalogue = writer.catalogue
    known = places(catalogue)
    roots = {root: folder for root, folder in known.items() if reachable(folder)}
    with explained(catalogue.directory):
        for folder in folders:
            if not any(folder.is_relative_to(known_folder) for known_folder in roots.values()):
                roots[catalogue.set_root(folder, links=options.follow_links)] = folder
            elif options.follow_links is not None and folder in roots.values():
                catalogue.set_root(folder, next(root for root, place in roots.items() if place == folder), options.follow_links)
        if options.ignore is not None:
            catalogue.set_meta({"ignore": list(options.ignore)})
    lost = [root for root in known if root not in roots]
    _fill(writer, _scan(catalogue, roots, options), _embedder(encoder, catalogue, options), options.progress, lost)


def _scan(catalogue: Catalogue, roots: dict[int, Path], options: Options) -> Scan:
    return scan(catalogue, roots.items(), catalogue.meta().get("ignore", ()), allow_empty=options.allow_empty)


def _outdated(directory: Path, encoder: ContentEncoder) -> bool:
    """Whether the index has to be made anew: of an earlier format or layout, or with other weights of the same encoder."""
    try:
        manifest = manifests.load(directory)
    except manifests.OlderFormat:
        return True
    return not is_current(manifest) or (manifest.encoder.id == encoder.id and manifest.encoder != info_of(encoder))


def _renew(directory: Path, folders: Sequence[Path], encoder: ContentEncoder, options: Options, new_store: dict[str, Any]) -> None:
    """Make an outdated index anew, of the galleries that it has and those given; what the user took out stays out.

    Raises:
        RaihaError: a gallery is not there, so that its photos would be lost.
    """
    manifest = manifest_or_none(directory, manifests.NAME)
    if manifest is None:  # Of an earlier format, which is not read.
        _rebuild(directory, {folder: options.follow_links for folder in folders}, encoder, options, new_store)
        return
    with contextlib.closing(Catalogue(directory, manifest)) as catalogue:
        where = places(catalogue)
        roots: dict[Path, bool | None] = {where[root.id]: root.links for root in catalogue.roots()}
        aside = {(where[row.root], row) for row in catalogue.files() if row.image is None and row.error is None}
        ignore = catalogue.meta().get("ignore")
    for folder in roots:
        if not reachable(folder):
            raise RaihaError(
                f"the index at {directory} has to be made anew for this version of its encoder, but the gallery {folder} is not there: "
                "connect its drive, or make it anew of other folders with --rebuild"
            )
    roots |= {folder: options.follow_links for folder in folders if not any(folder.is_relative_to(known) for known in roots)}
    kept = {"kind": manifest.store["kind"], "options": {k: v for k, v in manifest.store["options"].items() if k != "collection"}}
    chosen = options.ignore if options.ignore is not None else ignore
    _rebuild(directory, roots, encoder, replace(options, ignore=chosen), kept, aside)


def _rebuild(
    directory: Path,
    roots: Mapping[Path, bool | None],
    encoder: ContentEncoder,
    options: Options,
    store: dict[str, Any],
    aside: Iterable[tuple[Path, FileRow]] = (),
) -> None:
    """Make an index anew beside the old one, going on where an interrupted attempt stopped, and put it in its place.

    Args:
        roots: galleries, and whether links may lead out of each.
        store: `kind` and `options` of the vector store.
        aside: files that stay out of the index, with their gallery.
    """
    fresh = new_manifest(encoder, store["kind"], store["options"])
    with explained(directory):
        if not continues(directory, fresh):
            create(directory, fresh, manifests.REBUILD)
    with _opened(directory, options.access, manifests.REBUILD, mend=True) as writer:
        with explained(directory):
            rows = {folder: writer.catalogue.set_root(folder, links=links) for folder, links in roots.items()}
            writer.catalogue.put([Entry(rows[folder], row.path, row.size, row.mtime) for folder, row in aside])
        _build_galleries(writer, list(roots), encoder, replace(options, follow_links=None))
    old = manifest_or_none(directory, manifests.NAME)
    with explained(directory):
        (directory / manifests.REBUILD).replace(directory / manifests.NAME)
        manifests.sync_directory(directory)
    tidy(directory, options.access, old)


def reachable(folder: Path) -> bool:
    """Whether a gallery's folder is there."""
    try:
        return folder.is_dir()
    except OSError:
        return False


def update(directory: Path, encoder: ContentEncoder, options: Options) -> None:
    """See `ReferenceIndex.update`."""
    with writing(directory, options.wait):
        if _outdated(directory, encoder):
            _renew(directory, [], encoder, options, {})
            return
        with _opened(directory, options.access, mend=True) as writer:
            require_encoder(writer.manifest, encoder, directory)
            roots = places(writer.catalogue)
            for folder in roots.values():
                if not reachable(folder):
                    raise RaihaError(
                        f"the gallery {folder} is not there: connect its drive, or build the index again with the folder where it lies now"
                    )
            found = _scan(writer.catalogue, roots, options)
            _fill(writer, found, _embedder(encoder, writer.catalogue, options), options.progress, [])


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
        _fill(writer, _scan(catalogue, chosen, options), _embedder(encoder, catalogue, options), options.progress, [])


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
                aside.update((file.root, file.path) for file in catalogue.files_of([row])[row])
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
        writer.publish()
        return len(aside) + len(dropped)


def clean(directory: Path, options: Options) -> int:
    """See `ReferenceIndex.clean`."""
    with _writer(directory, options) as writer:
        deleted = writer.catalogue.clean()
        writer.publish()
        return deleted


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
    catalogue.set_meta({"left_out": found.left_out.document()})
    for root in lost:
        rows = list(catalogue.files(root))
        copies = catalogue.files_of(row.image for row in rows if row.image is not None)
        # A folder that is gone was moved if some of its photos turned up; otherwise its drive may just be unplugged.
        if any(file.root != root for files in copies.values() for file in files):
            catalogue.drop_files([(root, row.path) for row in rows])
            catalogue.drop_root(root)
    writer.publish()
