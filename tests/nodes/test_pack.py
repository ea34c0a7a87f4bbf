"""The pack as a whole: what ComfyUI sees, and that its parts agree with each other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[2]
INFO = json.loads((ROOT / "tests/web/object_info.json").read_text())
OURS = {name: spec for name, spec in INFO.items() if name.startswith("Raiha")}
STRANGE: list[Any] = ["y" * 5000, [], {}, [1], object(), torch.rand(1, 8, 8, 3), torch.zeros(0), np.ones((3, 3))]
"""What no widget gives, but a link may."""
WORKFLOWS = sorted((ROOT / "example_workflows").glob("*.json"))


def test_nodes_with_everything_a_user_reads(pack: SimpleNamespace) -> None:
    schemas = {node.define_schema().node_id: node.define_schema() for node in pack.nodes.values()}
    assert set(schemas) == set(OURS), "tests/web/object_info.json lists what a real ComfyUI served"
    for name, schema in schemas.items():
        assert schema.category == "Raiha" and schema.display_name and schema.description and schema.search_aliases
        assert schema.search_aliases == OURS[name]["search_aliases"]
        assert any(w.isascii() for w in schema.search_aliases) and any("\u4e00" <= w[0] <= "\u9fff" for w in schema.search_aliases)
        served = {**OURS[name]["input"]["required"], **OURS[name]["input"].get("optional", {})}
        assert [i.id for i in schema.inputs] == list(served)
        # The strip of photos says itself what to do; a tooltip would lie over the photos.
        assert all(i.tooltip for i in schema.inputs if i.id != "picks") and all(o.tooltip for o in schema.outputs)
        assert {i.id: i.tooltip for i in schema.inputs} == {i: served[i][1].get("tooltip") for i in served}
        numbers = {i.id: i.default for i in schema.inputs if i.io_type in ("INT", "FLOAT", "BOOLEAN")}
        assert numbers == {i: served[i][1]["default"] for i in numbers}


def test_every_linked_value_is_checked(pack: SimpleNamespace) -> None:
    """ComfyUI checks what widgets hold, but not what is linked to them."""
    tried = 0
    for node in pack.nodes.values():
        inputs = node.define_schema().inputs
        sockets: dict[str, Any] = {i.id: None for i in inputs if i.io_type not in ("INT", "FLOAT", "COMBO", "BOOLEAN", "RAIHA_PICKS")}
        for wanted in inputs:
            rubbish: dict[str, list[Any]] = {
                "INT": [1.5, "x", None, *STRANGE],
                "FLOAT": ["x", None, float("inf"), *STRANGE],
                "BOOLEAN": [7, "x", None, *STRANGE],
                "COMBO": ["rubbish", None, 5, *STRANGE],
            }
            bad = rubbish.get(wanted.io_type, [])
            if wanted.io_type in ("INT", "FLOAT"):
                bad += [wanted.min - 1, wanted.max + 1]
            for value in bad:
                if isinstance(value, str) and wanted.id in ("source", "model"):  # the nodes look themselves
                    continue
                given = {**sockets, **({"source": "x"} if "source" in {i.id for i in inputs} else {}), wanted.id: value}
                with pytest.raises(pack.error, match=rf"^{wanted.id} is ") as caught:
                    node.execute(**given)
                assert "\n" not in str(caught.value) and len(str(caught.value)) < 300, "a tensor is not printed"
                tried += 1
    assert tried > 300


def test_every_socket_is_checked(pack: SimpleNamespace) -> None:
    """Sockets of any type, as reroutes and switches have them, give whatever came in."""
    image, tried = torch.rand(1, 8, 8, 3), 0
    for node in pack.nodes.values():
        for wanted in node.define_schema().inputs:
            if wanted.io_type not in ("IMAGE", "MASK", "RAIHA_INDEX", "RAIHA_REFERENCES", "RAIHA_ATTENTION"):
                continue
            shapes = [image[0], image[..., :2], image[:, :0]] if wanted.io_type == "IMAGE" else []
            kinds = [image.to_sparse(), image.to(torch.complex64), image.to("meta")]
            for value in ["x", [image], 5, *shapes, *kinds]:
                with pytest.raises(pack.error, match=rf"^{wanted.id} (is |has the shape)"):
                    pack.module("nodes.comfy")._checked(wanted, value)
                tried += 1
    assert tried > 80


def test_what_is_linked_to_lists_and_picks(pack: SimpleNamespace, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Lists whose options are not the whole truth take any text, and nothing else."""
    for value in ("y" * 5000, "a\0b", "\ud800", ""):
        for run in (
            lambda: pack.HarmonizeComposite.execute(*batch, model=value),  # noqa: B023
            lambda: pack.LoadReferenceIndex.execute(f"photos: {value}"),  # noqa: B023
        ):
            with pytest.raises(pack.error) as caught:
                run()
            assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    for wrong in (5, [1], torch.rand(2), True):
        assert "press Clear" in pack.RetrieveReferences.validate_inputs(wrong)


