"""`raiha evaluate` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raiha_core.cli import main


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two subsets of iHarmony4 with two composites each, and a reference list."""
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    for subset in ("HCOCO", "HFlickr"):
        for part in ("composite_images", "masks", "real_images"):
            (root / subset / part).mkdir(parents=True)
        names = []
        for n in (1, 2):
            real = np.asarray(Image.fromarray(rng.integers(30, 220, (4, 5, 3), dtype=np.uint8)).resize((60, 48)))
            mask = np.zeros((48, 60), np.uint8)
            mask[10:30, 8 * n : 8 * n + 20] = 255
            composite = np.where(mask[..., None] > 0, real // 2, real).astype(np.uint8)
            Image.fromarray(real).save(root / subset / "real_images" / f"p{n}.png")
            Image.fromarray(mask).save(root / subset / "masks" / f"p{n}_1.png")
            Image.fromarray(composite).save(root / subset / "composite_images" / f"p{n}_1_1.png")
            names.append(f"p{n}_1_1.png")
        (root / subset / f"{subset}_test.txt").write_text("\n".join(names))
    entry = {"input": "HCOCO/composite_images/p1_1_1.png", "mask": "HCOCO/masks/p1_1.png", "refs": ["HFlickr/real_images/p2.png"]}
    (root / "refs.jsonl").write_text(json.dumps(entry))
    return root


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["evaluate", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_everything_at_once_as_json(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [dataset, "--references", "positive-crop", "-r", "misleading", "--baselines", "--untouched", "--json", "--resolution", "64"]
    arguments += ["--pictures", tmp_path / "s.png", "--per-image", tmp_path / "s.csv"]
    code, out, err = run(capsys, *arguments)
    assert code == 0, err
    result = json.loads(out)
    methods = result["methods"]
    assert {"composite", "Reinhard (Lab)", "Poisson", "raiha-s", "raiha-s + positive-crop", "raiha-s + misleading"} <= set(methods)
    assert result["pictures"] == 4 and set(methods["raiha-s"]["groups"]) == {"HCOCO", "HFlickr"}
    assert all(m["all"]["failed"] == 0 for m in methods.values())
    assert set(methods["composite"]["all"]["mean"]) == {"psnr", "mse", "fmse", "fpsnr", "ssim", "ciede"}
    assert "composite" not in result["untouched"] and result["untouched"]["raiha-s"]["all"]["mean"]["fmse"] > 0
    assert result["sheets"] == [str(tmp_path / "s.png"), str(tmp_path / "s-random.png")]
    for sheet in result["sheets"]:
        with Image.open(sheet) as image:
            assert image.width == 6 * 262 + 6
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 1 + 4 * (len(methods) + len(result["untouched"]))


def test_the_papers_table(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "--iharmony4", dataset, "--references", dataset / "refs.jsonl")
    assert code == 0, err
    assert "the 1 items of refs.jsonl" in out and "| raiha-s + refs.jsonl" not in out
    rows = [line.split("|")[1].strip() for line in out.split("All: 1 picture")[1].splitlines() if line.startswith("| ")]
    assert rows[:4] == ["method", "composite", "raiha-s", "raiha-s + references"]


def test_baselines_alone_at_full_resolution(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, dataset, "--model", "none", "--baselines", "--resolution", "full", "--limit", "2")
    assert code == 0 and "at full resolution" in out and "raiha-s" not in out
    assert "HCOCO: 1 picture\n" in out and "HFlickr: 1 picture\n" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--references"], "has no references; give a list"),
        (["--resolution", "big"], "'big' is neither 'full' nor"),
        (["--resolution", "5"], "'5' is neither 'full' nor"),
        (["--model", "no-such"], "There is no model named 'no-such'"),
        (["--model", "none", "--references", "misleading"], "References serve models only"),
        (["--model", "none", "--untouched"], "name a model or --baselines"),
        (["--model", "none", "--pictures", "x.png"], "nothing to draw"),
        (["--references", "no.jsonl"], "no.jsonl cannot be read"),
        (["--references", "no.jsonl", "--references"], "one reference list only"),
        (["--references", "."], "is a folder"),
        (["--pictures", "x.gif"], "no known picture suffix"),
        (["--per-image", "nowhere/x.csv"], "nowhere does not exist"),
    ],
)
def test_mistakes(
    dataset: Path, arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, dataset, *arguments)
    assert code == 2 and out == "" and says in err.splitlines()[-1], err
    assert not (tmp_path / "x.png").exists()


def test_no_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, tmp_path / "nowhere")
    assert code == 2 and "is not a folder" in err


def test_nothing_readable(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for mask in dataset.glob("*/masks/*"):
        mask.write_bytes(b"")
    code, out, err = run(capsys, dataset)
    assert code == 2 and out == "" and "Nothing could be measured" in err


def test_pasted_objects_loose_masks_and_retrieved_references(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", "build", str(tmp_path / "i.index"), str(dataset / "HFlickr" / "real_images")]) == 0
    capsys.readouterr()
    arguments = ["--pasted", "--keep", tmp_path / "kept", "--masks", "--index", tmp_path / "i.index", "--top-k", "1"]
    code, out, err = run(capsys, dataset, *arguments, "--resolution", "64", "--json")
    assert code == 0, err
    methods = json.loads(out)["methods"]
    assert {"raiha-s, mask grown 3 px", "raiha-s, mask feathered 5 px", "raiha-s + 1 retrieved"} <= set(methods)
    assert set(methods["raiha-s"]["groups"]) == {"own photo", "other photo", "fitting"}
    assert methods["composite"]["all"]["made"] == 0 != methods["raiha-s"]["all"]["made"]
    assert len(list((tmp_path / "kept" / "composite").iterdir())) == json.loads(out)["pictures"]
