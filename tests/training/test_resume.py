"""A run's folder knows which run it holds, and survives a kill at any moment."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from raiha_core.cli import main
from raiha_core.errors import RaihaError
from raiha_core.training import resume
from raiha_core.training.config import TrainConfig, config_from
from raiha_core.training.loop import Trainer

pytest.importorskip("accelerate")


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """Photos that a test may add to."""
    return Path(shutil.copytree(photo_folder, tmp_path / "photos"))


def config(photos: Path, out: Path, **more: Any) -> TrainConfig:
    return config_from(
        {
            "out": str(out),
            "sources": [{"kind": "photos", "path": str(photos)}],
            "sizes": [[0, 64]],
            "model": {"input_size": 64},
            "batch": 2,
            "steps": 2,
            "warmup": 1,
            "workers": 0,
            "checkpoint_every": 1,
            **more,
        }
    )


def train(capsys: pytest.CaptureFixture[str], out: Path, *arguments: object) -> tuple[int, str, str]:
    sets = ["batch=2", "workers=0", "sizes=[[0,64]]", 'model={"input_size":64}']
    status = main(["train", "--out", str(out), *map(str, arguments), *(x for s in sets for x in ("--set", s))])
    said = capsys.readouterr()
    return status, said.out, said.err.splitlines()[-1] if said.err else ""


def test_another_runs_folder_is_refused(photos: Path, triplet_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, weights = tmp_path / "run", tmp_path / "run" / "model.safetensors"
    assert train(capsys, run, "--photos", photos, "--steps", 1)[0] == 0
    first = weights.read_bytes()
    status, out, err = train(capsys, run, "--triplets", triplet_folder, "--steps", 1)
    assert status == 2 and "wrote" not in out
    assert 'sources[0].kind was "photos" and is "triplets", sources[0].path was ' in err and "photos" in err.partition("path was ")[2]
    assert "--force-resume" in err
    status, _, err = train(capsys, run, "--photos", photos, "--steps", 2)
    assert status == 2 and "holds another run: steps was 1 and is 2;" in err
    assert train(capsys, run, "--photos", photos, "--steps", 1, "--start", weights)[0] == 2
    assert weights.read_bytes() == first


def test_what_does_not_lead_elsewhere_may_change(photos: Path, tmp_path: Path) -> None:
    Trainer(config(photos, tmp_path / "run", steps=1)).run()
    shutil.move(tmp_path / "run", tmp_path / "moved")
    same = config(photos, tmp_path / "moved", steps=1, threads=2, checkpoint_every=7, validate_every=3)
    before = torch.get_num_threads()
    try:
        trainer = Trainer(same)
        trainer.run()
    finally:
        torch.set_num_threads(before)
    assert trainer.trained == 0 and trainer.step == 1


def test_force_goes_on_under_the_new_config(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert train(capsys, run, "--photos", photos, "--steps", 1)[0] == 0
    status, out, _ = train(capsys, run, "--photos", photos, "--steps", 3, "--force-resume", "--json")
    assert status == 0 and json.loads(out.splitlines()[-1])["trained"] == 2
    assert train(capsys, run, "--photos", photos, "--steps", 3)[0] == 0, "from now on the new config is the run's"


def test_a_finished_run_says_so_and_gives_its_weights(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert "wrote" in train(capsys, run, "--photos", photos, "--steps", 1)[1]
    weights = load_file(run / "model.safetensors")
    (run / "model.safetensors").unlink()  # as after a kill between the checkpoint and its weights
    status, out, _ = train(capsys, run, "--photos", photos, "--steps", 1)
    assert status == 0 and "wrote" not in out and "was trained to its end before (1 steps); nothing was left to do" in out
    again = load_file(run / "model.safetensors")
    assert all(torch.equal(v, again[k]) for k, v in weights.items())
    with safe_open(run / "model.safetensors", "pt") as file:
        assert file.metadata()["step"] == "1"


def test_a_checkpoint_of_an_unknown_run_is_refused(photos: Path, tmp_path: Path) -> None:
    Trainer(config(photos, tmp_path / "run", steps=1)).run()
    for text in (None, "", "[]", '{"config": 3}'):
        if text is None:
            (tmp_path / "run" / "run.json").unlink()
        else:
            (tmp_path / "run" / "run.json").write_text(text)
        with pytest.raises(RaihaError, match="does not say what it was trained with"):
            Trainer(config(photos, tmp_path / "run", steps=1))


def test_added_photos_are_noticed(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    Trainer(config(photos, run, steps=1)).run()
    for i in range(3):
        Image.new("RGB", (80, 60), (60 * i, 90, 30)).save(photos / "photos" / f"new{i}.png")
    with pytest.raises(RaihaError, match=r"have changed since the run .* \(12 then, 15 now\); give another --out"):
        Trainer(config(photos, run, steps=1))
    # What relates photos to each other is that of the grown pack, or drawing would reach beyond it.
    grown = Trainer(config(photos, run, steps=3), force=True)
    grown.run()
    assert grown.trained == 2


def test_a_key_that_a_later_version_adds_has_its_default(photos: Path, tmp_path: Path) -> None:
    Trainer(config(photos, tmp_path / "run", steps=1)).run()
    record = tmp_path / "run" / "run.json"
    document = json.loads(record.read_text())
    del document["config"]["backbone_rate"]
    record.write_text(json.dumps(document))
    Trainer(config(photos, tmp_path / "run", steps=1))
    document["config"]["gone_since"] = 3
    record.write_text(json.dumps(document))
    with pytest.raises(RaihaError, match="gone_since was 3 and is null"):
        Trainer(config(photos, tmp_path / "run", steps=1))


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_a_kill_while_checkpoints_are_swapped_loses_no_step(
    moment: int, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills before the first rename, between the two, and after both, all at step 2."""
    real, really_remove, calls = os.replace, shutil.rmtree, []

    def killed(source: Any, target: Any) -> None:
        if Path(target).name.startswith("checkpoint"):
            calls.append(target)
            if len(calls) == moment + 2:  # the first rename is that of step 1
                raise KeyboardInterrupt
        real(source, target)

    def remove(folder: Path, **_: Any) -> None:
        if moment == 2 and len(calls) == 3:
            raise KeyboardInterrupt
        really_remove(folder, ignore_errors=True)

    monkeypatch.setattr(os, "replace", killed)
    monkeypatch.setattr(shutil, "rmtree", remove)
    with pytest.raises(KeyboardInterrupt):
        Trainer(config(photos, tmp_path / "run", steps=4)).run()
    monkeypatch.undo()
    trainer = Trainer(config(photos, tmp_path / "run", steps=4))
    trainer.run()
    assert trainer.step == 4 and trainer.trained == (3 if moment == 0 else 2)
    assert sorted(p.name for p in (tmp_path / "run").glob("checkpoint*")) == ["checkpoint"]