def test_gradients_are_let_go(pack: SimpleNamespace, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, mask = batch
    out = pack.HarmonizeComposite.execute(images[:1].clone().requires_grad_(), mask).args[0]
    assert torch.equal(out, pack.HarmonizeComposite.execute(images[:1], mask).args[0]) and not out.requires_grad
    assert pack.LoadReferenceIndex.execute("photos: example photos", images=images[:1].clone().requires_grad_()).args[1].startswith("1 ")


def test_a_grey_image_is_one_of_three_channels(pack: SimpleNamespace) -> None:
    grey, mask = torch.rand(1, 24, 32, 1), torch.zeros(1, 24, 32)
    mask[:, 8:16, 8:24] = 1
    assert pack.HarmonizeComposite.execute(grey, mask).args[0].shape == (1, 24, 32, 3)
    pasted = pack.PasteObject.execute(grey, grey, mask, scale=0.5, mask_reading="white is the object").args[0]
    assert pasted.shape == (1, 24, 32, 3)


def test_fields_unknown_to_an_old_comfyui_are_left_out(pack: SimpleNamespace) -> None:
    assert pack.module("nodes.comfy").schema(node_id="x", field_of_the_future=1).node_id == "x"


def test_the_entry_point_imports_nothing_by_itself() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT.parent)!r}); import {ROOT.name} as p; print('torch' in sys.modules, p.WEB_DIRECTORY)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "False ./web" and not done.stderr


def test_importing_the_nodes_loads_no_optional_library(pack: SimpleNamespace) -> None:
    source = "".join(p.read_text() for p in (ROOT / "nodes").glob("*.py"))
    assert not re.search(r"^\s*(import|from) (faiss|cv2|skimage|open_clip|timm|nodes|raiha_core)\b", source, re.MULTILINE)


def _keys(value: Any, prefix: str = "") -> set[str]:
    if not isinstance(value, dict):
        return {prefix}
    return set().union(*(_keys(v, f"{prefix}/{k}") for k, v in value.items()))


@pytest.mark.parametrize("language", sorted(p.name for p in (ROOT / "locales").iterdir()))
def test_locales_are_complete(language: str) -> None:
    own = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text())
    for name, spec in OURS.items():
        inputs = {**spec["input"]["required"], **spec["input"].get("optional", {})}
        assert set(own[name]["inputs"]) == set(inputs) and len(own[name]["outputs"]) == len(spec["output"])
        assert own[name]["display_name"] and own[name]["description"]
    assert _keys(own) == _keys(json.loads((ROOT / "locales/en/nodeDefs.json").read_text()))


def test_english_locale_says_what_the_nodes_say() -> None:
    own = json.loads((ROOT / "locales/en/nodeDefs.json").read_text())
    for name, spec in OURS.items():
        assert (own[name]["display_name"], own[name]["description"]) == (spec["display_name"], spec["description"])
        for key, (_, options) in {**spec["input"]["required"], **spec["input"].get("optional", {})}.items():
            assert own[name]["inputs"][key].get("tooltip") == options.get("tooltip")


@pytest.mark.parametrize("language", sorted(p.name for p in (ROOT / "locales").iterdir()))
@pytest.mark.parametrize("name", sorted(OURS))
def test_help_pages_have_pictures_that_exist(name: str, language: str) -> None:
    folder = ROOT / "web/docs"
    text = (folder / name / f"{language}.md").read_text()
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    # The frontend looks for pictures from docs/, not from where the page lies.
    assert pictures and all((folder / p).is_file() for p in pictures)
    inputs = {**OURS[name]["input"]["required"], **OURS[name]["input"].get("optional", {})}
    assert all(f"**{i}**" in text for i in inputs), "every input is explained"


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda p: p.stem)
def test_example_workflows_are_whole(file: Path) -> None:
    graph = json.loads(file.read_text())
    assert any(file.with_suffix(s).is_file() for s in (".jpg", ".png")), "a thumbnail of the same name"
    nodes = {n["id"]: n for n in graph["nodes"]}
    for _, source, slot, target, place, kind in graph["links"]:
        assert nodes[source]["outputs"][slot]["type"] == kind
        assert nodes[target]["inputs"][place]["type"] in (kind, "*")
    for node in nodes.values():
        for value in node.get("widgets_values", []):
            if isinstance(value, str) and value.startswith("raiha_example_"):
                assert (ROOT / "example_workflows/media" / value).is_file()
        if node["type"] in OURS:
            spec = OURS[node["type"]]["input"]
            kinds = [t for t, _ in {**spec["required"], **spec.get("optional", {})}.values()]
            widgets = [k for k in kinds if k in ("INT", "FLOAT", "COMBO", "BOOLEAN", "STRING", "RAIHA_PICKS")]
            assert len(node["widgets_values"]) == len(widgets)
            if node["type"] == "RaihaRetrieveReferences":
                best = [
                    spec[where][name][1]["default"]
                    for where, name in (("required", "top_k"), ("required", "weight"), ("optional", "minimum_light"))
                ]
                assert [node["widgets_values"][i] for i in (0, 1, 5)] == best, "an example teaches what measured best"


def test_the_published_package_holds_what_the_nodes_need() -> None:
    pathspec = pytest.importorskip("pathspec")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout, from which the registry's tool packs")
    left_out = pathspec.GitIgnoreSpec.from_lines((ROOT / ".comfyignore").read_text().splitlines())
    packed = {name for name in listed.stdout.split("\0") if name and not left_out.match_file(name)}
    tops = {name.split("/")[0] for name in packed}
    assert not tops & {"tests", "benchmarks", "docs", "configs", "artifacts", ".ci"}
    needed = {"__init__.py", "LICENSE", "README.md", "requirements.txt", "pyproject.toml", "raiha_core/weights/raiha-s.safetensors"}
    needed |= {f"web/docs/{name}/{language}.md" for name in OURS for language in ("en", "zh")}
    for folder in ("nodes", "web", "locales", "example_workflows"):
        kept = (p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        needed |= {p.relative_to(ROOT).as_posix() for p in kept}
    assert needed - {"web/tsconfig.json"} <= packed, "all but what only the type checker reads"
