"""What a training config says, and every mistake in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raiha_core.cli import main
from raiha_core.errors import RaihaError
from raiha_core.training.augment import Recipe
from raiha_core.training.config import SourceConfig, TrainConfig, config_from, read_config
from raiha_core.training.sources import ReferenceMix

pytest.importorskip("accelerate")


def written(text: str, folder: Path) -> Path:
    path = folder / "c.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("out: x\nsources: []\nlerning_rate: 1", "unknown key lerning_rate; known are .*learning_rate"),
        ("sources: []", "lacks out"),
        ("out: x\nsources: [{kind: photos}]", r"lacks path in sources\[0\]"),
        ("out: [", "YAML"),
        ("just words", "mapping"),
        ("out: x\nsources: 3", "sources is 3; give a list"),
        ("out: x\nsources: [text]", r"sources\[0\] is 'text'; give a mapping"),
        ("out: x\nsources: [{kind: fotos, path: p}]", "kind is 'fotos'; give photos or triplets or iharmony4"),
        ("out: x\nsources: [{kind: photos, path: p, weigth: 2}]", "unknown key sources.weigth"),
        ("out: x\nsources: [{kind: photos, path: p, weight: 0}]", r"sources\[0\].weight is 0; give a number > 0"),
        ("out: x\nsources: []\nrecipe: {mooved: 1}", "unknown key recipe.mooved"),
        ("out: x\nsources: []\nbatch: 0", "batch is 0; give a whole number >= 1"),
        ("out: x\nsources: []\nbatch: 2.5", "batch is 2.5; give a whole number"),
        ("out: x\nsources: []\nbatch: true", "batch is True; give a whole number"),
        ("out: x\nsources: []\nschedule: liner", "schedule is 'liner'; give cosine or linear"),
        ("out: x\nsources: []\nprecision: fp8", "precision is 'fp8'; give no or bf16 or fp16"),
        ("out: x\nsources: []\nlearning_rate: fast", "learning_rate is 'fast'; give a number"),
        ("out: x\nsources: []\nlearning_rate: .nan", "learning_rate is nan; give a number > 0"),
        ("out: x\nsources: []\nsizes: [[0, 100]]", r"sizes\[0\]\[1\] is 100; give a whole number that is a multiple of 32"),
        ("out: x\nsources: []\nsizes: [[0]]", r"sizes\[0\] is \[0\]; give a list of length 2"),
        ("out: x\nsources: []\nsizes: []", "sizes do not say what to begin with"),
        ("out: x\nsources: []\nsizes: [[0.5, 128]]", "sizes do not say what to begin with"),
        ("out: x\nsources: []\nsizes: [[0, 128], [0.8, 96], [0.5, 64]]", "sizes are not in order"),
        ("out: x\nsources: []\nbackbone: 3", "backbone is 3; give text or nothing"),
        ("out: x\nsources: []\nmodel: 3", "model is 3; give a mapping"),
        ("out: x\nsources: []\nmodel: {3: 4}", "a key in model that is no text"),
        ("out: x\nsources: []\nrecipe: {shares: {tranfer: 1}}", "recipe.shares has no kind tranfer; use .*transfer"),
        ("out: x\nsources: []\nrecipe: {shares: {none: much}}", "recipe.shares is not that; give a number"),
        ("out: x\nsources: []\nrecipe: {shares: {none: 0}}", "recipe.shares are no frequencies"),
        ("out: x\nsources: []\nrecipe: {moved: 1.5}", "recipe.moved is no share"),
        ("out: x\nsources: []\nrecipe: {regrade: -1}", "recipe.regrade is no share"),
        ("out: x\nsources: []\nrecipe: {capture: 2}", "recipe.capture is no share"),
        ("out: x\nsources: []\nrecipe: {mood: 2}", "recipe.mood is no share"),
        ("out: x\nsources: []\nrecipe: {moved: 0.6, pasted: 0.6}", "recipe.moved and recipe.pasted exceed 1"),
        ("out: x\nsources: []\nreferences: {found: -1}", "references.found is no share"),
        ("out: x\nsources: []\nrecipe: {amount: -1}", "recipe.amount is below 0"),
        ("out: x\nsources: []\nrecipe: {most: 0}", "recipe.most is not above 0"),
        ("out: x\nsources: []\nreferences: {count: [0, 0]}", "references.count are no frequencies"),
        ("out: x\nsources: []\nreferences: {positive: 0.9, retrieved: 0.9}", "references' shares exceed 1"),
        ("out: x\nsources: []\nreferences: {crop: [0.9, 0.5]}", "references.crop is no range"),
    ],
)
def test_a_bad_config_is_one_sentence(text: str, word: str, tmp_path: Path) -> None:
    with pytest.raises(RaihaError, match=word) as caught:
        read_config(written(text, tmp_path))
    assert "\n" not in str(caught.value) and "`" not in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "c.yaml", tmp_path / "none.yaml", tmp_path):
        with pytest.raises(RaihaError, match="cannot be read"):
            read_config(path)


def test_numbers_are_read_as_yaml_1_2_reads_them(tmp_path: Path) -> None:
    text = "out: x\nsources: []\nlearning_rate: 1e-3\nweight_decay: 2E-2\nhold: 5.e-1\nbackbone_rate: 1\nsteps: 100"
    config = read_config(written(text, tmp_path))
    assert (config.learning_rate, config.weight_decay, config.hold, config.backbone_rate) == (1e-3, 0.02, 0.5, 1.0)
    assert config.steps == 100


def test_the_precision_no_needs_no_quotes(tmp_path: Path) -> None:
    for written_as in ("no", '"no"', "bf16"):
        assert read_config(written(f"out: x\nsources: []\nprecision: {written_as}", tmp_path)).precision == written_as.strip('"')


def test_everything_nested_becomes_what_it_is(tmp_path: Path) -> None:
    config = config_from(
        {
            "out": "o",
            "sources": [{"kind": "photos", "path": "p", "weight": 2}],
            "sizes": [[0, 64], [0.5, 96]],
            "recipe": {"moved": 0.5},
            "references": {"count": [1, 2], "crop": [0.5, 0.6]},
            "model": {"input_size": 64},
        }
    )
    assert config == TrainConfig(
        out="o",
        sources=(SourceConfig("photos", "p", weight=2.0),),
        sizes=((0.0, 64), (0.5, 96)),
        recipe=Recipe(moved=0.5),
        references=ReferenceMix(count=(1.0, 2.0), crop=(0.5, 0.6)),
        model={"input_size": 64},
    )


def test_shares_of_all_zeros_are_fine_where_they_are_shares() -> None:
    mix: dict[str, Any] = {"positive": 0, "retrieved": 0, "wrong_light": 0}
    assert config_from({"out": "o", "sources": [], "references": mix}).references.positive == 0


def test_paths_are_taken_from_the_files_folder_and_overrides_from_here(tmp_path: Path) -> None:
    text = "out: ../runs/x\nstart: a.safetensors\nsources: [{kind: photos, path: ../photos, luts: l.npz}]"
    (tmp_path / "configs").mkdir()
    path = written(text, tmp_path / "configs")
    config = read_config(path, {"start": "here.safetensors"})
    assert config.out == str(tmp_path / "runs" / "x") and config.start == "here.safetensors"
    assert config.sources[0].path == str(tmp_path / "photos") and config.sources[0].luts == str(tmp_path / "configs" / "l.npz")


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("batch=0", "batch is 0"),
        ("schedule=liner", "'liner'"),
        ("sizes=[[0,100]]", "multiple of 32"),
        ("batch", "has no value"),
    ],
)
def test_the_command_says_them_too(setting: str, word: str, photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--photos", str(photo_folder), "--out", str(tmp_path / "run"), "--set", setting]) == 2
    err = capsys.readouterr().err
    assert word in err and err.count("\n") == 1 and not (tmp_path / "run").exists()