def test_a_kill_while_a_checkpoint_is_written_keeps_the_last(photos: Path, tmp_path: Path) -> None:
    Trainer(config(photos, tmp_path / "run", steps=4, checkpoint_every=4)).run()
    (tmp_path / "run" / "checkpoint.part").mkdir()
    (tmp_path / "run" / "checkpoint.part" / "half").write_bytes(b"x")
    assert resume.recover(tmp_path / "run")
    longer = Trainer(config(photos, tmp_path / "run", steps=5), force=True)
    longer.run()
    assert longer.trained == 1 and not (tmp_path / "run" / "checkpoint" / "half").exists()


def test_the_log_of_a_run_without_a_checkpoint_is_not_mixed_in(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.jsonl").write_text('{"step": 900, "loss": 9.0}\n')
    Trainer(config(photos, tmp_path / "run", steps=1)).run()
    assert not (tmp_path / "run" / "log.jsonl").exists() or "900" not in (tmp_path / "run" / "log.jsonl").read_text()


def test_without_loader_processes_the_threads_stay(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, step, before = [], Trainer._train_step, torch.get_num_threads()

    def watched(self: Trainer, batch: Any) -> float:
        seen.append(torch.get_num_threads())
        return step(self, batch)

    monkeypatch.setattr(Trainer, "_train_step", watched)
    try:
        Trainer(config(photos, tmp_path / "run", threads=2)).run()
    finally:
        torch.set_num_threads(before)
    assert seen == [2, 2]


@pytest.mark.parametrize(
    ("model", "word"), [({"ngf": 4}, "does not fit raiha-s .*ngf"), ({"input_size": 100}, "input_size is 100; give a multiple of 32")]
)
def test_a_model_that_cannot_be_made_is_one_sentence(model: dict[str, Any], word: str, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RaihaError, match=word):
        Trainer(config(photos, tmp_path / "run", model=model))
