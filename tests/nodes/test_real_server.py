"""What was reported as faults, on a real ComfyUI: every one is tried over its API, and the server lives on. See test_contract.py."""

from __future__ import annotations

import os
import shutil
import threading
import time
import urllib.error
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
GALLERY = ROOT / "raiha_core" / "demo_data" / "gallery"
pytestmark = pytest.mark.skipif(not os.environ.get("COMFYUI_DIR"), reason="COMFYUI_DIR does not point to a ComfyUI")
IMAGE = {"class_type": "TestTensors", "inputs": {"shape": "1,48,64,3", "kind": "noise"}}
MASK = {"class_type": "TestTensors", "inputs": {"shape": "1,48,64", "kind": "spot"}}
FAMILIES = ["clip_vision_model", "siglip_vision_model", "siglip2_vision_model", "dinov2", "dinov3"]


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def tensors(shape: str, kind: str) -> dict[str, Any]:
    return {"class_type": "TestTensors", "inputs": {"shape": shape, "kind": kind}}


def said(server: Any, prompt: dict[str, Any]) -> str:
    """What a prompt says that fails."""
    entry = server.finish(prompt)
    errors = [data for kind, data in entry["status"]["messages"] if kind == "execution_error"]
    assert errors, entry["status"]
    assert errors[0]["exception_type"].endswith("RaihaError"), errors[0]
    return str(errors[0]["exception_message"]).strip()


def photos(server: Any, name: str, count: int = 3) -> Path:
    """A gallery of a few photos, small ones so that indexing takes no time."""
    folder = Path(server.base / "models/raiha/galleries" / name)
    folder.mkdir(parents=True)
    for photo in sorted(GALLERY.glob("*.jpg"))[:count]:
        with Image.open(photo) as image:
            image.resize((96, 96)).save(folder / f"{photo.stem}.png")
    return folder


def index(name: str, **more: Any) -> dict[str, Any]:
    return node("RaihaLoadReferenceIndex", source=f"photos: {name}", encoder="automatic", update=True, **more)


def info(server: Any, load: dict[str, Any]) -> str:
    """What Load Reference Index says of its index."""
    outputs = server.run({"1": load, "2": node("PreviewAny", source=["1", 1])})
    return str(outputs["2"]["text"][0]) if "2" in outputs else "cached"


def retrieve(index: str = "3", image: str = "1", mask: str = "2", **more: Any) -> dict[str, Any]:
    inputs = {
        "index": [index, 0],
        "image": [image, 0],
        "mask": [mask, 0],
        "top_k": 8,
        "weight": 0.5,
        "minimum_score": 0.0,
        "minimum_light": 0.0,
        "picks": "{}",
    }
    return node("RaihaRetrieveReferences", **{**inputs, **more})


def harmonise(**more: Any) -> dict[str, Any]:
    inputs = {"image": ["1", 0], "mask": ["2", 0], "model": "raiha-s", "strength": 1.0, "video_mode": "each image on its own"}
    return node("RaihaHarmonizeComposite", **{**inputs, "smoothing": 4.0, **more})


def test_every_input_of_every_node_linked_to_rubbish(server: Any) -> None:
    """Over links come values that no widget would give; ComfyUI lets them through to the nodes."""
    served = {name: spec for name, spec in server.get("/object_info").items() if name.startswith("Raiha")}
    made = {"IMAGE": "i", "MASK": "m", "RAIHA_INDEX": "x", "RAIHA_REFERENCES": "r", "RAIHA_ATTENTION": "a"}
    photos(server, "rubbish")
    base = {
        "i": IMAGE, "m": MASK, "x": index("rubbish"), "r": retrieve("x", "i", "m"),
        "a": harmonise(image=["i", 0], mask=["m", 0]),
        "text": node("TestValue", text='"rubbish"'), "list": node("TestValue", text="[1, []]"),
    }  # fmt: skip
    tried = 0
    for kind, spec in served.items():
        required = spec["input"]["required"]
        optional = spec["input"].get("optional", {})
        for name, (of, *_) in {**required, **optional}.items():
            if of == "RAIHA_PICKS":
                continue
            inputs: dict[str, Any] = {}
            for other, (type_, *options) in required.items():
                default = options[0].get("default") if options else None
                inputs[other] = [made[type_], 1 if type_ == "RAIHA_ATTENTION" else 0] if type_ in made else default
            shown = next((i for i, o in enumerate(spec["output"]) if o == "IMAGE"), None)
            end = node("PreviewAny", source=["n", 1 if shown is None else shown])
            for bad in ("text", "list", "m" if of == "IMAGE" else "i"):
                inputs[name] = [bad, 0]
                message = said(server, {**base, "n": node(kind, **inputs), "end": end})
                wanted = f"{name} " if of != "CLIP_VISION" else "takes what Load CLIP Vision gives"
                assert (wanted in message or "rubbish" in message) and "\n" not in message and len(message) < 300, (kind, name, message)
                tried += 1
    assert tried > 120


