"""Which composite goes with which mask: single files, folders and globs."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import click

from ..errors import RaihaError
from ..suffixes import CLIPS, READABLE, WRITABLE

_DECORATION = re.compile(r"^(mask[_\-. ])|([_\-. ](mask|matte|alpha|composite|comp))$", re.IGNORECASE)


@dataclass(frozen=True)
class Job:
    """One picture to harmonise; `mask` None means the composite's alpha."""

    composite: Path
    mask: Path | None
    output: Path
    attention: Path | None

    @property
    def written(self) -> list[Path]:
        """What it writes."""
        return [self.output] + ([self.attention] if self.attention else [])


AnyJob = TypeVar("AnyJob")


@dataclass(frozen=True)
class Plan(Generic[AnyJob]):
    """What a command is to do.

    Attributes:
        jobs: one per picture.
        batch: whether folders or globs were given.
        failures: of a batch, pictures that cannot be done, and why.
        left_out: of a batch, files that are no pictures by their names, and masks or versions of none.
    """

    jobs: list[AnyJob]
    batch: bool = False
    failures: list[tuple[Path, str]] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)


def is_batch(text: str) -> bool:
    """Whether this names many files: a folder or a glob (an existing file of that very name wins)."""
    return not os.path.isfile(text) and (os.path.isdir(text) or glob.has_magic(text))


def is_clip(text: str) -> bool:
    """Whether this names a clip, by its suffix."""
    return Path(text).suffix.lower() in CLIPS and not os.path.isdir(text) and not (glob.has_magic(text) and not os.path.isfile(text))


def pictures(text: str) -> tuple[list[Path], list[Path]]:
    """The picture files of a folder or glob, sorted, and the other files there; hidden ones do not count.

    Raises:
        RaihaError: there are none, or the folder cannot be listed.
    """
    try:
        found = list(Path(text).iterdir() if os.path.isdir(text) else (Path(p) for p in glob.glob(text, recursive=True)))
        shown = sorted(p for p in found if os.path.isfile(p) and not p.name.startswith("."))
    except OSError as error:
        raise RaihaError(f"The folder {text} cannot be listed ({error.strerror or error}); change its rights or give another.") from None
    files = [p for p in shown if p.suffix.lower() in READABLE]
    if not files:
        raise RaihaError(f"{text} holds no pictures; give a folder or a quoted glob that matches {', '.join(sorted(READABLE))}.")
    return files, [p for p in shown if p.suffix.lower() not in READABLE]


def key(path: Path) -> str:
    """A file's name without suffix and without words such as _mask."""
    return _DECORATION.sub("", path.stem).lower()


def pair(composites: list[Path], masks: list[Path]) -> tuple[list[tuple[Path, Path]], list[tuple[Path, str]]]:
    """Match composites and masks: the same stem first, else the same stem without words such as _mask.

    Returns:
        the pairs, and the composites that have no mask or several, each with a sentence.
    """
    exact: dict[str, list[Path]] = {}
    loose: dict[str, list[Path]] = {}
    for p in masks:
        exact.setdefault(p.stem, []).append(p)
        loose.setdefault(key(p), []).append(p)
    pairs, failures = [], []
    for composite in composites:
        candidates = exact.get(composite.stem) or loose.get(key(composite), [])
        if len(candidates) == 1:
            pairs.append((composite, candidates[0]))
            continue
        what = "no mask" if not candidates else f"{len(candidates)} masks"
        example = f"{composite.stem}.png"
        failures.append((composite, f"{composite.name} has {what} of its name; name masks like their composites, for example {example}."))
    return pairs, failures


def _apart(composites: list[Path], masks: list[Path]) -> tuple[list[Path], list[Path]]:
    """Composites and masks that may share a folder: what both name is a mask, or only if its name says so."""
    both = set(composites) & set(masks)
    if both and not set(composites) - both:
        masks = [p for p in masks if p not in both or key(p) != p.stem.lower()]
        both &= set(masks)
        if not masks:
            raise RaihaError("Composites and masks are the same files; give another folder of masks, or name the masks NAME_mask.")
    return [p for p in composites if p not in both], masks


