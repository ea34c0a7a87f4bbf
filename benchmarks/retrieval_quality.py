"""Measure what retrieval finds: content and look-alikes; and draw contact sheets. For light see retrieval_light.py.

    python benchmarks/retrieval_quality.py content --data FOLDER --index DIR [--folders photos pairs] [--encoder NAME] [--queries 300]
    python benchmarks/retrieval_quality.py lookalikes --data FOLDER --index DIR
    python benchmarks/retrieval_quality.py sheets --data FOLDER --index DIR --out DIR [--weight W]

FOLDER holds photos/, masks.jsonl, pairs.jsonl and composites/; DIR is an index of --folders, which `content` builds
first (resumable). All but `sheets` print one JSON object. The protocols stand in docs/retrieval.md.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from raiha_core.content import load_encoder
from raiha_core.image import read_image, read_mask
from raiha_core.image.colour import linear_to_srgb, srgb_to_linear
from raiha_core.references import ReferenceIndex, contact_sheet
from raiha_core.references import manifest as manifests
from raiha_core.references.catalogue import Catalogue
from raiha_core.references.index import DEFAULT_WEIGHT
from raiha_core.references.lookalike import SAME, resemblance, signature
from raiha_core.references.photos import as_tensor, read_photo
from raiha_core.references.query import foreground_box
from raiha_core.references.regions import REGIONS, WHOLE, cut


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def load(path: Path, side: int = 320) -> Tensor:
    """A photo `(1, 3, H, W)`."""
    return as_tensor(read_photo(path, side)[0])


def histogram(image: Tensor, counts: Tensor | None = None) -> np.ndarray:
    """The baseline: 8 x 8 x 8 colour histogram of the pixels that count, sums to 1."""
    bins = (image[0].clamp(0, 1) * 7.999).long()
    flat = (bins[0] * 64 + bins[1] * 8 + bins[2]).flatten()
    weights = torch.ones(flat.shape) if counts is None else counts.flatten().float()
    result: np.ndarray = (torch.bincount(flat, weights, 512) / weights.sum().clamp_min(1)).numpy()
    return result


def relight(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Another light: exposure by up to about a stop, colour by up to about a third of a stop, contrast."""
    gains = 2 ** (rng.normal(0, 0.5) + rng.normal(0, 0.3, 3))
    linear = srgb_to_linear(image) * torch.tensor(gains, dtype=torch.float32).view(1, 3, 1, 1)
    return linear_to_srgb(linear.clamp(0, 1)) ** float(2 ** rng.normal(0, 0.2))


