from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

Batch = tuple[torch.Tensor, torch.Tensor]
EXAMPLE = "photos: example photos"
ALL = f"{len(list((Path(__file__).parents[2] / 'raiha_core/demo_data/gallery').glob('*.jpg')))} photos"


@pytest.fixture(scope="module")
def index(pack: SimpleNamespace) -> object:
    return pack.LoadReferenceIndex.execute(EXAMPLE).args[0]


def fingerprint(pack: SimpleNamespace, source: str = EXAMPLE, update: bool = True) -> str:
    return str(pack.LoadReferenceIndex.fingerprint_inputs(source, "automatic", update))


def test_a_changed_gallery_runs_again_and_nothing_else(pack: SimpleNamespace) -> None:
    gallery = pack.base / "models/raiha/galleries/mine"
    shutil.copytree(pack.module("nodes.folders").gallery_path(EXAMPLE), gallery)
    source = "photos: mine"
    assert source in pack.module("nodes.folders").sources()
    before = fingerprint(pack, source)
    info = pack.LoadReferenceIndex.execute(source).args[1]
    assert fingerprint(pack, source) == before, "the node's own writing is no change"
    photo = next(gallery.glob("*.jpg"))
    (gallery / "broken.jpg").write_bytes(b"no picture")
    photo.unlink()
    changed = fingerprint(pack, source)
    assert changed != before
    assert fingerprint(pack, source, update=False) == fingerprint(pack, source, update=False) != changed
    after = pack.LoadReferenceIndex.execute(source).args[1]
    assert int(after.split()[0]) == int(info.split()[0]) - 1 and "broken.jpg" in after
    assert fingerprint(pack, source) == changed
    assert "index: mine" in pack.module("nodes.folders").sources()
    assert len(pack.LoadReferenceIndex.execute("index: mine", update=False).args[0].index) == int(after.split()[0])


def test_update_switched_off_is_kept_to_by_the_server_that_built_the_index(pack: SimpleNamespace) -> None:
    gallery = pack.base / "models/raiha/galleries/still"
    shutil.copytree(pack.module("nodes.folders").gallery_path(EXAMPLE), gallery)
    first = pack.LoadReferenceIndex.execute("photos: still", update=False).args[1]
    next(gallery.glob("*.jpg")).unlink()
    again = pack.LoadReferenceIndex.execute("photos: still", update=False).args[1]
    assert int(again.split()[0]) == int(first.split()[0])
    assert int(pack.LoadReferenceIndex.execute("photos: still").args[1].split()[0]) == int(first.split()[0]) - 1


def test_an_emptied_gallery_is_asked_about(pack: SimpleNamespace) -> None:
    gallery = pack.base / "models/raiha/galleries/drive"
    shutil.copytree(pack.module("nodes.folders").gallery_path(EXAMPLE), gallery)
    count = len(pack.LoadReferenceIndex.execute("photos: drive").args[0].index)
    for photo in gallery.iterdir():
        photo.unlink()
    with pytest.raises(pack.error, match="switch allow_empty on in Load Reference Index"):
        pack.LoadReferenceIndex.execute("photos: drive")
    assert len(pack.LoadReferenceIndex.execute("photos: drive", update=False).args[0].index) == count
    with pytest.raises(pack.error, match="no readable photos"):
        pack.LoadReferenceIndex.execute("photos: drive", allow_empty=True)


def test_a_cancelled_build_goes_on_where_it_stopped(pack: SimpleNamespace) -> None:
    gallery = pack.base / "models/raiha/galleries/cancelled"
    shutil.copytree(pack.module("nodes.folders").gallery_path(EXAMPLE), gallery)
    pack.state.interrupted = True
    with pytest.raises(pack.stub.InterruptProcessingException):
        pack.LoadReferenceIndex.execute("photos: cancelled")
    assert pack.LoadReferenceIndex.execute("photos: cancelled").args[1].startswith(ALL)


