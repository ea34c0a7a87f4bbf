"""Draw the house from the code's imports: which room of raiha_core uses which, floor by floor.

python scripts/draw_architecture.py            # writes the picture and the table of rooms into docs/architecture.md
python scripts/draw_architecture.py --check    # says whether they are up to date: exit status 1 if not

A room is a folder of raiha_core, or a file beside them; ComfyUI's nodes are one more. All imports count, those inside of functions
too, except what is imported for types alone.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- drawn by scripts/draw_architecture.py -->", "<!-- end of the drawing -->"
CORE, NODES = "raiha_core", "nodes"

Uses = Mapping[str, set[str]]
"""Room -> rooms that it imports from."""


def rooms(root: Path = ROOT) -> dict[str, str]:
    """Every room and what its docstring says it is, in one sentence."""
    files = {p.stem: p for p in (root / CORE).glob("*.py") if not p.stem.startswith("__")}
    files |= {p.parent.name: p for p in (root / CORE).glob("*/__init__.py")} | {NODES: root / NODES / "__init__.py"}
    return {name: _first_sentence(ast.get_docstring(ast.parse(p.read_text(encoding="utf-8"))) or "") for name, p in sorted(files.items())}


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return paragraph.rstrip(".")


def uses(root: Path = ROOT) -> dict[str, set[str]]:
    """Which rooms each room imports from."""
    found: dict[str, set[str]] = {name: set() for name in rooms(root)}
    for folder in (CORE, NODES):
        for file in (root / folder).rglob("*.py"):
            module = file.relative_to(root).with_suffix("").parts
            own = _room(module)
            if own in found:
                package = module[:-1]
                found[own] |= {
                    r for target in _imports(ast.parse(file.read_text(encoding="utf-8")), package) if (r := _room(target)) in found
                }
                found[own].discard(own)
    return found


def _room(module: tuple[str, ...]) -> str:
    return NODES if module[:1] == (NODES,) else module[1] if module[:1] == (CORE,) and len(module) > 1 else ""


def _imports(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Modules and names that are imported from this repository, as paths; not those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + tuple((node.module or "").split(".") if node.module else ())
            yield from ((*base, alias.name) for alias in node.names)
        yield from _imports(node, package)


def floors(graph: Uses) -> list[list[str]]:
    """The rooms by height: each stands one floor above the highest that it uses.

    Raises:
        ValueError: rooms that use each other in a circle; says which.
    """
    height: dict[str, int] = {}
    while len(height) < len(graph):
        ready = [room for room in graph if room not in height and graph[room] <= set(height)]
        if not ready:
            raise ValueError(f"these rooms use each other in a circle: {', '.join(sorted(set(graph) - set(height)))}")
        height |= {room: 1 + max((height[used] for used in graph[room]), default=-1) for room in ready}
    return [sorted(room for room in height if height[room] == floor) for floor in range(max(height.values()) + 1)]


def direct(graph: Uses) -> dict[str, set[str]]:
    """The graph without what follows from the rest: a room that uses another's ground is not drawn to use the ground as well."""
    below: dict[str, set[str]] = {}
    for floor in floors(graph):
        for room in floor:
            below[room] = set(graph[room]).union(*(below[used] for used in graph[room]))
    return {room: {u for u in graph[room] if not any(u in below[other] for other in graph[room] if other != u)} for room in graph}


def drawing(root: Path = ROOT) -> str:
    """The picture (Mermaid) and the table of rooms, top floor first."""
    graph, said = uses(root), rooms(root)
    storeys = floors(graph)
    lines = ["```mermaid", "flowchart TD"]
    for number, floor in reversed(list(enumerate(storeys))):
        lines += [f"  subgraph floor{number}[floor {number}]", "    direction LR", *(f"    {room}" for room in floor), "  end"]
    lines += [f"  {room} --> {used}" for room, below in sorted(direct(graph).items()) for used in sorted(below)]
    lines += ["```", "", "| floor | room | what it is | uses |", "| --- | --- | --- | --- |"]
    for number, floor in reversed(list(enumerate(storeys))):
        lines += [f"| {number} | `{room}` | {said[room]} | {', '.join(sorted(graph[room])) or '-'} |" for room in floor]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if the document is out of date")
    check = parser.parse_args(argv).check
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    now = f"{before}{BEGIN}\n{drawing()}\n{END}{after}"
    if check and now != text:
        print("docs/architecture.md shows another house than the code's imports; run python scripts/draw_architecture.py", file=sys.stderr)
        return 1
    if not check:
        DOCUMENT.write_text(now, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