def paste(photo: Tensor, mask: Tensor, background: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The object, relit and mirrored, on another photo at its own size and place."""
    size = (int(photo.shape[-2]), int(photo.shape[-1]))
    scene = F.interpolate(background, size, mode="bilinear", antialias=True, align_corners=False)
    subject, area = relight(photo, rng).flip(-1), mask.flip(-1)
    return scene * (1 - area) + subject * area, area


# --- content


class Colours:
    """The baseline: photos by the colour histograms of their regions."""

    def __init__(self, files: dict[int, Path]):
        self.files = files
        self.owners = np.repeat(list(files), len(REGIONS))
        self.table = np.empty((len(self.owners), 512), np.float32)
        for i, path in enumerate(files.values()):
            image = load(path, 128)
            for j, box in enumerate(REGIONS):
                self.table[i * len(REGIONS) + j] = histogram(cut(image, box))

    def __call__(self, composite: Tensor, mask: Tensor, out: set[Path]) -> list[Path]:
        """The five nearest photos."""
        y0, y1, x0, x1 = foreground_box(mask)
        scores = np.minimum(self.table, histogram(composite[..., y0:y1, x0:x1])).sum(1)
        near = (self.files[self.owners[i]] for i in np.argsort(-scores)[:400])
        return list(dict.fromkeys(path for path in near if path not in out))[:5]


class Tally:
    """Asks every method, and counts how often the wanted photos are among its first five."""

    def __init__(self, methods: dict[str, Callable[[Tensor, Tensor, set[Path]], list[Path]]], photos: int):
        self.methods, self.photos = methods, photos
        self.hits: dict[str, dict[str, list[float]]] = {}

    def ask(self, kind: str, composite: Tensor, mask: Tensor, wanted: set[Path], out: set[Path], share: bool = False) -> None:
        """One query; `share` counts how many of the five are wanted, not whether any is."""
        found = {name: len(wanted & set(method(composite, mask, out))) / 5 for name, method in self.methods.items()}
        chance = len(wanted) / self.photos
        found["random"] = chance if share else 1 - (1 - chance) ** 5
        for name, value in found.items():
            counted = value if share or name == "random" else float(value > 0)
            self.hits.setdefault(kind, {}).setdefault(name, []).append(counted)

    def report(self) -> dict[str, Any]:
        """Number of queries and means."""
        return {
            kind: {"queries": len(found["random"]), **{name: round(float(np.mean(values)), 3) for name, values in found.items()}}
            for kind, found in self.hits.items()
        }


def content(options: argparse.Namespace) -> dict[str, Any]:
    """Recall of the same object and the same scene among all photos; agreement of object classes."""
    data = Path(options.data)
    encoder = load_encoder(options.encoder)
    start = time.perf_counter(), time.process_time()
    index = ReferenceIndex.build([data / folder for folder in options.folders], options.index, encoder)
    built = {"build_s": round(time.perf_counter() - start[0]), "build_cpu_s": round(time.process_time() - start[1])}
    print(f"{len(index)} photos, {built}; histograms", file=sys.stderr)
    files = files_of(index, Path(options.index))
    known = set(files.values())

    def ours(composite: Tensor, mask: Tensor, out: set[Path]) -> list[Path]:
        return [r.path for r in index.retrieve(composite, mask, 5, weight=0.0, min_illumination=0.0, excluded=out, deduplicate=False)]

    tally = Tally({"ours": ours} if options.no_colours else {"ours": ours, "colour histogram": Colours(files)}, len(files))
    rng = np.random.default_rng(5)
    masks = [m for m in lines(data / "masks.jsonl") if m["label"] not in ("region", "sky", "road") and 0.03 <= (m["area"] or 0) <= 0.4]
    masks = [m for m in masks if data / m["photo"] in known]
    labels: dict[str, set[str]] = {}
    for m in masks:
        labels.setdefault(m["photo"], set()).add(m["label"] or "")
    for number in rng.permutation(len(masks))[: options.queries]:
        _ask_object(tally, masks[number], data, sorted(known), labels, rng)
    _ask_scenes(tally, data, known, options.queries, rng)
    return {"encoder": encoder.id, "weights": encoder.weights_hash, "photos": len(files), **built, **tally.report()}


def files_of(index: ReferenceIndex, folder: Path) -> dict[int, Path]:
    """The file of each photo of an index, by its row."""
    catalogue = Catalogue(folder, manifests.load(folder))
    places = dict(zip((r.id for r in catalogue.roots()), index.galleries, strict=True))
    return {f.image: places[f.root] / f.path for f in catalogue.files() if f.image is not None}


def _ask_object(
    tally: Tally, m: dict[str, Any], data: Path, photos: list[Path], labels: dict[str, set[str]], rng: np.random.Generator
) -> None:
    photo = load(data / m["photo"])
    mask = (load(data / m["mask"])[:, :1] > 0.5).float()
    if mask.shape[-2:] != photo.shape[-2:]:
        mask = F.interpolate(mask, photo.shape[-2:])
    if not bool(mask.any()):
        return
    own, other = data / m["photo"], photos[rng.integers(len(photos))]
    composite, area = paste(photo, mask, load(other), rng)
    tally.ask("pasted", composite, area, {own}, {other})
    tally.ask("in place", relight(photo, rng).flip(-1), area, {own}, set())
    if m["label"]:
        same = {data / name for name, found in labels.items() if m["label"] in found} - {own}
        tally.ask("class", composite, area, same, {other, own}, share=True)


def _ask_scenes(tally: Tally, data: Path, known: set[Path], count: int, rng: np.random.Generator) -> None:
    scenes: dict[tuple[str, str], set[str]] = {}
    for pair in lines(data / "pairs.jsonl"):
        if not pair["kind"].startswith("ALGO") and {data / pair["a"], data / pair["b"]} <= known:
            scenes.setdefault((pair["source"], pair["scene"]), set()).update((pair["a"], pair["b"]))
    names = sorted(scenes)
    for number in rng.permutation(len(names))[:count]:
        group = sorted(scenes[names[number]])
        own, rest = data / group[0], {data / name for name in group[1:]}
        photo = load(own)
        mask = torch.zeros_like(photo[:, :1])
        h, w = photo.shape[-2:]
        top, left = int(rng.uniform(0, 0.5) * h), int(rng.uniform(0, 0.5) * w)
        mask[..., top : top + h // 2, left : left + w // 2] = 1
        tally.ask("scene", photo, mask, rest, {own})


# --- look-alikes


def copies(photo: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
    """The same photo as other files hold it."""
    h, w = photo.shape[-2:]
    x0, y0 = int(rng.uniform(0, 0.05) * w), int(rng.uniform(0, 0.05) * h)
    x1, y1 = w - int(rng.uniform(0, 0.05) * w), h - int(rng.uniform(0, 0.05) * h)
    half = F.interpolate(photo, (h // 2, w // 2), mode="bilinear", antialias=True, align_corners=False)
    buffer = io.BytesIO()
    pixels = (photo[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=30)
    return {
        "half the size": half,
        "JPEG quality 30": as_tensor(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")),
        "relit": relight(photo, rng),
        "up to 5 % cropped off each side": photo[..., y0:y1, x0:x1],
        "a tenth cropped off each side": cut(photo, (0.1, 0.1, 0.9, 0.9)),
        "mirrored": photo.flip(-1),
    }


def lookalikes(options: argparse.Namespace) -> dict[str, Any]:
    """How many copies are told, how many other photos are taken for copies, at several thresholds.

    The other photos of a photo are the 20 nearest by content, the likeliest to be mistaken; the pictures of one scene in
    two lights count apart, since they are meant to be taken for one photo.
    """
    data, folder = Path(options.data), Path(options.index)
    rng = np.random.default_rng(11)
    scores: dict[str, list[float]] = {}
    with ReferenceIndex.open(folder) as index:
        files = files_of(index, folder)
        catalogue = Catalogue(folder, manifests.load(folder))
        whole = {r.image: r.content for r in catalogue.regions_of(files) if r.box == WHOLE}
        photos, table = np.array(list(whole)), np.stack(list(whole.values()))
        mistaken: list[tuple[float, str, str]] = []
        for row in rng.permutation([r for r in whole if files[r].is_relative_to(data / "photos")])[: options.queries].tolist():
            own = load(files[row])
            for name, copy in copies(own, rng).items():
                scores.setdefault(name, []).append(float(resemblance(signature(own), [signature(copy)])[0]))
            near = [i for i in photos[np.argsort(-table @ whole[row])[:21]].tolist() if i != row][:20]
            found = catalogue.images(near)
            alike = resemblance(signature(own), [found[i].signature for i in near])
            scores.setdefault("another photo", []).extend(alike.tolist())
            mistaken += [(float(s), str(files[row]), str(files[i])) for s, i in zip(alike, near, strict=True) if s >= 0.6]
    for pair in lines(data / "pairs.jsonl"):
        if not pair["kind"].startswith("ALGO"):
            a, b = (signature(load(data / pair[k])) for k in ("a", "b"))
            scores.setdefault("one scene in two lights", []).append(float(resemblance(a, [b])[0]))
    limits = (0.3, 0.4, 0.5, SAME, 0.7, 0.75, 0.8)
    shares = {name: {"pairs": len(v), **{str(t): round(float(np.mean(np.array(v) >= t)), 4) for t in limits}} for name, v in scores.items()}
    return {"threshold": SAME, "share at or above": shares, "most alike among others": sorted(mistaken, reverse=True)[:20]}


# --- contact sheets


def sheets(options: argparse.Namespace) -> dict[str, Any]:
    """Draw what is retrieved for every composite, four references each."""
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    drawn = []
    with ReferenceIndex.open(options.index, options.encoder) as index:
        for path in sorted(Path(options.data, "composites/composite").iterdir()):
            picture = read_image(path).rgb_tensor()
            mask = torch.from_numpy(read_mask(Path(options.data, "composites/mask", f"{path.stem}.png")))[None, None]
            if mask.shape[-2:] != picture.shape[-2:]:
                mask = F.interpolate(mask, picture.shape[-2:])
            found = index.retrieve(picture, mask, 4, weight=options.weight, query_path=path)
            contact_sheet(picture, mask, found).save(out / f"{path.stem}.png")
            drawn.append({"composite": path.name, "found": [[r.path.name, round(r.content, 3), round(r.illumination, 3)] for r in found]})
    return {"weight": options.weight, "sheets": drawn}


def main() -> None:
    """Run one measurement."""
    commands = {"content": content, "lookalikes": lookalikes, "sheets": sheets}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=commands)
    parser.add_argument("--data", required=True, help="photos/, masks.jsonl, pairs.jsonl, composites/")
    parser.add_argument("--index", required=True, help="index folder: built by `content`, read by the others")
    parser.add_argument("--encoder", default="embedded", help="content encoder, for example embedded@FILE")
    parser.add_argument("--folders", nargs="+", default=["photos", "pairs"], help="what `content` indexes, relative to the data folder")
    parser.add_argument("--no-colours", action="store_true", help="leave out the baseline of `content`, which takes minutes")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--weight", type=float, default=DEFAULT_WEIGHT, help="share of the light, for `sheets`")
    parser.add_argument("--out", default="sheets", help="where `sheets` writes")
    options = parser.parse_args()
    with torch.inference_mode():
        print(json.dumps(commands[options.command](options), indent=2))


if __name__ == "__main__":
    main()