def test_an_outside_write_to_a_finished_index_runs_again(pack: SimpleNamespace, index: object) -> None:
    source = "index: example photos"
    before = fingerprint(pack, source)
    index.index.remove(index.index.retrieve(torch.rand(1, 3, 64, 64), _spot(), 1)[0].id)  # type: ignore[attr-defined]
    assert fingerprint(pack, source) != before
    pack.module("raiha_core.references").ReferenceIndex.build(
        pack.module("nodes.folders").gallery_path(EXAMPLE), pack.module("nodes.folders").index_path(EXAMPLE, "embedded"), rebuild=True
    ).close()
    index.index.refresh()  # type: ignore[attr-defined]


def _spot() -> torch.Tensor:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 20:40, 20:40] = 1
    return mask


@pytest.mark.parametrize(
    "source", ["photos: ../..", "photos: /etc", "index: ../raiha", "index: C:/x", "photos: nothing", "rubbish", "index: ."]
)
def test_nothing_outside_the_registered_folders(pack: SimpleNamespace, source: str) -> None:
    assert isinstance(pack.LoadReferenceIndex.validate_inputs(source), str)
    with pytest.raises(pack.error):
        pack.LoadReferenceIndex.execute(source)


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "none.pth"])
def test_no_model_from_elsewhere(pack: SimpleNamespace, batch: Batch, name: str) -> None:
    with pytest.raises(pack.error):
        pack.HarmonizeComposite.execute(*batch, model=name)


def test_valid_inputs_are_valid(pack: SimpleNamespace) -> None:
    assert pack.LoadReferenceIndex.validate_inputs(EXAMPLE) is True
    assert pack.RetrieveReferences.validate_inputs("{}") is True
    assert "Clear" in pack.RetrieveReferences.validate_inputs('{"pinned": ["../x"]}')
    assert "Clear" in pack.RetrieveReferences.validate_inputs("[1")


def test_retrieve_pins_and_excludes(pack: SimpleNamespace, batch: Batch, index: object) -> None:
    out = pack.RetrieveReferences.execute(index, *batch, top_k=3)
    shown = out.ui["raiha_references"]
    assert len(shown) == len(out.args[0].references) == len(out.args[1]) == 3 and out.args[1].shape[1:] == (768, 768, 3)
    assert all(0 <= p["content"] <= 1 and 0 <= p["illumination"] <= 1 and p["name"] for p in shown)
    last, first = shown[2]["id"], shown[0]["id"]
    picked = pack.RetrieveReferences.execute(index, *batch, top_k=3, picks=json.dumps({"pinned": [last], "excluded": [first]}))
    ids = [p["id"] for p in picked.ui["raiha_references"]]
    assert ids[0] == last and first not in ids
    strict = pack.RetrieveReferences.execute(index, *batch, minimum_score=1.0, picks=json.dumps({"pinned": [last]}))
    assert [p["id"] for p in strict.ui["raiha_references"]] == [last], "pinned photos stay whatever their score"
    none = pack.RetrieveReferences.execute(index, *batch, minimum_score=1.0)
    assert none.args[1].shape == (1, 768, 768, 3) and len(none.ui["raiha_notices"]) == 1, "a picture that Preview Image can take"
    guided = pack.HarmonizeComposite.execute(batch[0][:1], batch[1], references=out.args[0])
    assert not torch.equal(guided.args[0], pack.HarmonizeComposite.execute(batch[0][:1], batch[1]).args[0])
    assert torch.equal(
        pack.HarmonizeComposite.execute(batch[0][:1], batch[1], references=none.args[0], reference_images=none.args[1]).args[0],
        pack.HarmonizeComposite.execute(batch[0][:1], batch[1]).args[0],
    )


