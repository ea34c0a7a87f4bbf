"""The picture of the house is that of the code, and the floors are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

FLOORS = [
    {"errors", "suffixes"},
    {"checkpoint", "image"},
    {"content", "illumination", "inputs"},
    {"models", "references"},
    {"attention", "harmonizer"},
    {"evaluation", "video"},
    {"nodes", "training"},
    {"cli"},
]


@pytest.fixture(scope="module")
def draw(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("draw_architecture")


def house(root: Path, **files: str) -> Path:
    """A small repository: `a__b` is raiha_core/a/b.py, `a` is raiha_core/a/__init__.py."""
    for name, text in {"": "", **files}.items():
        folder, _, module = name.partition("__")
        file = root / "raiha_core" / folder / f"{module or '__init__'}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (root / "nodes").mkdir()
    (root / "nodes" / "__init__.py").write_text("from ..raiha_core.top import x")
    return root


def test_the_document_shows_the_code(draw: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert draw.main(["--check"]) == 0, capsys.readouterr().err


def test_every_room_says_what_it_is(draw: ModuleType) -> None:
    said = draw.rooms()
    assert len(said) > 12 and not [room for room, text in said.items() if len(text.split()) < 3]


def test_no_room_uses_one_above_it(draw: ModuleType) -> None:
    height = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
    graph = draw.uses()
    assert set(height) <= set(graph)
    upward = [(room, used) for room in graph for used in graph[room] if room in height and height.get(used, -1) >= height[room]]
    assert not upward and draw.floors(graph)  # no circles either


def test_the_core_knows_nothing_of_comfyui(draw: ModuleType) -> None:
    assert not [room for room, used in draw.uses().items() if "nodes" in used]
    core = Path(draw.ROOT) / "raiha_core"
    assert not [p for p in core.rglob("*.py") if any(f"import {m}" in p.read_text() for m in ("comfy", "folder_paths", "comfy_api"))]


def test_imports_are_found_wherever_they_stand(draw: ModuleType, tmp_path: Path) -> None:
    lazily = "def f():\n    from ..low import y\n"
    types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..nowhere import T\nfrom . import own\nimport os"
    root = house(tmp_path, low="", top="from ..mid import (\n    a,\n    b,\n)\n", mid=lazily, mid__own=types, nowhere="")
    assert draw.uses(root) == {"low": set(), "mid": {"low"}, "nowhere": set(), "top": {"mid"}, "nodes": {"top"}}


def test_rooms_stand_above_what_they_use_and_implied_arrows_are_left_out(draw: ModuleType) -> None:
    graph = {"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": set()}
    assert draw.floors(graph) == [["c", "d"], ["b"], ["a"]]
    assert draw.direct(graph) == {"a": {"b"}, "b": {"c"}, "c": set(), "d": set()}


def test_a_circle_is_named(draw: ModuleType) -> None:
    with pytest.raises(ValueError, match="circle: a, b"):
        draw.floors({"a": {"b"}, "b": {"a"}, "c": set()})


def test_an_outdated_document_is_noticed_and_mended(
    draw: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "architecture.md"
    document.write_text(f"before\n{draw.BEGIN}\nOUTDATED\n{draw.END}\nafter\n")
    monkeypatch.setattr(draw, "DOCUMENT", document)
    assert draw.main(["--check"]) == 1 and "run python scripts/draw_architecture.py" in capsys.readouterr().err
    assert draw.main([]) == 0 and draw.main(["--check"]) == 0
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "```mermaid" in text and "OUTDATED" not in text
