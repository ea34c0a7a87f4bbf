"""Data sets with truth: a triplet folder, iHarmony4's own layout, and the paper's lists of references.

Only paths are held; pictures are read one item at a time.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from ..errors import RaihaError
from ..image import READABLE

IHARMONY4_SUBSETS = ("HCOCO", "HAdobe5k", "HFlickr", "Hday2night")
"""In the order in which papers print them."""


@dataclass(frozen=True)
class Item:
    """One composite with its truth.

    Attributes:
        name: unique within the data set.
        group: kind or subset that reports keep apart; "" where there is none.
        composite: file of the composite.
        mask: file of the mask, white = foreground.
        real: file of the truth.
        references: files of references, best first.
        label: what the foreground shows, if known.
    """

    name: str
    group: str
    composite: Path
    mask: Path
    real: Path
    references: tuple[Path, ...] = ()
    label: str | None = None


class Dataset(Sequence[Item], ABC):
    """A sequence of items.

    Attributes:
        root: the folder.
        items: what can be evaluated.
        missing: names that a list mentions but whose files are not there; reports say how many.
        note: what a reader of the report must know about the selection, or "".
    """

    root: Path
    items: tuple[Item, ...]
    missing: tuple[str, ...] = ()
    note: str = ""

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...

    def __getitem__(self, index: int | slice) -> Item | tuple[Item, ...]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that occur, in order of first appearance, without ""."""
        return tuple(dict.fromkeys(item.group for item in self.items if item.group))

    def limited(self, count: int | None) -> tuple[Item, ...]:
        """At most `count` items, spread evenly, so that every kind and subset keeps its share; None for all."""
        if count is None or count >= len(self.items):
            return self.items
        return tuple(self.items[i * len(self.items) // count] for i in range(count))

    def with_references(self, listing: Path, limit: int | None = None) -> Dataset:
        """The same data set with the references of a list in the paper's format, restricted to the items that it names.

        Args:
            listing: JSON lines `{"input": ..., "mask": ..., "refs": [...]}`, paths relative to the data set.
            limit: keep at most this many per item (the paper's evaluation uses one).

        Raises:
            RaihaError: the list cannot be read, is malformed, or names nothing of this data set.
        """
        known = {item.composite: item for item in self.items}
        found, missing, bare = [], [], 0
        for entry in _reference_lines(listing):
            composite = self.root / entry["input"]
            item = known.get(composite) or self._from_list(composite, self.root / entry["mask"])
            references = tuple(self.root / r for r in entry["refs"])
            absent = [r for r in references if not r.is_file()]
            if item is None or absent:
                missing.append(str(absent[0].relative_to(self.root)) if item is not None and absent else entry["input"])
            if item is not None:
                kept = tuple(r for r in references if r not in absent)[:limit]
                bare += not kept
                found.append(replace(item, references=kept))
        if not found:
            raise RaihaError(f"{listing} names no composite that lies in {self.root}; its paths must be relative to the data set.")
        note = f"the {len(found)} items of {listing.name}" + (f", {bare} of them without a usable reference" if bare else "")
        return _Selection(self.root, tuple(found), (*self.missing, *missing), note)

    @abstractmethod
    def _from_list(self, composite: Path, mask: Path) -> Item | None:
        """The item of a composite that only a reference list names, or None if its files are not there."""


@dataclass(frozen=True)
class _Selection(Dataset):
    root: Path
    items: tuple[Item, ...]
    missing: tuple[str, ...] = ()
    note: str = ""

    def _from_list(self, composite: Path, mask: Path) -> Item | None:
        return None


def _reference_lines(listing: Path) -> Iterator[dict[str, Any]]:
    for number, entry in enumerate(read_jsonl(listing), 1):
        refs = entry.get("refs")
        wrong = not isinstance(refs, list) or not all(isinstance(r, str) for r in refs)
        if wrong or not isinstance(entry.get("input"), str) or not isinstance(entry.get("mask"), str):
            raise RaihaError(f'{listing}, entry {number}: expected {{"input": ..., "mask": ..., "refs": [...]}}; repair the list.')
        yield entry


def read_jsonl(file: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file, empty lines skipped.

    Raises:
        RaihaError: the file cannot be read, or a line is no JSON object.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RaihaError(f"The list {file} cannot be read ({reason}); give a JSON lines file.") from None
    entries = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise RaihaError(f"{file}, line {number} is no JSON ({error.msg}); repair that line.") from None
        if not isinstance(entry, dict):
            raise RaihaError(f"{file}, line {number} is no JSON object; repair that line.")
        entries.append(entry)
    return entries


def _pictures(folder: Path) -> dict[str, Path]:
    """Stem -> file, sorted by name."""
    if not folder.is_dir():
        return {}
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in READABLE and not p.name.startswith("."))
    return {p.stem: p for p in files}


class TripletFolder(Dataset):
    """`composite/NAME.*`, `mask/NAME.*`, `real/NAME.*`, optionally `references/NAME/*` and `index.jsonl`.

    The index may say `kind` (the group) and `label` of each `name`.

    Raises:
        RaihaError: the folder holds no complete triplet.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)
        composites, masks, reals = (_pictures(self.root / part) for part in ("composite", "mask", "real"))
        index = self.root / "index.jsonl"
        said = {str(entry.get("name")): entry for entry in read_jsonl(index)} if index.is_file() else {}
        names = [name for name in composites if name in masks and name in reals]
        if not names:
            raise RaihaError(f"{self.root} holds no triplets; it needs composite/, mask/ and real/ with files of the same names.")
        self.items = tuple(
            Item(
                name,
                str(said.get(name, {}).get("kind", "")),
                composites[name],
                masks[name],
                reals[name],
                tuple(_pictures(self.root / "references" / name).values()),
                said.get(name, {}).get("label"),
            )
            for name in names
        )
        self.missing = tuple(sorted({*composites, *masks, *reals} - set(names)))

    def _from_list(self, composite: Path, mask: Path) -> Item | None:
        return None


class IHarmony4(Dataset):
    """iHarmony4 as it is distributed: SUBSET/composite_images, masks, real_images and SUBSET/SUBSET_test.txt or IHD_test.txt.

    A composite a_1_2.jpg belongs to the mask a_1.png and the photo a.jpg. The folder may also be one subset alone. Without
    any list, all composites are taken, and the report says so.

    Args:
        root: the folder.
        split: which lists to read.

    Raises:
        RaihaError: the folder has no such layout.
    """

    def __init__(self, root: str | Path, split: str = "test"):
        self.root = Path(root)
        if (self.root / "composite_images").is_dir():
            folders = [self.root]
        else:
            found = (p for p in self.root.iterdir() if (p / "composite_images").is_dir()) if self.root.is_dir() else ()
            folders = sorted(found, key=lambda p: (_rank(p.name), p.name))
        if not folders:
            raise RaihaError(
                f"{self.root} is not laid out as iHarmony4; it needs folders such as HCOCO with composite_images, masks and real_images."
            )
        items, missing, unlisted = [], [], []
        for folder in folders:
            names = self._listed(folder, split)
            if names is None:
                names = [p.name for p in _pictures(folder / "composite_images").values()]
                unlisted.append(folder.name)
            for name in names:
                item = self._from_list(folder / "composite_images" / name, folder / "masks" / f"{_stem(name, 1)}.png")
                if item is None:
                    missing.append(f"{folder.name}/{name}")
                else:
                    items.append(item)
        if not items:
            raise RaihaError(f"{self.root} has iHarmony4's folders, but none of the listed composites has its mask and photo there.")
        self.items, self.missing = tuple(items), tuple(missing)
        self.note = f"no {split} list for {', '.join(unlisted)}: all composites taken" if unlisted else ""

    def _listed(self, folder: Path, split: str) -> list[str] | None:
        for listing in (folder / f"{folder.name}_{split}.txt", self.root / f"IHD_{split}.txt", folder.parent / f"IHD_{split}.txt"):
            if listing.is_file():
                lines = [Path(line.strip()) for line in listing.read_text("utf-8").splitlines() if line.strip()]
                # The joint list names the subset first; a subset's own list holds bare names.
                return [p.name for p in lines if len(p.parts) == 1 or folder.name in p.parts]
        return None

    def _from_list(self, composite: Path, mask: Path) -> Item | None:
        folder = composite.parent.parent
        reals = folder / "real_images"
        stem = _stem(composite.name, 2)
        suffixes = dict.fromkeys((composite.suffix, ".jpg", ".png", ".jpeg"))
        real = next((f for s in suffixes if (f := reals / f"{stem}{s}").is_file()), None)
        if real is None or not composite.is_file() or not mask.is_file():
            return None
        return Item(f"{folder.name}/{composite.name}", folder.name, composite, mask, real)


def _rank(subset: str) -> int:
    return IHARMONY4_SUBSETS.index(subset) if subset in IHARMONY4_SUBSETS else len(IHARMONY4_SUBSETS)


def _stem(name: str, parts: int) -> str:
    """The name without its suffix and its last `parts` numbers."""
    return Path(name).stem.rsplit("_", parts)[0]


def open_dataset(root: str | Path, iharmony4: bool | None = None) -> Dataset:
    """Open a data set of either layout; None looks which one it is.

    Raises:
        RaihaError: the folder does not exist or has neither layout.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise RaihaError(f"The data set {folder} is not a folder; give a triplet folder or iHarmony4's folder.")
    if iharmony4 is None:
        iharmony4 = not (folder / "composite").is_dir()
        if iharmony4 and not any((p / "composite_images").is_dir() for p in (folder, *folder.iterdir())):
            raise RaihaError(
                f"{folder} is no data set: it needs composite/, mask/ and real/ with files of the same names, or iHarmony4's folders."
            )
    return IHarmony4(folder) if iharmony4 else TripletFolder(folder)