def test_a_missing_package_is_named(pack: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = pack.base / "models/raiha/galleries/unindexed"
    shutil.copytree(pack.module("nodes.folders").gallery_path(EXAMPLE), gallery)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(pack.error, match="package faiss, which is not installed"):
        pack.LoadReferenceIndex.execute("photos: unindexed")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"top_k": 0}, "top_k is 0; give a number from 1 to 16"),
        ({"weight": 7}, "weight is 7"),
        ({"minimum_score": "x"}, "minimum_score is 'x'"),
    ],
)
def test_linked_values_are_checked(pack: SimpleNamespace, batch: Batch, index: object, values: dict[str, object], says: str) -> None:
    with pytest.raises(pack.error, match=says):
        pack.RetrieveReferences.execute(index, *batch, **values)


def test_a_linked_source_is_checked_when_it_is_known(pack: SimpleNamespace) -> None:
    node = pack.LoadReferenceIndex
    assert node.validate_inputs(None) is True, "ComfyUI gives None for what is linked"
    assert fingerprint(pack, None) == fingerprint(pack, None)  # type: ignore[arg-type]
    assert node.execute(EXAMPLE).args[1].startswith(ALL)
    with pytest.raises(pack.error, match="source is None; choose one from the list"):
        node.execute(None)
    with pytest.raises(pack.error, match="neither a gallery nor an index"):
        node.execute("rubbish")
    with pytest.raises(pack.error, match="encoder is 'x'; choose one of"):
        node.execute(EXAMPLE, "x")


def _copied(pack: SimpleNamespace, name: str) -> tuple[str, Path]:
    """A gallery of the examples under another name: its source and the folder of its index."""
    shutil.copytree(pack.module("nodes.folders").gallery_path(EXAMPLE), pack.base / "models/raiha/galleries" / name)
    source = f"photos: {name}"
    return source, pack.module("nodes.folders").index_path(source, "embedded")


def test_a_damaged_index_is_mended_and_it_is_said(pack: SimpleNamespace) -> None:
    source, folder = _copied(pack, "damaged")
    pack.LoadReferenceIndex.execute(source)
    (folder / pack.module("raiha_core.references.manifest").NAME).write_text("{")
    lines = pack.LoadReferenceIndex.execute(source).args[1].splitlines()
    assert lines[0].startswith("The index was damaged") and lines[1].startswith(ALL)
    assert len(pack.LoadReferenceIndex.execute(source).args[1].splitlines()) == 1, "and is sound again"


def test_an_index_beyond_repair_is_made_anew(pack: SimpleNamespace) -> None:
    source, folder = _copied(pack, "ruined")
    pack.LoadReferenceIndex.execute(source)
    pack.module("nodes.indexes")._open.clear()
    for file in folder.glob("catalogue*"):
        file.write_bytes(b"x" * 4096)
    lines = pack.LoadReferenceIndex.execute(source).args[1].splitlines()
    assert "made anew" in lines[0] and lines[1].startswith(ALL)


def test_rebuild(pack: SimpleNamespace) -> None:
    source, folder = _copied(pack, "again")
    first = pack.LoadReferenceIndex.execute(source).args[1]
    before = {p.name for p in folder.iterdir()}
    assert pack.LoadReferenceIndex.execute(source, rebuild=True).args[1].split(",")[0] == first.split(",")[0]
    assert before and pack.LoadReferenceIndex.execute("index: again", update=False).args[1].startswith(ALL)
    with pytest.raises(pack.error, match="its photos are not here"):
        pack.LoadReferenceIndex.execute("index: again", rebuild=True)


