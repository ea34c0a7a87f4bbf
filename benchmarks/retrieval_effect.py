"""Judge retrieval by what it does to the picture: the change of error, by rank, scores, weight and number of references.

    python benchmarks/retrieval_effect.py VAL --index DIR [--count 60] [--model NAME|FILE] [--raw FILE]

VAL is a triplet folder whose photos are not in the gallery of the index DIR. Three sets are made of it: *in place* are its
composites as they are, *pasted* its objects elsewhere, recoloured, and *fitting* a third as many, pasted but left as they
were (as `raiha evaluate --pasted` makes them; there, what is changed at all is error). Each composite is
harmonised without references, with single ones of each rank, with the first few together, and with photos of other
kinds that a gallery may hold. Reported is the error (fMSE, 0..255) in percent of that without references, summed over the
composites; below 100 helps; and how often it was smaller. Every single measurement goes to the JSON lines of --raw. Prints JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

import raiha_core as raiha
from raiha_core.evaluation import TripletFolder
from raiha_core.evaluation.datasets import Item
from raiha_core.image import read_image, read_mask
from raiha_core.references import ReferenceIndex
from raiha_core.references.index import DEFAULT_WEIGHT
from raiha_core.training.losses import foreground_mse
from raiha_core.training.pasted import write_pasted

SIDE = 256
WEIGHTS = (0.0, DEFAULT_WEIGHT, 0.2, 0.35, 0.7)
RANKS = (1, 2, 3, 5, 8)
NUMBERS = (1, 2, 3, 4, 8)
USUAL = 4
"""How many references where their number is not what is asked."""
MINIMA = ("content", (0.3, 0.4, 0.5, 0.6)), ("illumination", (0.3, 0.5, 0.7))
BRACKETS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.01)
SLIGHT = 20.0
"""Added to errors before they are compared one by one: those below are not seen."""
ODD_EVERY = 3
"""Photos of other kinds are tried on every third composite."""


def squares(rows: Iterable[Item]) -> tuple[Tensor, Tensor, Tensor]:
    """Composites, real pictures `(N, 3, SIDE, SIDE)` and masks `(N, 1, SIDE, SIDE)`."""
    parts: list[list[Tensor]] = [[], [], []]
    for row in rows:
        found = read_image(row.composite).rgb_tensor(), read_image(row.real).rgb_tensor(), torch.from_numpy(read_mask(row.mask))[None, None]
        for x, out in zip(found, parts, strict=True):
            out.append(torch.nn.functional.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False).clamp(0, 1))
    composites, real, masks = (torch.cat(part) for part in parts)
    return composites, real, masks


def odd_photos() -> dict[str, np.ndarray]:
    """Photos of other kinds that lie in galleries: none of them shows a thing in a light."""
    rng = np.random.default_rng(0)
    text = Image.new("RGB", (480, 640), "white")
    draw = ImageDraw.Draw(text)
    for line in range(30):
        draw.text((30, 20 + 20 * line), "The quick brown fox jumps over the lazy dog, and again and again."[: 40 + line % 20], fill="black")
    screen = Image.new("RGB", (640, 400), (245, 245, 248))
    draw = ImageDraw.Draw(screen)
    draw.rectangle((0, 0, 640, 40), fill=(32, 90, 200))
    for row in range(5):
        draw.rectangle((20, 60 + 65 * row, 620, 115 + 65 * row), fill="white", outline=(210, 210, 220))
        draw.text((40, 75 + 65 * row), "Settings  Account  Notifications", fill=(30, 30, 40))
    y, x = np.mgrid[0:200, 0:300]
    return {
        "grey": np.repeat((60 + x * 0.4 + 30 * np.sin(y / 9))[..., None], 3, 2).astype(np.uint8),
        "tiny": rng.integers(0, 255, (3, 4, 3), np.uint8),
        "noise": rng.integers(0, 255, (200, 300, 3), np.uint8),
        "plain": np.full((200, 300, 3), (200, 60, 40), np.uint8),
        "text": np.asarray(text),
        "screenshot": np.asarray(screen),
    }


class Effect:
    """Errors with references beside those without, by any name; written to `raw` as they come."""

    def __init__(self, name: str, raw: TextIO | None) -> None:
        self.name = name
        self.pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._raw = raw

    def add(self, name: str, without: float, with_them: float, /, **more: object) -> None:
        """One composite."""
        self.pairs[name].append((without, with_them))
        if self._raw is not None:
            print(json.dumps({"set": self.name, "what": name, "without": without, "with": with_them, **more}), file=self._raw, flush=True)

    def report(self) -> dict[str, Any]:
        """Summed error in percent of that without, its standard error by the bootstrap; the same as a geometric mean over composites,
        which a few bad ones do not decide; and how often it was smaller."""
        result = {}
        rng = np.random.default_rng(0)
        for name, pairs in sorted(self.pairs.items()):
            a, b = np.array(pairs).T
            chosen = rng.integers(len(a), size=(400, len(a)))
            drawn = b[chosen].sum(1) / a[chosen].sum(1)
            typical = np.log((b + SLIGHT) / (a + SLIGHT))
            result[name] = {
                "percent": round(100 * b.sum() / a.sum(), 1), "standard_error": round(100 * float(drawn.std()), 1),
                "geometric_mean": round(100 * float(np.exp(typical.mean())), 1),
                "its_standard_error": round(100 * float(typical.std() / len(typical) ** 0.5), 1),
                "helped": round(float((b < a).mean()), 2), "composites": len(a),
            }  # fmt: skip
        return result


def bracket(score: float) -> str:
    """The bracket of a score, for the tables."""
    i = int(np.searchsorted(BRACKETS, score, side="right")) - 1
    return f"{BRACKETS[i]:.1f} to {min(1.0, BRACKETS[i + 1]):.1f}"


class Case:
    """One composite: its error with any references."""

    def __init__(self, harmonizer: raiha.Harmonizer, composite: Tensor, truth: Tensor, mask: Tensor) -> None:
        self._harmonizer = harmonizer
        self._composite, self._truth, self._mask = composite[None], truth[None], mask[None]
        self._known: dict[tuple[int, ...], tuple[float, Sequence[Tensor]]] = {}

    def error(self, references: Sequence[Tensor]) -> float:
        """fMSE with these; the same ones are measured once (they are held, so that their ids stay theirs)."""
        key = tuple(map(id, references))
        if key not in self._known:
            result = self._harmonizer.harmonize(self._composite, self._mask, list(references)).image.clamp(0, 1)
            error = float(foreground_mse(result * self._mask, self._truth * self._mask, self._mask)) * 255**2
            self._known[key] = (error, references)
        return self._known[key][0]


def measure(
    harmonizer: raiha.Harmonizer, index: ReferenceIndex, rows: Sequence[Item], effect: Effect, weights: Sequence[float] = WEIGHTS
) -> dict[str, Any]:
    """All of one set."""
    odd = dict(zip(odd_photos(), harmonizer.prepare_references(list(odd_photos().values())), strict=True))
    for number, (row, composite, truth, mask) in enumerate(zip(rows, *squares(rows), strict=True)):
        case = Case(harmonizer, composite, truth, mask)

        def add(what: str, references: Sequence[Tensor], case: Case = case, item: Item = row, **more: object) -> None:
            effect.add(what, case.error([]), case.error(references), name=item.name, group=item.group, **more)

        for weight in weights:
            usual = weight == DEFAULT_WEIGHT
            found = index.retrieve(composite[None], mask[None], max(NUMBERS) if usual else USUAL, weight=weight, min_illumination=0.0)
            seen = harmonizer.prepare_references([r.load() for r in found])
            for k in NUMBERS if usual else (1, USUAL):
                add(f"weight {weight}: first {k}", seen[:k])
            if not usual:
                continue
            for rank, (reference, picture) in enumerate(zip(found, seen, strict=True), 1):
                if rank not in RANKS:
                    continue
                add(f"rank {rank}", [picture], content=reference.content, illumination=reference.illumination)
                latest = effect.pairs[f"rank {rank}"][-1]
                effect.pairs[f"content {bracket(reference.content)}"].append(latest)
                effect.pairs[f"light {bracket(reference.illumination)}"].append(latest)
            for kind, minima in MINIMA:
                for least in minima:
                    fit = [getattr(r, kind) >= least for r in found]
                    for k in (1, USUAL):
                        # One: the best, or none; four: the best of those that are left.
                        kept = seen[: int(fit[0])] if k == 1 else [p for p, good in zip(seen, fit, strict=True) if good][:k]
                        add(f"first {k} with {kind} of at least {least}", kept, kept=len(kept))
            first = seen[:3]
        if number % ODD_EVERY == 0:
            for name, photo in odd.items():
                add(f"other kind: {name}", [photo])
                add(f"other kind: {name} beside the first 3", [*first, photo])
            add("other kind: none beside the first 3", first)
            noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(number))
            add(
                "a photo found for noise",
                harmonizer.prepare_references([r.load() for r in index.retrieve(noise, _middle(), 1, min_illumination=0.0)]),
            )
    return effect.report()


def _middle() -> Tensor:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    return mask


def main() -> None:
    """Measure all sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("val", type=Path)
    parser.add_argument("--index", required=True)
    parser.add_argument("--model", default="raiha-s")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--weights", type=float, nargs="+", default=list(WEIGHTS))
    parser.add_argument("--sets", nargs="+", default=["in place", "pasted", "fitting"])
    parser.add_argument("--raw", type=Path, help="file for every single measurement, as JSON lines")
    options = parser.parse_args()
    torch.set_num_threads(1)
    harmonizer = raiha.Harmonizer(options.model)
    # An even choice of the set, and as many pasted objects made of it.
    dataset = TripletFolder(options.val)
    chosen = dataset.limited(options.count)
    with contextlib.ExitStack() as stack:
        index = stack.enter_context(ReferenceIndex.open(options.index))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        raw = stack.enter_context(open(options.raw, "w")) if options.raw else None
        stack.enter_context(torch.inference_mode())
        pasted = list(write_pasted(dataset, Path(folder), SIDE, limit=options.count))
        mixed = [pasted[i] for i in np.random.default_rng(2).permutation(len(pasted))]
        sets = {
            "in place": list(chosen),
            "pasted": [item for item in mixed if item.group != "fitting"][: options.count],
            "fitting": [item for item in mixed if item.group == "fitting"][: max(1, options.count // 3)],
        }
        report = {name: measure(harmonizer, index, sets[name], Effect(name, raw), options.weights) for name in options.sets}
        photos = len(index)
    print(json.dumps({"model": options.model, "photos": photos, **report}, indent=2))


if __name__ == "__main__":
    main()