def find_jobs(composite: str, mask: str | None, output: Path, attention: Path | None) -> Plan[Job]:
    """What there is to do.

    Raises:
        RaihaError: a batch beside a single file, a batch in which nothing can be done, two results of one name.
    """
    batch = is_batch(composite)
    if not batch:
        if mask is not None and is_batch(mask):
            raise RaihaError("The mask is a folder or glob but the composite is one file; give both as files or both as folders.")
        return Plan(_unharmful([Job(Path(composite), Path(mask) if mask else None, output, attention)]))
    if mask is not None and not is_batch(mask):
        raise RaihaError("The composite is a folder or glob but the mask is one file; give a folder or glob of masks.")
    if output.suffix.lower() in CLIPS and not os.path.isdir(output):
        raise RaihaError(f"The output {output} is a clip, but the composites are pictures; give a folder, or make a clip of them first.")
    require_folder(output)
    found, left_out = pictures(composite)
    pairs: list[tuple[Path, Path | None]] = [(c, None) for c in found]
    failures: list[tuple[Path, str]] = []
    if mask is not None:
        masks, other = pictures(mask)
        composites, masks = _apart(found, masks)
        paired, failures = pair(composites, masks)
        if not paired:
            raise RaihaError(failures[0][1] + (f" So it is with all {len(failures)} composites." if len(failures) > 1 else ""))
        pairs = list(paired)
        unused = set(masks) - {m for _, m in paired} - set(composites)
        left_out = sorted({*left_out, *other, *unused})
    jobs = [Job(c, m, output / result_name(c), attention / f"{c.stem}.png" if attention else None) for c, m in pairs]
    return Plan(_unharmful(jobs), True, failures, left_out)


def require_folder(output: Path) -> None:
    """Refuse an output that a batch cannot have.

    Raises:
        RaihaError: it is a file, or named like one.
    """
    if os.path.isfile(output) or output.suffix.lower() in WRITABLE:
        raise RaihaError(f"The output {output} is a file name, but a batch needs a folder; give a folder.")


def result_name(picture: Path) -> str:
    """What the result of a picture of a batch is called: as the picture, with a suffix that can be written."""
    return picture.name if picture.suffix.lower() in WRITABLE else f"{picture.stem}.png"


def make_folder(folder: Path) -> None:
    """A folder that results go to, with those above it.

    Raises:
        RaihaError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RaihaError(f"The folder {folder} cannot be made ({error.strerror or error}); choose another output.") from None


def _unharmful(jobs: list[Job]) -> list[Job]:
    """The jobs, if none would write over an input or over another result.

    Raises:
        RaihaError: one would.
    """
    check_results([p for j in jobs for p in j.written], [p for j in jobs for p in (j.composite, j.mask) if p is not None])
    return jobs


def check_results(written: list[Path], inputs: list[Path]) -> None:
    """Refuse results that would be written over an input or over each other.

    Raises:
        RaihaError: says which.
    """
    # Other than `resolve`, realpath takes names that go in circles or are too long.
    places, taken = [os.path.realpath(p) for p in written], {os.path.realpath(p) for p in inputs}
    for file, place in zip(written, places, strict=True):
        if place in taken:
            raise RaihaError(f"{file} is an input and would be overwritten; choose another output.")
    if len(set(places)) < len(places):
        twice = next(file for file, place in zip(written, places, strict=True) if places.count(place) > 1)
        raise RaihaError(f"Two pictures would be written to {twice}; rename one, or choose another output.")


def say_left_out(files: list[Path], what: str) -> None:
    """Count and name on stderr the files that a batch did not look at."""
    if files:
        few = ", ".join(p.name for p in files[:5]) + (", ..." if len(files) > 5 else "")
        click.echo(f"raiha: left out {len(files)} files {what}: {few}", err=True)
