"""`raiha index` and `raiha retrieve`, with the encoder that ships."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raiha_core.cli import main


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    """Six bundled photos of scikit-image, a composite and a mask of it, and the built index `i`."""
    data = pytest.importorskip("skimage.data")
    folder = tmp_path_factory.mktemp("cli")
    (folder / "photos").mkdir()
    for name in ("astronaut", "chelsea", "coffee", "rocket", "retina", "immunohistochemistry"):
        Image.fromarray(getattr(data, name)()).resize((160, 120)).save(folder / "photos" / f"{name}.png")
    cat = Image.fromarray(data.chelsea()).crop((60, 20, 360, 260)).resize((150, 120)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    composite = Image.open(folder / "photos" / "rocket.png").copy()
    composite.paste(cat, (5, 0))
    composite.save(folder / "composite.png")
    mask = np.zeros((120, 160), np.uint8)
    mask[5:115, 15:145] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    assert main(["index", "build", str(folder / "i"), str(folder / "photos")]) == 0
    return folder


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_build_add_remove_info_verify(capsys, scene, tmp_path):
    index = tmp_path / "i"
    status, out, _ = run(capsys, "index", "build", index, scene / "photos", "--json")
    facts = json.loads(out)
    assert status == 0 and facts["images"] == 6 and facts["encoder"]["id"] == "embedded" and facts["failures"] == []
    status, out, _ = run(capsys, "index", "build", index)
    assert status == 0 and out.startswith("6 photos, 90 regions")
    photo = scene / "photos" / "coffee.png"
    assert run(capsys, "index", "remove", index, photo)[:2] == (0, "took 1 files out; 5 photos remain\n")
    assert json.loads(run(capsys, "index", "add", index, photo, "--json")[1])["images"] == 6
    assert "encoder: embedded" in run(capsys, "index", "info", index)[1]
    assert run(capsys, "index", "verify", index, "--files")[:2] == (0, "the index is sound\n")
    (index / "manifest.json").write_text("{}")
    assert run(capsys, "index", "verify", index)[0] == 2
    status, out, err = run(capsys, "index", "info", index)
    assert (status, out) == (2, "") and err.count("\n") == 1
    status, out, _ = run(capsys, "index", "verify", index, "--repair", "--json")
    assert status == 0 and json.loads(out)["sound"] and json.loads(out)["repaired"]


def test_retrieve_finds_the_cat(capsys, scene, tmp_path):
    sheet = tmp_path / "sheet.png"
    status, out, _ = run(
        capsys, "retrieve", scene / "composite.png", scene / "mask.png", "--index", scene / "i", "--top-k", 3, "--sheet", sheet, "--json"
    )
    found = json.loads(out)
    assert status == 0 and found["notices"] == []
    assert Path(found["references"][0]["path"]).stem == "chelsea"
    assert len(found["references"]) == 3
    assert all(0 <= r["content"] <= 1 and 0 <= r["illumination"] <= 1 and len(r["id"]) == 16 for r in found["references"])
    assert Image.open(sheet).size[0] > 1000
    cat = found["references"][0]["id"]
    arguments = ["retrieve", scene / "composite.png", scene / "mask.png", "--index", scene / "i", "--top-k", 2]
    _, out, _ = run(capsys, *arguments, "--exclude", cat, "--pin", scene / "photos" / "coffee.png", "--pin", "nothing", "--json")
    rows = json.loads(out)
    assert Path(rows["references"][0]["path"]).stem == "coffee" and rows["references"][0]["pinned"]
    assert cat not in [r["id"] for r in rows["references"]] and "nothing" in rows["notices"][0]
    status, out, err = run(capsys, *arguments, "--exclude", "elsewhere", "--pin", cat)
    assert status == 0 and err.count("elsewhere") == 1 and out.splitlines()[0].endswith("(pinned)")
    status, out, err = run(capsys, *arguments, "--min-content", 1)
    assert (status, out) == (0, "") and "no photo fits" in err
    status, out, _ = run(capsys, *arguments)
    assert status == 0 and out.count("\n") == 2 and "content" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["retrieve", "composite.png", "mask.png", "--index", "nowhere"], "no reference index"),
        (["retrieve", "nothing.png", "mask.png", "--index", "i"], "nothing.png"),
        (["retrieve", "composite.png", "mask.png", "--index", "i", "--sheet", "sheet.pdf"], "contact sheet as .pdf"),
        (["retrieve", "composite.png", "mask.png", "--index", "i", "--weight", "2"], "between 0 and 1"),
        (["retrieve", "composite.png", "mask.png"], "--index"),
        (["index", "build", "new", "nowhere"], "no gallery folder"),
        (["index", "build", "i", "photos", "--encoder", "open_clip:ViT-B-32/openai"], "embedded"),
        (["index", "build", "new", "photos", "--store", "pinecone"], "unknown vector store"),
        (["index", "build", "new", "--rebuild"], "name its folder"),
        (["index", "add", "i", "mask.png"], "add its folder"),
        (["index", "remove", "i", "nothing.png"], "not in the index"),
        (["index", "verify", "nowhere"], "no reference index"),
    ],
)
def test_mistakes_end_in_one_line_and_status_2(capsys, scene, monkeypatch, arguments, words):
    monkeypatch.chdir(scene)
    status, out, err = run(capsys, *arguments)
    assert status == 2 and out == "" and words in err
    assert err.count("\n") == 1 and not (scene / "new").exists()


def test_colours_under_full_transparency_say_nothing(capsys, scene, tmp_path):
    """Two cut-outs that look the same, whatever lies where nothing is seen, find the same photos."""
    array = np.asarray(Image.open(scene / "composite.png").convert("RGB"))
    alpha = np.full(array.shape[:2], 255, np.uint8)
    alpha[:60, 100:] = 0
    found = []
    for name, colour in (("red", (255, 0, 0)), ("black", (0, 0, 0))):
        painted = array.copy()
        painted[alpha == 0] = colour
        Image.fromarray(np.dstack([painted, alpha])).save(tmp_path / f"{name}.png")
        status, out, _ = run(capsys, "retrieve", tmp_path / f"{name}.png", scene / "mask.png", "--index", scene / "i", "--json")
        assert status == 0
        found.append([(r["id"], r["content"], r["illumination"]) for r in json.loads(out)["references"]])
    assert found[0] == found[1]


def test_what_was_found_in_reading_is_said(capsys, scene, tmp_path):
    mask = np.asarray(Image.open(scene / "mask.png")) // 3
    Image.fromarray(mask).save(tmp_path / "dim.png")
    _, _, err = run(capsys, "retrieve", scene / "composite.png", tmp_path / "dim.png", "--index", scene / "i")
    assert "85 of 255" in err
    frames = [Image.open(scene / f"{n}.png").convert("RGB") for n in ("mask", "composite")]
    frames[0].save(tmp_path / "two.tif", save_all=True, append_images=frames[1:])
    arguments = ["retrieve", tmp_path / "two.tif", scene / "mask.png", "--index", scene / "i", "--json"]
    first, second = (json.loads(run(capsys, *arguments, *more)[1]) for more in ((), ("--page", "2")))
    assert "holds 2 frames" in first["notices"][0] and not second["notices"]
    assert [r["score"] for r in first["references"]] != [r["score"] for r in second["references"]]
