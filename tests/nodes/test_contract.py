"""Against a real ComfyUI: where COMFYUI_DIR points to one (COMFYUI_PYTHON: the Python that runs it, default this one).

First that the contract stub promises nothing that ComfyUI does not keep, then the whole thing: the server on loopback, the
pack in custom_nodes, every example workflow queued, results compared with what the core gives.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
COMFYUI = os.environ.get("COMFYUI_DIR", "")
PYTHON = os.environ.get("COMFYUI_PYTHON", sys.executable)
MEDIA = ROOT / "example_workflows" / "media"
pytestmark = pytest.mark.skipif(not COMFYUI, reason="COMFYUI_DIR does not point to a ComfyUI")

_SIGNATURES = """
import sys, json, inspect, dataclasses
sys.argv = ["main.py", "--cpu"]
sys.path.insert(0, ".")
import comfy.options; comfy.options.enable_args_parsing()
import comfy.model_management as mm, folder_paths, comfy.utils
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import ComfyExtension, io
names = lambda f: list(inspect.signature(f).parameters)
print("RESULT" + json.dumps({
    "Schema": [f.name for f in dataclasses.fields(io.Schema)],
    "ProgressBar": names(comfy.utils.ProgressBar), "update": names(comfy.utils.ProgressBar.update),
    "update_absolute": names(comfy.utils.ProgressBar.update_absolute), "ModelPatcher": names(ModelPatcher),
    "add_model_folder_path": names(folder_paths.add_model_folder_path), "load_models_gpu": names(mm.load_models_gpu),
    "Input": names(io.Input), "WidgetInput": names(io.WidgetInput), "Output": names(io.Output), "NodeOutput": names(io.NodeOutput),
    "model_management": dir(mm), "folder_paths": dir(folder_paths), "io": dir(io), "ComfyExtension": dir(ComfyExtension),
}))
"""


def test_the_stub_keeps_to_comfyuis_contract(pack: Any) -> None:
    import dataclasses
    import inspect

    stub = pack.stub
    done = subprocess.run([PYTHON, "-c", _SIGNATURES], cwd=COMFYUI, capture_output=True, text=True)
    real = json.loads(done.stdout.split("RESULT")[1])
    assert {f.name for f in dataclasses.fields(stub.Schema)} <= set(real["Schema"])
    pairs = {
        "ProgressBar": stub.ProgressBar, "update": stub.ProgressBar.update, "update_absolute": stub.ProgressBar.update_absolute,
        "ModelPatcher": stub.ModelPatcher, "add_model_folder_path": stub.add_model_folder_path, "load_models_gpu": stub.load_models_gpu,
        "Input": stub._Input, "WidgetInput": stub._WidgetInput, "Output": stub._Output, "NodeOutput": stub.NodeOutput,
    }  # fmt: skip
    for name, stubbed in pairs.items():
        assert set(inspect.signature(stubbed).parameters) - {"rest"} <= set(real[name]), name
    for module, members in (("comfy.model_management", "model_management"), ("folder_paths", "folder_paths")):
        assert {n for n in vars(sys.modules[module]) if not n.startswith("__")} <= set(real[members])
    assert set(vars(sys.modules["comfy_api.latest"].io)) <= set(real["io"]) and "on_load" in real["ComfyExtension"]


def shown(server: Any, output: dict[str, Any], i: int = 0) -> np.ndarray:
    """A picture that a node showed."""
    query = urllib.parse.urlencode(output["images"][i])
    return np.asarray(Image.open(io.BytesIO(server.raw(f"/view?{query}"))).convert("RGB"))


def to_prompt(workflow: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """What the editor sends for a saved workflow without subgraphs."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] not in info:
            assert node["type"] == "MarkdownNote", f"{node['type']} is missing in a stock ComfyUI"
            continue
        spec = info[node["type"]]["input"]
        inputs: dict[str, Any] = {}
        values = list(node["widgets_values"])
        for name, (kind, *options) in {**spec.get("required", {}), **spec.get("optional", {})}.items():
            if isinstance(kind, list) or kind in ("COMBO", "INT", "FLOAT", "STRING", "BOOLEAN", "RAIHA_PICKS"):
                inputs[name] = values.pop(0)
                if options and options[0].get("control_after_generate"):
                    values.pop(0)  # what becomes of a seed after a run is the editor's business
        inputs |= {i["name"]: links[i["link"]] for i in node["inputs"] if i["link"] is not None}
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def test_served_definitions_are_those_the_browser_tests_use(server: Any) -> None:
    info, kept = server.get("/object_info"), json.loads((ROOT / "tests/web/object_info.json").read_text())
    for name in (n for n in kept if n.startswith("Raiha")):
        own = {k: v for k, v in info[name].items() if k != "python_module"}
        if name == "RaihaLoadReferenceIndex":  # this server has more galleries
            mine, theirs = (spec["input"]["required"]["source"][1] for spec in (own, kept[name]))
            assert set(mine["options"]) >= set(theirs["options"])
            mine["options"] = theirs["options"]
        assert own == {k: v for k, v in kept[name].items() if k != "python_module"}


def test_import_is_quick_and_silent(server: Any) -> None:
    lines = [line for line in server.log.splitlines() if "ComfyUI-Raiha.test" in line]
    assert len(lines) == 1 and "FAILED" not in lines[0], lines
    assert float(lines[0].split("seconds")[0].split()[-1]) < 2.0, lines


