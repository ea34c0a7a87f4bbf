"""`ReferenceIndex`: the user's photos, searchable by what they show and by their light."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from ..content import ContentEncoder, load_encoder
from ..errors import RaihaError
from . import maintenance
from . import manifest as manifests
from .builder import Progress
from .checks import check_numbers, require_encoder, wrong_encoder
from .opened import OpenIndex, PathLike
from .query import make_query
from .ranking import Wishes
from .reference import References
from .search import no_gallery, search
from .snapshot import Snapshot
from .stores import Access
from .verify import Verification
from .verify import verify as verify_index

DEFAULT_COUNT = 1
"""References: one does no harm to composites of any kind, more do (docs/retrieval.md, Effect)."""
DEFAULT_WEIGHT = 0.1
"""Share of the light in the score: those above make results worse."""
DEFAULT_LIGHT = 0.3
"""The least light: references whose light differs more make results worse."""
_T = TypeVar("_T")


class ReferenceIndex(OpenIndex):
    """An open index: a snapshot for searching, and the calls that change it.

    An index is a folder: `manifest.json`, a catalogue, and the vectors. Several processes may search it while one
    writes. An open index answers from one revision, as it was at opening, at its own last write, or at the last
    `refresh`, which takes in what others wrote. Made by `build` or `open`, not by the constructor. Usable from several
    threads, which may search, refresh, write and close at any time; a context manager.
    """

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
        allow_empty: bool = False,
        follow_links: bool | None = None,
        ignore: Sequence[str] | None = None,
    ) -> ReferenceIndex:
        """Build an index of a gallery, or bring an existing one up to date; only what changed is read.

        What is done is kept every few seconds: after an interruption the same call goes on from there. Photos that
        cannot be read are skipped, listed by `failures`, and tried again by the next build. If the folders of an
        existing index are gone, photos in the new ones are recognised by their content and not embedded again. An index
        whose encoder has other weights by now, or that an earlier version made, is made anew beside the old one, which
        gives its answers until the new one is done.

        Args:
            gallery: a folder with photos, searched with its subfolders, or several.
            index_dir: folder of the index; made if it is not there.
            encoder: name of a content encoder (see `raiha_core.content.load_encoder`) or an encoder.
            store: `faiss`, `milvus` (embedded, in the index folder), `milvus:URI` or `pgvector:URI` (PostgreSQL with pgvector);
                fixed when the index is made.
            device: where the encoder runs; None lets it choose.
            progress: called with (files done, files to do); may raise to interrupt, what is done stays.
            wait: seconds to wait for another writer.
            rebuild: make an existing index anew; it is replaced when the new one is done.
            workers: threads that read files.
            cluster: `local` or the address of a Ray cluster whose machines see the gallery under the same path.
            token: access token of a Milvus cluster, or password of PostgreSQL; never stored.
            allow_empty: believe that most photos of a gallery were deleted, instead of that its drive is not there.
            follow_links: whether links may lead out of the galleries given; None leaves it as it was, at first no.
            ignore: what to leave out, as patterns of .gitignore; None leaves them as they were, at first none.

        Raises:
            RaihaError: no such folder, another writer, an index of another encoder, a folder with other things in it, a
                gallery that lost most of its photos at once.
        """
        galleries = [gallery] if isinstance(gallery, (str, os.PathLike)) else list(gallery)
        directory = Path(index_dir)
        named = (store.partition(":")[2],) if ":" in store else ()
        access = Access(token, named)
        options = maintenance.Options(progress, wait, workers, cluster, access, allow_empty, follow_links, ignore)
        maintenance.build(directory, [Path(g) for g in galleries], encoder, options, store=store, device=device, rebuild=rebuild)
        return cls._opened(directory, encoder if isinstance(encoder, ContentEncoder) else None, device, access)

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
        return cls._opened(Path(index_dir), encoder, device, Access(token), gallery)

    @classmethod
    def updated(
        cls,
        index_dir: PathLike,
        encoder: ContentEncoder | str | None = None,
        *,
        device: torch.device | str | None = None,
        progress: Progress | None = None,
        wait: float = 10.0,
        workers: int | None = None,
        cluster: str | None = None,
        token: str | None = None,
        allow_empty: bool = False,
    ) -> ReferenceIndex:
        """Bring an index up to date with its galleries, also one that has to be made anew before it can be opened; open it.

        See `build` for the arguments, which the galleries of the index take the place of.

        Raises:
            RaihaError: as `update` and `open`.
        """
        directory, access = Path(index_dir), Access(token)
        made = manifests.load(directory).encoder
        if encoder is not None and (encoder.id if isinstance(encoder, ContentEncoder) else encoder) != made.id:
            raise wrong_encoder(directory, made, encoder.id if isinstance(encoder, ContentEncoder) else encoder)
        loaded = encoder if isinstance(encoder, ContentEncoder) else load_encoder(made.id, device)
        options = maintenance.Options(progress, wait, workers, cluster, access, allow_empty)
        maintenance.update(directory, loaded, options)
        return cls._opened(directory, loaded, device, access)

    @classmethod
    def _opened(
        cls,
        index_dir: Path,
        encoder: ContentEncoder | str | None,
        device: torch.device | str | None,
        access: Access,
        gallery: PathLike | None = None,
    ) -> ReferenceIndex:
        index = cls(index_dir, encoder if isinstance(encoder, ContentEncoder) else None, device, access)
        snapshot = index._snapshot
        try:
            if isinstance(encoder, ContentEncoder):
                require_encoder(snapshot.manifest, encoder, index.directory)
            elif encoder is not None and encoder != snapshot.manifest.encoder.id:
                raise wrong_encoder(index.directory, snapshot.manifest.encoder, encoder)
            if gallery is not None:
                index._moved = Path(os.path.abspath(gallery))
                if len(snapshot.catalogue.roots()) > 1:
                    raise RaihaError(
                        f"the index at {index_dir} holds several galleries: build it again with the folders where they lie now"
                    )
        except RaihaError:
            index.close()
            raise
        return index

    # --- searching

    @property
    def encoder(self) -> ContentEncoder:
        """The content encoder, loaded on first use.

        Raises:
            RaihaError: it cannot be loaded, or has other weights than the index was made with.
        """
        if self._encoder is None:
            self._encoder = load_encoder(self.encoder_info.id, self._device)
        require_encoder(self._snapshot.manifest, self._encoder, self.directory)
        return self._encoder

    def retrieve(
        self,
        composite: Tensor,
        mask: Tensor,
        k: int = DEFAULT_COUNT,
        *,
        weight: float = DEFAULT_WEIGHT,
        min_content: float = 0.0,
        min_illumination: float = DEFAULT_LIGHT,
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
        if len(self) == 0:
            raise RaihaError(f"the index at {self.directory} holds no photos: add some with `raiha index add {self.directory} GALLERY`")
        query = make_query(composite, mask, self.encoder)
        while True:
            with self._reading() as snapshot:
                require_encoder(snapshot.manifest, self.encoder, self.directory)
                lookup = snapshot.lookup(self._moved)
                pins, unknown = lookup.rows(pinned)
                notices = [f"the pinned photo {name} is not in the index and was skipped" for name in unknown]
                barred, unknown = lookup.rows(excluded)
                notices += [f"the excluded photo {name} is not in the index" for name in unknown]
                out = {*barred, *lookup.rows([] if query_path is None else [query_path])[0]}
                pins = [p for p in pins if p not in out]
                wishes = Wishes(k, weight, min_content, min_illumination, tuple(pins), frozenset(out), deduplicate)
                found, missing = search(query, wishes, snapshot, lookup)
                if snapshot.complete:
                    if not found:
                        no_gallery(lookup)
                    return References(found, notices + missing)
            self.refresh()  # What only this revision still had was cleaned away meanwhile.

    # --- changing

    def update(
        self,
        *,
        progress: Progress | None = None,
        wait: float = 10.0,
        workers: int | None = None,
        cluster: str | None = None,
        allow_empty: bool = False,
    ) -> None:
        """Read what is new or changed in the galleries, forget what is gone; see `build` for the arguments.

        Raises:
            RaihaError: a gallery folder is not there, or lost most of its photos at once; another writer.
        """
        options = maintenance.Options(progress, wait, workers, cluster, self._access, allow_empty)
        encoder = self._encoder or load_encoder(self.encoder_info.id, self._device)
        self._change(lambda: maintenance.update(self.directory, encoder, options))
        self._encoder = encoder

    def add(self, paths: PathLike | Sequence[PathLike], *, progress: Progress | None = None, wait: float = 10.0) -> None:
        """Add folders with photos, or photos of a gallery that had been removed from the index.

        Raises:
            RaihaError: a path is not there, or a single photo lies outside the galleries.
        """
        chosen, encoder = _paths(paths), self.encoder
        options = maintenance.Options(progress, wait, access=self._access)
        self._change(lambda: maintenance.add(self.directory, chosen, encoder, options))

    def remove(self, names: PathLike | Sequence[PathLike], *, wait: float = 10.0) -> int:
        """Take photos (paths or ids), folders or whole galleries out of the index; the files themselves stay.

        Photos removed from a gallery that stays are remembered and not read again until they are added.

        Returns:
            How many files were taken out.

        Raises:
            RaihaError: one of the names is not in the index; then nothing is removed.
        """
        chosen, options = _paths(names), maintenance.Options(wait=wait, access=self._access)
        return self._change(lambda: maintenance.remove(self.directory, chosen, options))

    def clean(self, *, wait: float = 10.0) -> int:
        """Delete the vectors of photos that are not in the index any more, which are kept in case they come back.

        Returns:
            Of how many photos.
        """
        return self._change(lambda: maintenance.clean(self.directory, maintenance.Options(wait=wait, access=self._access)))

    def verify(self, *, files: bool = False) -> Verification:
        """Check the index. See `raiha_core.references.verify`, which also checks and mends indexes that do not open.

        Args:
            files: also read every photo again and compare its bytes.
        """
        return self._change(lambda: verify_index(self.directory, files=files, access=self._access))

    def _change(self, action: Callable[[], _T]) -> _T:
        with self._changing:
            alone = self._snapshot.store.exclusive
            if alone:
                self._snapshot.close(wait=True)
            try:
                return action()
            finally:
                if alone:
                    self._snapshot = Snapshot.load(self.directory, self._access)
                else:
                    self.refresh()


def _paths(names: PathLike | Sequence[PathLike]) -> list[Path]:
    return [Path(names)] if isinstance(names, (str, os.PathLike)) else [Path(n) for n in names]
