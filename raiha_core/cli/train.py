"""`raiha train`: from a config file, or straight from a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..errors import RaihaError

FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("config", type=FOLDER, required=False)
@click.option("--photos", type=FOLDER, default=None, help="Train on a folder of photos (with masks.jsonl where there are masks).")
@click.option("--triplets", type=FOLDER, default=None, help="Train on a triplet folder: composite/, mask/, real/.")
@click.option("--iharmony4", type=FOLDER, default=None, help="Train on iHarmony4's own layout.")
@click.option("--out", type=FOLDER, default=None, help="Folder for checkpoints, log and curves.")
@click.option("--steps", type=click.IntRange(1), default=None, help="Length of the run.")
@click.option("--start", type=FOLDER, default=None, help="Weights to fine-tune from.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a key of the config; VALUE is JSON.")
@click.option("--force-resume", is_flag=True, help="Go on from the checkpoint in the folder even if config or pictures are others now.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(
    config: Path | None,
    photos: Path | None,
    triplets: Path | None,
    iharmony4: Path | None,
    out: Path | None,
    steps: int | None,
    start: Path | None,
    settings: tuple[str, ...],
    force_resume: bool,
    as_json: bool,
) -> None:
    """Train as CONFIG (YAML) says, or on the folders given; a run that was stopped goes on from its last checkpoint.

    A folder that holds a run with another config, or on other pictures, is refused.

    For several GPUs or machines: accelerate launch --multi_gpu -m raiha_core train CONFIG.
    """
    overrides: dict[str, Any] = dict(_setting(s) for s in settings)
    sources = [
        {"kind": k, "path": str(p)} for k, p in (("photos", photos), ("triplets", triplets), ("iharmony4", iharmony4)) if p is not None
    ]
    if sources:
        overrides["sources"] = sources
    overrides |= {k: v for k, v in (("out", out), ("steps", steps), ("start", start)) if v is not None}
    overrides = {k: str(v) if isinstance(v, Path) else v for k, v in overrides.items()}
    if config is None and not sources:
        raise RaihaError("There is nothing to train on; give a config file, or --photos, --triplets or --iharmony4 with a folder.")
    _need_accelerate()
    from ..training.config import config_from, read_config
    from ..training.curves import plot_log
    from ..training.loop import Trainer

    if config is None:
        weights = Path(__file__).resolve().parent.parent / "weights" / "raiha-s.safetensors"
        chosen = config_from({"out": "runs/train", "backbone": None if start else str(weights), **overrides})
    else:
        chosen = read_config(config, overrides)
    trainer = Trainer(chosen, force_resume)
    result = trainer.run()
    if not trainer.accelerator.is_main_process:
        return
    curves = plot_log(Path(chosen.out) / "log.jsonl")
    if as_json:
        click.echo(json.dumps({"weights": str(result), "curves": str(curves), "trained": trainer.trained}))
    elif not trainer.trained:
        click.echo(f"{result} was trained to its end before ({trainer.step} steps); nothing was left to do")
    else:
        click.echo(f"wrote {result} and {curves}")


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise RaihaError(f"--set {text} has no value; write KEY=VALUE, for example --set batch=16.")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def _need_accelerate() -> None:
    try:
        import accelerate  # noqa: F401
        import matplotlib  # noqa: F401
        import msgspec  # noqa: F401
        import yaml  # noqa: F401
    except ImportError as error:
        raise RaihaError(f"Training needs the package {error.name}; install it with: pip install 'raiha[train]'.") from None
