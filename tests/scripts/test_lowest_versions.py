from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def test_every_lower_bound_becomes_a_version(script: Callable[[str], ModuleType]) -> None:
    lowest = script("lowest_versions").lowest
    text = 'dependencies = [\n  "torch",\n  "numpy>=1.25",\n  "faiss-cpu>=1.8.0",\n]\nmore = ["other>=3"]\n'
    assert lowest(text) == ["numpy==1.25", "faiss-cpu==1.8.0"] and lowest("") == []
    extras = '[project.optional-dependencies]\na = ["numpy>=1.25", "ray[data]>=2.9", "torchvision"]\n'
    extras += 'test = ["ruff>=1"]\n\n[tool.x]\ny = ["z>=1"]\n'
    assert lowest(text + extras) == ["numpy==1.25", "faiss-cpu==1.8.0", "ray==2.9"]
    ours = lowest((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert len(ours) >= 20 and not [r for r in ours if r.startswith("torch")]