@pytest.mark.parametrize("file", sorted((ROOT / "example_workflows").glob("*.json")), ids=lambda p: p.stem)
def test_every_example_runs(server: Any, file: Path) -> None:
    prompt = to_prompt(json.loads(file.read_text()), server.get("/object_info"))
    if any(node["class_type"] == "CheckpointLoaderSimple" for node in prompt.values()):
        # There is no checkpoint here: everything else must be valid.
        with pytest.raises(urllib.error.HTTPError) as caught:
            server.post("/prompt", {"prompt": prompt})
        errors = [e for node in json.loads(caught.value.read())["node_errors"].values() for e in node["errors"]]
        assert [(e["type"], e["extra_info"]["input_name"]) for e in errors] == [("value_not_in_list", "ckpt_name")]
        return
    outputs = server.run(prompt)
    assert outputs and all(o for o in outputs.values())


def test_every_input_linked(server: Any) -> None:
    """Values that no widget would give reach the nodes over links; each is named in a sentence."""
    base = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "raiha_example_cup.jpg"}},
        "2": {"class_type": "LoadImageMask", "inputs": {"image": "raiha_example_cup_mask.png", "channel": "red"}},
        "3": {"class_type": "PrimitiveFloat", "inputs": {"value": 1000.0}},
    }
    inputs = {"image": ["1", 0], "mask": ["2", 0], "model": "raiha-s", "strength": ["3", 0], "smoothing": 4.0}
    inputs["video_mode"] = "video: one transform"
    harmonise = {"class_type": "RaihaHarmonizeComposite", "inputs": inputs}
    graph = {**base, "4": harmonise, "5": {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}}}
    entry = server.finish(graph)
    message = next(data for kind, data in entry["status"]["messages"] if kind == "execution_error")
    assert message["exception_message"].strip() == "strength is 1000; give a number from 0 to 2."


def test_the_first_example_gives_what_the_core_gives(server: Any) -> None:
    from raiha_core import harmonize
    from raiha_core.image import read_mask

    # As PNG, since ComfyUI decodes JPEG otherwise than Pillow does, and deeper than a preview shows.
    picture = Image.open(MEDIA / "raiha_example_cup.jpg")
    picture.save(server.base / "input" / "cup.png")
    workflow = json.loads((ROOT / "example_workflows" / "1 harmonize with one node.json").read_text())
    for node in workflow["nodes"]:
        if node["type"] == "LoadImage":
            node["widgets_values"][0] = "cup.png"
    outputs = server.run(to_prompt(workflow, server.get("/object_info")))
    pictures = {n["title"]: shown(server, outputs[str(n["id"])]) for n in workflow["nodes"] if n["type"] == "PreviewImage"}
    before, after = pictures["Before"], pictures["Harmonised"]
    mask = read_mask(MEDIA / "raiha_example_cup_mask.png")
    core = harmonize(np.asarray(picture), mask).image
    assert np.array_equal(before, picture)
    # ComfyUI's previews cut numbers off where the core rounds them.
    assert np.abs(after.astype(int) - core.astype(int)).max() <= 1
    assert np.array_equal(after[mask == 0], before[mask == 0]) and not np.array_equal(after, before)


def test_a_changed_gallery_runs_again_and_nothing_else(server: Any) -> None:
    gallery = server.base / "models/raiha/galleries/mine"
    shutil.copytree(ROOT / "raiha_core/demo_data/gallery", gallery)
    prompt = {
        "1": {"class_type": "RaihaLoadReferenceIndex", "inputs": {"source": "photos: mine", "encoder": "automatic", "update": True}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 1]}},
    }

    def cached() -> set[str]:
        messages = server.finish(prompt)["status"]["messages"]
        return set(next(data["nodes"] for kind, data in messages if kind == "execution_cached"))

    assert not cached()
    assert cached() == {"1", "2"}, "the node's own writing is no change"
    (gallery / "rocket.jpg").unlink()
    assert not cached()
    assert cached() == {"1", "2"}


def test_what_is_not_there_is_one_sentence(server: Any) -> None:
    inputs = {"source": "index: somebody's", "encoder": "automatic", "update": True}
    prompt = {
        "1": {"class_type": "RaihaLoadReferenceIndex", "inputs": inputs},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 1]}},
    }
    with pytest.raises(urllib.error.HTTPError) as caught:
        server.finish(prompt)
    errors = json.loads(caught.value.read())["node_errors"]["1"]["errors"]
    assert len(errors) == 1 and "is not there (any more); press R" in errors[0]["details"]


def test_thumbnails_and_nothing_else(server: Any) -> None:
    workflow = json.loads((ROOT / "example_workflows" / "2 with references and attention.json").read_text())
    outputs = server.run(to_prompt(workflow, server.get("/object_info")))
    photos = next(o["raiha_references"] for o in outputs.values() if "raiha_references" in o)
    photo = photos[0]
    assert server.raw(f"/raiha/thumbnail/{photo['index']}/{photo['id']}/small")[:2] == b"\xff\xd8"
    for path in (f"{photo['index']}/{'0' * 16}/small", f"{'0' * 12}/{photo['id']}/small", "..%2f..%2fetc/passwd/small"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            server.raw(f"/raiha/thumbnail/{path}")
        assert caught.value.code == 404


def test_frontend_gets_scripts_help_and_languages_once(server: Any) -> None:
    scripts = [s for s in server.get("/extensions") if "Raiha" in s]
    assert sorted(Path(s).name for s in scripts) == sorted(p.name for p in (ROOT / "web").glob("*.js"))
    folder = scripts[0].rsplit("/", 1)[0]
    assert b"# Harmonize Composite" in server.raw(f"{urllib.parse.quote(folder)}/docs/RaihaHarmonizeComposite/en.md")
    assert server.get("/i18n")["zh"]["nodeDefs"]["RaihaHarmonizeComposite"]["display_name"]
    assert len(next(v for k, v in server.get("/workflow_templates").items() if "Raiha" in k)) == len(
        list((ROOT / "example_workflows").glob("*.json"))
    )