def test_an_index_deleted_while_the_server_runs(server: Any) -> None:
    folder = photos(server, "deleted", 2)
    assert info(server, index("deleted")).startswith("2 photos")
    shutil.rmtree(server.base / "models/raiha/indexes/deleted")
    with Image.open(GALLERY / "rocket.jpg") as image:  # one that shows something: others are no references
        image.resize((96, 96)).save(folder / "new.png")
    assert info(server, index("deleted")).startswith("3 photos")
    search = {"1": IMAGE, "2": MASK, "3": index("deleted"), "4": retrieve()}
    found = server.run(search)["4"]["raiha_references"]
    assert {p["name"] for p in found} >= {"new.png"}


def test_update_off_finds_nothing_new_and_runs_nothing_again(server: Any) -> None:
    folder = photos(server, "off", 2)
    load = index("off")
    load["inputs"]["update"] = False
    assert info(server, load).startswith("2 photos")
    Image.new("RGB", (96, 96), "teal").save(folder / "new.png")
    prompt = {"1": load, "2": node("PreviewAny", source=["1", 1])}
    messages = server.finish(prompt)["status"]["messages"]
    assert set(next(data["nodes"] for kind, data in messages if kind == "execution_cached")) == {"1", "2"}
    load["inputs"]["rebuild"] = True
    assert info(server, load).startswith("3 photos")


def test_a_damaged_index_is_mended_without_a_command_line(server: Any) -> None:
    photos(server, "damaged", 2)
    assert info(server, index("damaged")).startswith("2 photos")
    (server.base / "models/raiha/indexes/damaged/manifest.json").write_text("{}")
    mended = info(server, index("damaged"))
    assert "The index was damaged" in mended and "2 photos" in mended and "raiha " not in mended


def test_nothing_found_is_a_picture_that_other_nodes_take(server: Any) -> None:
    photos(server, "nothing", 2)
    prompt = {"1": IMAGE, "2": MASK, "3": index("nothing"), "4": retrieve(minimum_score=1.0)}
    prompt |= {"5": node("PreviewImage", images=["4", 1]), "6": harmonise(references=["4", 0], reference_images=["4", 1])}
    outputs = server.run({**prompt, "7": node("PreviewImage", images=["6", 0])})
    assert len(outputs["5"]["images"]) == 1 and len(outputs["7"]["images"]) == 1
    assert "No photo fits" in outputs["4"]["raiha_notices"][0]


MASKS = [
    ("1,30,40", "spot", "The mask is 40 x 30 but the image is 64 x 48; scale one of them"),
    ("1,40,30", "spot", "The mask is 30 x 40 but the image is 64 x 48; it belongs to another picture"),
    ("1,48,64", "nan", "The mask holds NaN"),
    ("1,48,64", "black", "The mask is empty"),
    ("1,48,64", "white", "is it inverted?"),
    ("9,48,64", "spot", "There are 9 masks for 8 images"),
    ("8,48,64", "fills later", "The mask of frame 7 covers the whole image"),
    ("8,48,64,2", "spot", "has the shape 8 x 48 x 64 x 2"),
]


