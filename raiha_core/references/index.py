"""`ReferenceIndex`: the user's photos, searchable by what they show and by their light."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..content.base import ContentEncoder
from ..errors import RaihaError
from . import maintenance
from . import manifest as manifests
from .builder import Progress
from .catalogue import Catalogue
from .checks import check_numbers, load_by_name, open_store, require_encoder, wrong_encoder
from .lookup import Lookup
from .manifest import EncoderInfo, Manifest
from .query import make_query
from .ranking import Wishes
from .reference import THUMBNAIL_SIDE, References, load_picture
from .search import search
from .stores import VectorStore
from .verify import Report
from .verify import verify as verify_index

PathLike = str | os.PathLike[str]

DEFAULT_WEIGHT = 0.35


class ReferenceIndex:
    """An open index: a snapshot for searching, and the calls that change it.

    An index is a folder: `manifest.json`, `catalogue.sqlite`, and the vectors. Several processes may search it while one
    writes. An open index keeps what it found at opening or at its own last write; `refresh` takes in what others wrote.
    Made by `build` or `open`, not by the constructor. Usable from several threads; a context manager.
    """

    def __init__(self, directory: Path, encoder: ContentEncoder | None, device: torch.device | str | None, token: str | None):
        self.directory = directory
        self._device = device
        self._token = token
        self._encoder = encoder
        self._moved: Path | None = None
        self._manifest: Manifest
        self._catalogue: Catalogue
        self._store: VectorStore

    # --- opening and closing

    @classmethod
    def build(
        cls,
        gallery: PathLike | Sequence[PathLike],
        index_dir: PathLike,
        encoder: str | ContentEncoder = "embedded",
        *,
        store: str = "faiss",
        device: torch.device | str | None = None,
        progress: Progress | None = None,
        wait: float = 10.0,
        rebuild: bool = False,
        workers: int | None = None,
        cluster: str | None = None,
        token: str | None = None,
    ) -> ReferenceIndex:
        """Build an index of a gallery, or bring an existing one up to date; only what changed is read.

        What is done is kept every few seconds: after an interruption the same call goes on from there. Photos that
        cannot be read are skipped, listed by `failures`, and tried again by the next build. If the folders of an
        existing index are gone, photos in the new ones are recognised by their content and not embedded again.

        Args:
            gallery: a folder with photos, searched with its subfolders, or several.
            index_dir: folder of the index; made if it is not there.
            encoder: name of a content encoder (see `raiha_core.content.load_encoder`) or an encoder.
            store: `faiss`, `milvus` (embedded, in the index folder) or `milvus:URI`; fixed when the index is made.
            device: where the encoder runs; None lets it choose.
            progress: called with (files done, files to do); may raise to interrupt, what is done stays.
            wait: seconds to wait for another writer.
            rebuild: throw an existing index away first.
            workers: threads that read files.
            cluster: `local` or the address of a Ray cluster whose machines see the gallery under the same path.
            token: access token of a Milvus cluster; never stored.

        Raises:
            RaihaError: no such folder, another writer, an index of another encoder, a folder with other things in it.
        """
        galleries = [gallery] if isinstance(gallery, (str, os.PathLike)) else list(gallery)
        directory = Path(index_dir)
        options = maintenance.Options(progress=progress, wait=wait, workers=workers, cluster=cluster, token=token)
        maintenance.build(directory, [Path(g) for g in galleries], encoder, options, store=store, device=device, rebuild=rebuild)
        return cls.open(directory, encoder if isinstance(encoder, ContentEncoder) else None, device=device, token=token)

    @classmethod
    def open(
        cls,
        index_dir: PathLike,
        encoder: ContentEncoder | str | None = None,
        *,
        device: torch.device | str | None = None,
        gallery: PathLike | None = None,
        token: str | None = None,
    ) -> ReferenceIndex:
        """Open an index for searching; the encoder is loaded when it is first needed.

        Args:
            index_dir: folder of the index.
            encoder: an encoder, or the name of one, that must be the index's own; None takes the one it names.
            device: where the encoder runs.
            gallery: where the photos lie now, if the gallery was moved (for an index of one gallery).
            token: access token of a Milvus cluster.

        Raises:
            RaihaError: there is no index, it is damaged, or it was made with another encoder (names both).
        """
        index = cls(Path(index_dir), encoder if isinstance(encoder, ContentEncoder) else None, device, token)
        index._load()
        try:
            if isinstance(encoder, ContentEncoder):
                require_encoder(index._manifest, encoder, index.directory)
            elif encoder is not None and encoder != index._manifest.encoder.id:
                raise wrong_encoder(index.directory, index._manifest.encoder, encoder)
            if gallery is not None:
                index._moved = Path(os.path.abspath(gallery))
                if len(index._catalogue.roots()) > 1:
                    raise RaihaError(
                        f"the index at {index_dir} holds several galleries: build it again with the folders where they lie now"
                    )
        except RaihaError:
            index.close()
            raise
        return index

    def _load(self) -> None:
        manifest = manifests.load(self.directory)
        while True:
            catalogue = Catalogue(self.directory)
            store = open_store(self.directory, manifest, self._token)
            try:
                store.load(catalogue, manifest.store["state"])
                break
            except RaihaError:
                catalogue.close()
                store.close()
                # A writer may have published, and tidied up, between the two reads.
                newer = manifests.load(self.directory)
                if newer.revision == manifest.revision:
                    raise
                manifest = newer
        self._manifest, self._catalogue, self._store = manifest, catalogue, store

    def refresh(self) -> bool:
        """Take in what was written since; returns whether there was anything."""
        if manifests.load(self.directory).revision == self._manifest.revision:
            return False
        self.close()
        self._load()
        return True

    def close(self) -> None:
        """Let go of files and connections."""
        self._catalogue.close()
        self._store.close()

    def __enter__(self) -> ReferenceIndex:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # --- what is in it

    def __len__(self) -> int:
        """Number of different photos."""
        return self._catalogue.counts()["images"]

    @property
    def encoder_info(self) -> EncoderInfo:
        """Which content encoder made the vectors."""
        return self._manifest.encoder

    @property
    def fingerprint(self) -> str:
        """Hex digest that changes with every write (of the manifest on disk)."""
        return manifests.fingerprint(self.directory)

    @property
    def _lookup(self) -> Lookup:
        return Lookup(self._catalogue, self._moved)

    @property
    def galleries(self) -> list[Path]:
        """The gallery folders, where they lie now if they could be found."""
        return list(self._lookup.places().values())

    def info(self) -> Mapping[str, Any]:
        """What the index holds, as JSON-serialisable values."""
        size = sum(p.stat().st_size for p in self.directory.rglob("*") if p.is_file())
        return {
            "index": str(self.directory),
            "galleries": [str(g) for g in self.galleries],
            **self._catalogue.counts(),
            "encoder": asdict(self._manifest.encoder),
            "illumination": self._manifest.illumination,
            "store": self._store.describe(),
            "bytes": size,
            "revision": self._manifest.revision,
            "updated": self._manifest.updated,
        }

    def failures(self) -> list[tuple[Path, str]]:
        """Files that could not be read, and why."""
        places = self._lookup.places()
        return [(places[row.root] / row.path, row.error or "") for row in self._catalogue.failures()]

    def path_of(self, public_id: str) -> Path:
        """The file of a photo by its id.

        Raises:
            RaihaError: there is no such photo in the index, or its file has vanished.
        """
        row = self._catalogue.image_by_id(public_id)
        if row is None:
            raise RaihaError(f"no photo with the id {public_id!r} in the index {self.directory}")
        path = self._lookup.existing(row)
        if path is None:
            raise RaihaError(f"the file of the photo {public_id} has vanished: run `raiha index build` again to update the index")
        return path

    def thumbnail(self, public_id: str, size: int = THUMBNAIL_SIDE) -> Image.Image:
        """A photo of the index by its id, RGB, at most `size` pixels wide and high; nothing outside the index is read.

        Raises:
            RaihaError: there is no such photo in the index, or its file has vanished or is damaged.
        """
        return load_picture(self.path_of(public_id), size)

    # --- searching

    @property
    def encoder(self) -> ContentEncoder:
        """The content encoder, loaded on first use.

        Raises:
            RaihaError: it cannot be loaded, or has other weights than the index was made with.
        """
        if self._encoder is None:
            self._encoder = load_by_name(self._manifest.encoder.id, self._device)
            require_encoder(self._manifest, self._encoder, self.directory)
        return self._encoder

    def retrieve(
        self,
        composite: Tensor,
        mask: Tensor,
        k: int = 4,
        *,
        weight: float = DEFAULT_WEIGHT,
        min_content: float = 0.0,
        min_illumination: float = 0.0,
        pinned: Iterable[PathLike] = (),
        excluded: Iterable[PathLike] = (),
        query_path: PathLike | None = None,
        deduplicate: bool = True,
    ) -> References:
        """Find photos that show something like the foreground under light like the background's.

        Content picks the candidates: the foreground with a little context against every photo and its regions. Each
        candidate is scored `(1 - weight) * content + weight * illumination`. The composite's own photo is never
        returned, known by `query_path`, by its bytes, or by its looks; neither are two photos that look the same.

        Args:
            composite: `(1, 3, H, W)` sRGB in [0, 1].
            mask: `(1, 1, H, W)` in [0, 1], 1 = foreground.
            k: how many; pinned ones count, and all of them are returned.
            weight: 0 ranks by content alone, 1 by illumination alone (among the candidates).
            min_content, min_illumination: lowest scores to accept, in [0, 1]; pinned photos are exempt.
            pinned: ids or paths of photos to return first, in this order.
            excluded: ids or paths of photos never to return.
            query_path: file of the composite or of its background, not to be returned.
            deduplicate: False returns look-alikes too, also those of the composite.

        Returns:
            At most `k` references, best first; `.notices` says what could not be had.

        Raises:
            RaihaError: the index is empty, the mask is empty, shapes or numbers do not fit, the encoder cannot be had.
        """
        check_numbers(k=k, weight=weight, min_content=min_content, min_illumination=min_illumination)
        if self._catalogue.count() == 0:
            raise RaihaError(f"the index at {self.directory} holds no photos: add some with `raiha index add {self.directory} GALLERY`")
        query = make_query(composite, mask, self.encoder)
        pins, unknown = self._lookup.rows(pinned)
        notices = [f"the pinned photo {name} is not in the index and was skipped" for name in unknown]
        barred, unknown = self._lookup.rows(excluded)
        notices += [f"the excluded photo {name} is not in the index" for name in unknown]
        out = {*barred, *self._lookup.rows([] if query_path is None else [query_path])[0]}
        wishes = Wishes(k, weight, min_content, min_illumination, tuple(p for p in pins if p not in out), frozenset(out), deduplicate)
        found, missing = search(query, wishes, self._catalogue, self._store, self._lookup)
        return References(found, notices + missing)

    # --- changing

    def update(
        self, *, progress: Progress | None = None, wait: float = 10.0, workers: int | None = None, cluster: str | None = None
    ) -> None:
        """Read what is new or changed in the galleries, forget what is gone; see `build` for the arguments.

        Raises:
            RaihaError: a gallery folder is not there, another writer.
        """
        options = maintenance.Options(progress=progress, wait=wait, workers=workers, cluster=cluster, token=self._token)
        encoder = self.encoder
        self._change(lambda: maintenance.update(self.directory, encoder, options))

    def add(self, paths: PathLike | Sequence[PathLike], *, progress: Progress | None = None, wait: float = 10.0) -> None:
        """Add folders with photos, or photos of a gallery that had been removed from the index.

        Raises:
            RaihaError: a path is not there, or a single photo lies outside the galleries.
        """
        chosen, encoder = _paths(paths), self.encoder
        options = maintenance.Options(progress=progress, wait=wait, token=self._token)
        self._change(lambda: maintenance.add(self.directory, chosen, encoder, options))

    def remove(self, names: PathLike | Sequence[PathLike], *, wait: float = 10.0) -> int:
        """Take photos (paths or ids), folders or whole galleries out of the index; the files themselves stay.

        Photos removed from a gallery that stays are remembered and not read again until they are added.

        Returns:
            How many files were taken out.

        Raises:
            RaihaError: one of the names is not in the index; then nothing is removed.
        """
        chosen = _paths(names)
        removed: list[int] = []
        self._change(lambda: removed.append(maintenance.remove(self.directory, chosen, maintenance.Options(wait=wait, token=self._token))))
        return removed[0]

    def verify(self, *, files: bool = False) -> Report:
        """Check the index. See `raiha_core.references.verify`, which also checks and mends indexes that do not open.

        Args:
            files: also read every photo again and compare its bytes.
        """
        return verify_index(self.directory, files=files, token=self._token)

    def _change(self, action: Callable[[], object]) -> None:
        # The embedded Milvus lets only one client in.
        self._store.close()
        try:
            action()
        finally:
            self._catalogue.close()
            self._load()


def _paths(names: PathLike | Sequence[PathLike]) -> list[Path]:
    return [Path(names)] if isinstance(names, (str, os.PathLike)) else [Path(n) for n in names]