def test_sub_galleries_and_folders_that_hold_photos_themselves(pack: SimpleNamespace, tmp_path: Path) -> None:
    folders = pack.module("nodes.folders")
    nested = pack.base / "models/raiha/galleries/travel/2019/summer"
    shutil.copytree(folders.gallery_path(EXAMPLE), nested)
    own = tmp_path / "my photos"
    shutil.copytree(folders.gallery_path(EXAMPLE), own)
    (nested / "round").symlink_to(nested.parents[1])  # in a circle
    pack.state.folders["raiha_galleries"].append(str(own))
    try:
        sources = folders.sources()
        assert {"photos: travel", "photos: travel/2019/summer", "photos: my photos"} <= set(sources)
        assert not any("round" in s for s in sources) and "photos: travel/2019" not in sources
        assert "--" not in pack.LoadReferenceIndex.execute("photos: travel/2019/summer").args[1], "what is left out, without a command"
        for source in ("photos: travel/2019/summer", "photos: my photos"):
            assert pack.LoadReferenceIndex.validate_inputs(source) is True
            assert pack.LoadReferenceIndex.execute(source).args[1].startswith(ALL)
            key = folders.index_key(folders.index_path(source, "embedded"))
            assert folders.index_of_key(key), "its thumbnails can be served"
    finally:
        pack.state.folders["raiha_galleries"].pop()


def test_a_gallery_from_a_batch_of_images(pack: SimpleNamespace, batch: Batch) -> None:
    from PIL import Image

    files = sorted(pack.module("nodes.folders").gallery_path(EXAMPLE).glob("*.jpg"))
    photos = torch.stack([torch.from_numpy(np.asarray(Image.open(f).convert("RGB").resize((160, 120)), np.float32) / 255) for f in files])
    handle, info = pack.LoadReferenceIndex.execute(EXAMPLE, images=photos[:4]).args
    assert info.startswith("4 photos")
    found = pack.RetrieveReferences.execute(handle, *batch, top_k=2)
    shown = found.ui["raiha_references"]
    assert len(shown) == 2 and all(p["name"].startswith("image ") for p in shown)
    assert _get(pack, shown[0]["index"], shown[0]["id"], "small").status == 200
    again = pack.LoadReferenceIndex.execute(EXAMPLE, images=photos[:4]).args[0]
    assert again.key == handle.key != pack.LoadReferenceIndex.execute(EXAMPLE, images=photos[:3]).args[0].key
    with pytest.raises(pack.error, match="batch of images is empty"):
        pack.LoadReferenceIndex.execute(EXAMPLE, images=photos[:0])


def test_pictures_that_are_none_make_no_gallery(pack: SimpleNamespace) -> None:
    with pytest.raises(pack.error, match="NaN or infinite"):
        pack.LoadReferenceIndex.execute(EXAMPLE, images=torch.full((1, 8, 8, 3), float("nan")))
    assert pack.LoadReferenceIndex.execute(EXAMPLE, images=torch.rand(1, 8, 8, 1)).args[1].startswith("1 photos")


class Vision:
    """As ComfyUI's `ClipVisionModel`: mean colours of sixteen places, and a token for each after one for all."""

    model_type = "toy"

    def __init__(self, gain: float = 1.0):
        self.weight = torch.eye(3) * gain

    def get_sd(self) -> dict[str, torch.Tensor]:
        return {"weight": self.weight}

    def encode_image(self, image: torch.Tensor, crop: bool = True) -> dict[str, torch.Tensor]:
        assert not crop
        small = torch.nn.functional.adaptive_avg_pool2d(image.permute(0, 3, 1, 2), 4).flatten(2).mT @ self.weight
        return {"image_embeds": small.flatten(1) + 0.1, "last_hidden_state": torch.cat([small.mean(1, keepdim=True), small], 1)}