@pytest.mark.parametrize(("shape", "kind", "sentence"), MASKS)
def test_masks_with_no_meaning_are_named(server: Any, shape: str, kind: str, sentence: str) -> None:
    images = tensors("8,48,64,3" if shape[0] != "1" else "1,48,64,3", "noise")
    assert sentence in said(server, {"1": images, "2": tensors(shape, kind), "3": harmonise(), "4": node("PreviewImage", images=["3", 0])})


@pytest.mark.parametrize(
    ("shape", "kind", "more"),
    [
        ("3,48,64", "spot", {}),
        ("8,1,48,64", "spot", {}),
        ("1,30,40", "spot", {"mask_size": "scale to the image"}),
        ("8,48,64", "fills later", {"video_mode": "video: one transform"}),
    ],
)
def test_masks_with_one_meaning_are_taken(server: Any, shape: str, kind: str, more: dict[str, Any]) -> None:
    prompt = {"1": tensors("8,48,64,3", "noise"), "2": tensors(shape, kind), "3": harmonise(**more)}
    assert len(server.run({**prompt, "4": node("PreviewImage", images=["3", 0])})["4"]["images"]) == 8


@pytest.mark.parametrize("family", FAMILIES)
def test_real_vision_models(server: Any, family: str) -> None:
    """The families that Load CLIP Vision knows, in small: one vector for a picture, whatever shape theirs has."""
    if not (server.base / "models/raiha/galleries/vision").is_dir():
        photos(server, "vision")
    load = index("vision", clip_vision=["9", 0])
    prompt = {"1": IMAGE, "2": MASK, "3": load, "4": retrieve(top_k=2), "5": node("PreviewAny", source=["3", 1])}
    outputs = server.run({**prompt, "9": node("TestVision", family=family)})
    assert len(outputs["4"]["raiha_references"]) == 2
    assert f"encoder clip_vision:{family}:" in outputs["5"]["text"][0], "the index remembers which"
    [folder] = [p for p in (server.base / "models/raiha/indexes").glob("vision-*") if family in (p / "manifest.json").read_text()]
    assert '"dim": 32' in (folder / "manifest.json").read_text() or '"dim": 64' in (folder / "manifest.json").read_text()


def test_galleries_of_extra_model_paths(server: Any) -> None:
    """Folders that `extra_model_paths.yaml` names, and galleries in galleries."""
    options = server.get("/object_info/RaihaLoadReferenceIndex")["RaihaLoadReferenceIndex"]["input"]["required"]["source"]
    names = options[1]["options"] if len(options) > 1 and "options" in options[1] else options[0]
    assert {"photos: travel", "photos: travel/2019"} <= set(names)
    load = index("travel/2019")
    assert info(server, load).startswith("2 photos")


def test_thumbnails_while_a_changed_index_is_brought_up_to_date(server: Any) -> None:
    """A server died of this, of a segmentation fault."""
    folder = photos(server, "busy", 2)
    search = {"1": IMAGE, "2": MASK, "3": index("busy"), "4": retrieve()}
    shown = server.run(search)["4"]["raiha_references"]
    stop, answers = threading.Event(), []

    def fetch() -> None:
        while not stop.is_set():
            for photo in shown:
                try:
                    answers.append(server.raw(f"/raiha/thumbnail/{photo['index']}/{photo['id']}/small")[:2] == b"\xff\xd8")
                except urllib.error.HTTPError as error:
                    answers.append(error.code == 404)
            time.sleep(0.01)

    fetching = [threading.Thread(target=fetch) for _ in range(3)]
    for thread in fetching:
        thread.start()
    try:
        for i in range(4):
            Image.new("RGB", (96, 96), (40 * i, 90, 20)).save(folder / f"{i}.png")
            assert len(server.run(search)["4"]["raiha_references"]) >= 2
    finally:
        stop.set()
        for thread in fetching:
            thread.join()
    assert answers and all(answers)
    assert server.get("/system_stats"), "and it is still there"


def test_a_gallery_from_a_batch_of_images(server: Any) -> None:
    load = node("RaihaLoadReferenceIndex", source="photos: example photos", encoder="automatic", update=True, images=["1", 0])
    outputs = server.run({"1": tensors("3,48,64,3", "noise"), "2": load, "3": node("PreviewAny", source=["2", 1])})
    assert outputs["3"]["text"][0].startswith("3 photos")
