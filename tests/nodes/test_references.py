from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

Batch = tuple[torch.Tensor, torch.Tensor]
EXAMPLE = "photos: example photos"


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
    pack.LoadReferenceIndex.execute("photos: drive")
    for photo in gallery.iterdir():
        photo.unlink()
    with pytest.raises(pack.error, match="allow empty"):
        pack.LoadReferenceIndex.execute("photos: drive")
    assert len(pack.LoadReferenceIndex.execute("photos: drive", update=False).args[0].index) == 6
    with pytest.raises(pack.error, match="no readable photos"):
        pack.LoadReferenceIndex.execute("photos: drive", allow_empty=True)


def test_a_cancelled_build_goes_on_where_it_stopped(pack: SimpleNamespace) -> None:
    gallery = pack.base / "models/raiha/galleries/cancelled"
    shutil.copytree(pack.module("nodes.folders").gallery_path(EXAMPLE), gallery)
    pack.state.interrupted = True
    with pytest.raises(pack.stub.InterruptProcessingException):
        pack.LoadReferenceIndex.execute("photos: cancelled")
    assert pack.LoadReferenceIndex.execute("photos: cancelled").args[1].startswith("6 photos")


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
    assert len(none.args[1]) == 0 and none.ui["raiha_notices"]
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