def test_a_vision_model_in_place_of_an_encoder(pack: SimpleNamespace, batch: Batch) -> None:
    handle, info = pack.LoadReferenceIndex.execute(EXAMPLE, clip_vision=Vision()).args
    assert info.startswith(ALL) and "encoder clip_vision:toy:" in info, "the index remembers which"
    assert len(pack.RetrieveReferences.execute(handle, *batch, top_k=2).ui["raiha_references"]) == 2
    again = pack.LoadReferenceIndex.execute(EXAMPLE, clip_vision=Vision()).args[0]
    assert again.key == handle.key != pack.LoadReferenceIndex.execute(EXAMPLE, clip_vision=Vision(2.0)).args[0].key
    name = pack.module("nodes.folders").index_path(EXAMPLE, handle.index.encoder_info.id).name
    with pytest.raises(pack.error, match="made with the encoder"):
        pack.LoadReferenceIndex.execute(f"index: {name}", clip_vision=Vision(3.0))
    with pytest.raises(pack.error, match=r"not with embedded: in Load Reference Index set the encoder to automatic"):
        pack.LoadReferenceIndex.execute(f"index: {name}", encoder="embedded")
    with pytest.raises(pack.error, match="Load CLIP Vision"):
        pack.LoadReferenceIndex.execute(EXAMPLE, clip_vision="a model")


def _get(pack: SimpleNamespace, key: str, photo: str, size: str) -> web.Response:
    answer = pack.module("nodes.thumbnails").answer
    return asyncio.run(answer(make_mocked_request("GET", "/", match_info={"index": key, "photo": photo, "size": size})))


def test_thumbnails_of_catalogued_photos_only(pack: SimpleNamespace, batch: Batch, index: object) -> None:
    photo = pack.RetrieveReferences.execute(index, *batch, top_k=1).ui["raiha_references"][0]
    pack.module("nodes.indexes")._open.clear()  # as after a restart
    response = _get(pack, photo["index"], photo["id"], "small")
    assert response.status == 200 and response.body[:2] == b"\xff\xd8" and "immutable" in response.headers["Cache-Control"]
    assert len(_get(pack, photo["index"], photo["id"], "large").body) > len(response.body)
    bad = [("0" * 12, photo["id"]), (photo["index"], "0" * 16), ("../../../etc", "passwd"), (photo["index"], photo["name"])]
    for key, name in bad:
        with pytest.raises(web.HTTPNotFound):
            _get(pack, key, name, "small")
    with pytest.raises(web.HTTPNotFound):
        _get(pack, photo["index"], photo["id"], "huge")


def test_thumbnails_of_what_was_replaced_or_taken_out_are_gone(pack: SimpleNamespace, batch: Batch) -> None:
    gallery = pack.base / "models/raiha/galleries/changing"
    shutil.copytree(pack.module("nodes.folders").gallery_path(EXAMPLE), gallery)
    index = pack.LoadReferenceIndex.execute("photos: changing").args[0]
    taken, replaced = pack.RetrieveReferences.execute(index, *batch, top_k=2).ui["raiha_references"]
    for photo in (taken, replaced):
        assert _get(pack, photo["index"], photo["id"], "small").status == 200
    shutil.copy(gallery / taken["name"], gallery / replaced["name"])
    (gallery / taken["name"]).unlink()
    with pytest.raises(web.HTTPNotFound):
        _get(pack, replaced["index"], replaced["id"], "small")
    pack.module("raiha_core.references").ReferenceIndex.build(gallery, index.index.directory, allow_empty=True).close()
    assert _get(pack, taken["index"], taken["id"], "small").status == 200, "it lies there under the other name"
    (gallery / replaced["name"]).unlink()
    pack.module("raiha_core.references").ReferenceIndex.build(gallery, index.index.directory, allow_empty=True).close()
    with pytest.raises(web.HTTPNotFound):
        _get(pack, taken["index"], taken["id"], "small")


def test_example_pictures_are_provided_and_never_replaced(pack: SimpleNamespace) -> None:
    folder: Path = pack.base / "input"
    names = {p.name for p in folder.iterdir()}
    assert "raiha_example_cup.jpg" in names and not any(n.endswith(".part") for n in names)
    (folder / "raiha_example_cup.jpg").write_bytes(b"the user's own")
    pack.module("nodes.examples").provide()
    assert (folder / "raiha_example_cup.jpg").read_bytes() == b"the user's own"
