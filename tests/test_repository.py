"""The repository itself: what a clone weighs, what is declared, and that versions agree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import raiha_core

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 30_000_000
MODULES = {"yaml": "pyyaml", "PIL": "pillow", "skimage": "scikit-image", "faiss": "faiss-cpu", "open_clip": "open_clip_torch"}
MODULES |= {"color_matcher": "color-matcher", "cv2": "opencv-python-headless", "huggingface_hub": "huggingface-hub"}
BROUGHT = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "server", "aiohttp"}
"""What ComfyUI brings to the nodes, and to what measures beside its own."""


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib")
    document: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return document["project"]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[; ]", r)[0].lower() for r in requirements}


def imported(folder: str) -> set[str]:
    """The distributions that the Python files of a folder import, wherever in them."""
    found = set()
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                modules = [node.module]
            found |= {m.partition(".")[0] for m in modules}
    own = {"raiha_core", *(file.stem for file in (ROOT / folder).glob("*.py"))}
    return {MODULES.get(m, m).lower() for m in found - sys.stdlib_module_names - own}


def test_the_working_tree_stays_light() -> None:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    sizes = {name: (ROOT / name).stat().st_size for name in done.stdout.decode().split("\0") if (ROOT / name).is_file()}
    largest = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:4])
    assert 5_000_000 < sum(sizes.values()) < LIMIT, (
        f"{sum(sizes.values()) / 1e6:.1f} MB are tracked ({largest}); weights are released by raiha convert --half"
    )


def test_what_is_imported_is_declared(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    core, everything = names(project["dependencies"]), names([r for extra in extras.values() for r in extra])
    assert not imported("raiha_core") - core - everything
    assert not imported("nodes") - core - BROUGHT
    assert not (imported("benchmarks") | imported("scripts")) - core - everything - BROUGHT
    assert not [name for name, extra in extras.items() if not extra], "an extra that adds nothing"


def test_what_a_user_needs_from_the_start_is_no_extra(project: dict[str, Any]) -> None:
    """The rooms that work without any extra import nothing beyond the dependencies."""
    core = names(project["dependencies"])
    for room in ("image", "illumination", "models/raiha_s"):
        assert not imported(f"raiha_core/{room}") - core, room


def test_every_dependency_has_a_tested_lower_bound(project: dict[str, Any]) -> None:
    """But torch and torchvision, which are ComfyUI's, and the tools of the tests, which are to be new."""
    extras = project["optional-dependencies"]
    asked = {r for r in project["dependencies"] + [r for name, extra in extras.items() if name != "test" for r in extra]}
    assert {r for r in asked if ">=" not in r} == {"torch", "torchvision"}
    everything = asked | set(extras["test"])
    assert not [r for r in everything if "<" in r or "==" in r or "~=" in r], "an upper bound breaks somebody's ComfyUI"
    assert len(asked) == len(names(sorted(asked))), "one bound for a library, wherever it is asked for"


def test_comfyui_users_get_the_same_bounds(project: dict[str, Any]) -> None:
    lines = [line for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert set(lines) <= set(project["dependencies"])
    nodes_need = imported("nodes") | imported("raiha_core/references") | imported("raiha_core/image") | imported("raiha_core/models")
    optional = names([r for extra in project["optional-dependencies"].values() for r in extra])
    assert nodes_need - optional - BROUGHT - {"torch"} <= names(lines)


def test_versions_agree(project: dict[str, Any]) -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[([^\]]+)\]", changelog, re.MULTILINE)
    assert project["version"] == raiha_core.__version__ == next(v for v in versions if v != "Unreleased")
    assert len(set(versions)) == len(versions)
