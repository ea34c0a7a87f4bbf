"""What is imported when: the command's help and the bare package must not load torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "PIL", "cv2", "skimage", "faiss", "open_clip", "timm", "pymilvus", "accelerate", "tifffile", "imagecodecs", "av")


@pytest.mark.parametrize("module", ["raiha_core", "raiha_core.cli"])
def test_nothing_heavy_at_import(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_core_loads_no_optional_library() -> None:
    optional = [m for m in HEAVY if m not in ("torch", "PIL")]
    code = f"import sys, raiha_core.harmonizer; print([m for m in {optional!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_prediction_loads_none_of_torch_that_is_for_compilers() -> None:
    """It takes twice as long to import as torch itself, and a single command would wait for it."""
    code = """
import sys, torch
from raiha_core.models import load_model
mask = torch.zeros(1, 1, 256, 256)
mask[..., 90:150, 90:150] = 1
load_model().predict(torch.rand(1, 3, 256, 256), mask, [torch.rand(1, 3, 256, 256)])
print([m for m in ("torch._dynamo", "torch._inductor", "sympy") if m in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_public_names_are_there() -> None:
    import raiha_core

    for name in raiha_core.__all__:
        assert getattr(raiha_core, name) is not None
    assert callable(raiha_core.harmonize)
    with pytest.raises(AttributeError):
        _ = raiha_core.nothing_of_the_kind
