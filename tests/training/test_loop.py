from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file

from raiha_core.cli import main
from raiha_core.errors import RaihaError
from raiha_core.training.config import config_from, read_config
from raiha_core.training.loop import Trainer, rate_at, size_at
from raiha_core.training.objective import objective_for
from raiha_core.training.sources import Triplets

pytest.importorskip("accelerate")


def settings(photo_folder: Path, triplet_folder: Path, out: Path, **more: Any) -> dict[str, Any]:
    return {
        "out": str(out),
        "sources": [{"kind": "photos", "path": str(photo_folder), "weight": 2}, {"kind": "triplets", "path": str(triplet_folder)}],
        "sizes": [[0.0, 64]],
        "model": {"input_size": 64},
        "batch": 4,
        "steps": 4,
        "warmup": 2,
        "workers": 0,
        "checkpoint_every": 2,
        "validation": str(triplet_folder),
        "validate_every": 4,
        **more,
    }


def test_a_killed_run_resumes_on_the_same_curve(
    photo_folder: Path, triplet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Trainer(config_from(settings(photo_folder, triplet_folder, tmp_path / "whole"))).run()
    cut = config_from(settings(photo_folder, triplet_folder, tmp_path / "cut"))
    step = Trainer._train_step
    count = 0

    def killed(self: Trainer, batch: Any) -> float:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return step(self, batch)

    monkeypatch.setattr(Trainer, "_train_step", killed)
    with pytest.raises(KeyboardInterrupt):
        Trainer(cut).run()
    monkeypatch.undo()
    resumed = Trainer(cut)
    weights = resumed.run()
    a, b = load_file(whole), load_file(weights)
    assert set(a) == set(b)
    for key in a:
        torch.testing.assert_close(a[key], b[key], atol=1e-6, rtol=1e-5, msg=key)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    report = next(r["validation"] for r in rows if "validation" in r)
    assert {"mean", "median", "untouched", "dark", "other"} <= set(report)


def test_the_command_trains_and_draws_curves(photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = ["batch=2", "workers=0", "sizes=[[0,64]]", 'model={"input_size":64}']
    arguments = ["train", "--photos", str(photo_folder), "--out", str(tmp_path / "run"), "--steps", "1", "--json"]
    assert main(arguments + [x for s in sets for x in ("--set", s)]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert Path(result["curves"]).is_file()
    from raiha_core.models import RaihaS, load_model

    assert isinstance(load_model(result["weights"]), RaihaS)


def test_rhnet_is_trained_too(photo_folder: Path, triplet_folder: Path, tmp_path: Path) -> None:
    model = {"ngf": 4, "content_channels": 256, "prior": "embedded", "input_size": 64}
    more = {"architecture": "rhnet", "model": model, "steps": 3, "references": {"count": [0.0, 1.0]}, "validate_every": 3}
    trainer = Trainer(config_from(settings(photo_folder, triplet_folder, tmp_path / "run", **more)))
    before = {k: v.clone() for k, v in trainer.objective.model.state_dict().items()}
    trainer.run()
    after = trainer.objective.model.state_dict()
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert "model_layer0.weight" in changed and not any(k.startswith("prior.") for k in changed)
    from raiha_core.models import load_model
    from raiha_core.models.rhnet import RHNet

    assert isinstance(load_model(tmp_path / "run" / "model.safetensors"), RHNet)


@pytest.mark.skipif(sys.platform == "win32", reason="torch's launcher needs libuv, which its Windows builds may lack")
def test_two_processes_train_together(photo_folder: Path, triplet_folder: Path, tmp_path: Path) -> None:
    # Half of the steps have no reference: what judges references then gets no gradient, and each process draws for itself.
    config = settings(photo_folder, triplet_folder, tmp_path / "run", references={"count": [0.5, 0.5]}, batch=2)
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "raiha_core", "train"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    root = Path(__file__).resolve().parents[2]
    # Ten minutes, since two processes on a busy machine take long; a hang still ends.
    done = subprocess.run([*launch, str(tmp_path / "c.yaml")], env=environment, cwd=root, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("wrote ") == 1
    assert (tmp_path / "run" / "checkpoint" / "random_states_1.pkl").is_file()  # one state per process


def test_older_weights_go_on_with_new_layers(photo_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from safetensors.torch import save_file

    from raiha_core.models import RaihaS
    from raiha_core.training.objective import RaihaSObjective

    model = RaihaS(64)
    older = {k: v for k, v in model.state_dict().items() if not k.startswith("wide.")}
    save_file(older, tmp_path / "older.safetensors")
    config = settings(photo_folder, photo_folder, tmp_path, start=str(tmp_path / "older.safetensors"))
    with caplog.at_level("INFO"):
        started = RaihaSObjective(config_from(config)).model
    assert all(torch.equal(v, started.state_dict()[k]) for k, v in older.items()) and "wide" in caplog.text
    save_file({**older, "foreign": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    for name, word in (("foreign", "holds foreign"), ("broken", "cannot start"), ("absent", "cannot start")):
        with pytest.raises(RaihaError, match=word):
            RaihaSObjective(config_from({**config, "start": str(tmp_path / f"{name}.safetensors")}))


def test_the_outline_can_learn_alone(photo_folder: Path, triplet_folder: Path, tmp_path: Path) -> None:
    from raiha_core.models import RaihaS, save_model

    torch.manual_seed(0)
    save_model(RaihaS(64), tmp_path / "start.safetensors")
    config = settings(photo_folder, triplet_folder, tmp_path / "run", learns="outline", start=str(tmp_path / "start.safetensors"))
    learnt = load_file(Trainer(config_from({**config, "validation": None, "ema": 0.0})).run())
    before = load_file(tmp_path / "start.safetensors")
    moved = {k for k in before if not torch.equal(before[k], learnt[k])}
    assert moved and learnt.keys() == before.keys() and all(k.startswith("outline.") for k in moved)
    with pytest.raises(RaihaError, match="learns is outline, which rhnet has not; give all"):
        config_from({**config, "architecture": "rhnet", "model": {}})


def test_the_outline_learns_through_its_prepared_twin(photo_folder: Path, tmp_path: Path) -> None:
    """Which processes that train together need, to share their gradients."""
    config = config_from(settings(photo_folder, photo_folder, tmp_path, learns="outline"))
    objective = objective_for(config)
    called: list[int] = []

    def twin(rgb: torch.Tensor, mask: torch.Tensor) -> Any:
        called.append(len(rgb))
        return objective.model(rgb, mask)

    mask = torch.zeros(2, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    picture = torch.rand(2, 3, 64, 64)
    objective.loss(cast(Any, twin), Triplets(picture, mask, picture, None, mask)).backward()
    assert called == [2] and all(p.requires_grad for p in objective.model.parameters())
    made = objective.render(objective.model, picture, mask)
    assert made.shape == picture.shape


def test_schedules() -> None:
    config = config_from({"out": "o", "sources": [], "steps": 100, "warmup": 10, "sizes": [[0, 128], [0.5, 160]], "learning_rate": 1.0})
    assert size_at(config, 0) == 128 and size_at(config, 50) == 160
    assert rate_at(config, 0) == pytest.approx(0.1, rel=0.01) and rate_at(config, 99) < 0.01
    assert rate_at(config, 30) > rate_at(config, 60)
    line = config_from({"out": "o", "sources": [], "steps": 100, "warmup": 1, "learning_rate": 1.0, "schedule": "linear"})
    assert rate_at(line, 25) == pytest.approx(0.75) and rate_at(line, 50) == pytest.approx(0.5)
    held = config_from({"out": "o", "sources": [], "steps": 90, "warmup": 1, "learning_rate": 1.0, "schedule": "linear", "hold": 2 / 3})
    assert rate_at(held, 59) == pytest.approx(1.0) and rate_at(held, 75) == pytest.approx(0.5)


def test_what_cannot_be_trained_on_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, word in (
        (["--photos", str(tmp_path / "empty")], "No photo"),
        (["--photos", str(tmp_path / "none")], "does not exist"),
        (["--triplets", str(tmp_path / "empty")], "no triplets"),
        (["--iharmony4", str(tmp_path / "empty")], "iHarmony4"),
        ([], "nothing to train on"),
    ):
        assert main(["train", *arguments, "--out", str(tmp_path / "run")]) == 2
        assert word in capsys.readouterr().err


RECIPES = [
    p for p in sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml")) if "architecture:" in p.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_the_repositorys_recipes_are_readable_and_fit_together(path: Path) -> None:
    config = read_config(path)
    assert config.sources and config.sources[0].kind in ("photos", "triplets", "iharmony4")
    if config.backbone:
        written = f"python scripts/distill_backbone.py --data ../shared/data --pack ../pack --out runs/{Path(config.backbone).name}"
        assert Path(config.backbone).is_file() or written in path.read_text(encoding="utf-8")
    if config.start:  # a later stage goes on from what another recipe here writes
        earlier = [read_config(p) for p in RECIPES]
        assert Path(config.start) in [Path(c.out) / "model.safetensors" for c in earlier if c.architecture == config.architecture]
