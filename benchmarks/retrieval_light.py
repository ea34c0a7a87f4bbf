"""Measure the light descriptor: does the photo with the query's light rank above its twin in another light?

    python benchmarks/retrieval_light.py --data FOLDER

FOLDER holds pairs.jsonl. Prints one JSON object; the protocol stands in docs/retrieval.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from retrieval_quality import histogram, lines, load
from torch import Tensor
from torch.nn import functional as F

from raiha_core.illumination import describe
from raiha_core.illumination import descriptor as light_descriptor
from raiha_core.references.regions import cut

LEFT, RIGHT, TOP, BOTTOM = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 0.5), (0.0, 0.5, 1.0, 1.0)
SHARES = list(itertools.product((0.0, 0.25, 0.5, 0.75, 1.0), (0.0, 0.25, 0.5), (0.0, 0.002, 0.01, 0.05)))
"""Shares of light, contrast and layout in the squared distance, among which one half of the scenes chooses."""


def measure(data: Path) -> dict[str, Any]:
    """How often the photo with the query's light ranks above its twin with the other light; on scenes of either half.

    The shares of the descriptor's three parts are chosen on each half of the scenes and counted on the other.
    """
    pairs = [p for p in lines(data / "pairs.jsonl") if not p["kind"].startswith("ALGO")]
    scenes = sorted({(p["source"], p["scene"]) for p in pairs})
    half = dict(zip(scenes, np.random.default_rng(1).permutation(len(scenes)) % 2, strict=True))
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number, pair in enumerate(pairs):
        a, b = load(data / pair["a"]), load(data / pair["b"])
        if a.shape != b.shape:
            b = F.interpolate(b, a.shape[-2:], mode="bilinear", antialias=True, align_corners=False)
        for turn, (same, twin) in enumerate(((a, b), (b, a))):
            halves = (LEFT, RIGHT) if a.shape[-1] >= a.shape[-2] else (TOP, BOTTOM)
            seen, unseen = halves if (number + turn) % 2 == 0 else halves[::-1]
            query, mask = _painted(cut(same, seen).clone(), rng)
            fact = {"kind": pair["kind"], "half": int(half[pair["source"], pair["scene"]])}
            for name, ranked in (("disjoint halves", (cut(same, unseen), cut(twin, unseen))), ("half against whole", (same, twin))):
                rows.append({**fact, "against": name, **_light_margins(query, mask, ranked)})
    result: dict[str, Any] = {"pairs": len(pairs), "scenes": len(scenes), "random": 0.5}
    for name in ("disjoint halves", "half against whole"):
        result[name] = _light_report([r for r in rows if r["against"] == name])
    return result


def _painted(query: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A rectangle of the picture as foreground, of some plain colour, which must not matter."""
    h, w = query.shape[-2:]
    height, width = int(h * rng.uniform(0.3, 0.55)), int(w * rng.uniform(0.3, 0.55))
    top, left = int(rng.integers(h - height)), int(rng.integers(w - width))
    mask = torch.zeros(1, 1, h, w)
    mask[..., top : top + height, left : left + width] = 1
    return torch.where(mask > 0, torch.tensor(rng.random(3), dtype=torch.float32).view(1, 3, 1, 1), query), mask


def _light_margins(query: Tensor, mask: Tensor, ranked: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """By how much each method prefers the first picture; of the descriptor for each of its parts, at a share of one."""
    d = light_descriptor
    sizes = [d._BRIGHT * d._CHROMA**2, d._CONTRAST, 3 * d._GRID**2]
    shares = np.array([d._LIGHT_SHARE, d._CONTRAST_SHARE, d._LAYOUT_SHARE])
    ours = describe(query, mask)
    far = [np.array([float(p.square().sum()) for p in (describe(photo) - ours).split(sizes, 1)]) for photo in ranked]
    colours, outside = histogram(query, mask < 0.5), (mask < 0.5).expand_as(query)
    alike = [float(np.minimum(colours, histogram(photo)).sum()) for photo in ranked]
    mean = query[outside].view(3, -1).mean(1)
    apart = [float((photo.mean((0, 2, 3)) - mean).norm()) for photo in ranked]
    parts = (far[1] - far[0]) / shares
    return {"parts": parts, "ours": float(parts @ shares), "colour histogram": alike[0] - alike[1], "mean colour": apart[1] - apart[0]}


def _light_report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    def won(values: list[float]) -> float:
        return round(float(np.mean(np.array(values) > 0)), 4)

    report: dict[str, Any] = {name: won([r[name] for r in rows]) for name in ("ours", "colour histogram", "mean colour")}
    parts = {h: np.stack([r["parts"] for r in rows if r["half"] == h]) for h in (0, 1)}
    tuned, decided = {}, []
    for h in (0, 1):
        best = max(SHARES, key=lambda share: (parts[1 - h] @ np.array(share) > 0).mean())
        margins = parts[h] @ np.array(best)
        decided.append(margins > 0)
        tuned[f"half {h}"] = {"chosen on the other": best, "held out": won(list(margins)), "shipped": won(list(parts[h] @ _shipped()))}
    report["shares chosen on one half, counted on the other"] = round(float(np.concatenate(decided).mean()), 4)
    report["by half"] = tuned
    kinds = sorted({r["kind"] for r in rows})
    by_kind = {k: [r["ours"] for r in rows if r["kind"] == k] for k in kinds}
    report["by kind"] = {k: {"decisions": len(v), "ours": won(v)} for k, v in by_kind.items()}
    return report


def _shipped() -> np.ndarray:
    d = light_descriptor
    return np.array([d._LIGHT_SHARE, d._CONTRAST_SHARE, d._LAYOUT_SHARE])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with pairs.jsonl")
    with torch.inference_mode():
        print(json.dumps(measure(parser.parse_args().data), indent=2))


if __name__ == "__main__":
    main()
