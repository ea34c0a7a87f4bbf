"""`raiha convert`: a published checkpoint as one safetensors file."""

from __future__ import annotations

import json
from pathlib import Path

import click

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("source", metavar="IN", type=_FILE)
@click.argument("out", metavar="OUT.safetensors", type=_FILE)
@click.option("--denoiser", type=_FILE, default=None, help="Checkpoint of the prior's denoising block, if it is a file of its own.")
@click.option("--dinov2", type=_FILE, default=None, help="Weights of the content prior, to be stored in OUT.")
@click.option("--fetch-dinov2", is_flag=True, help="Store the prior's weights from timm's cache; downloads them if they are not there.")
@click.option("--prior", default=None, help="Content encoder the model was trained with, if it is not the paper's.")
@click.option("--half", is_flag=True, help="Write float16, half as large; loaded it is float32 again.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(
    source: Path, out: Path, denoiser: Path | None, dinov2: Path | None, fetch_dinov2: bool, prior: str | None, half: bool, as_json: bool
) -> None:
    """Turn the checkpoint IN (.pth or .safetensors) into OUT.safetensors, which every `--model` takes.

    Without --dinov2 or --fetch-dinov2, an rhnet looks for its content prior in timm's cache when it is used.
    """
    from ..models.convert import convert

    done = convert(source, out, denoiser=denoiser, dinov2=dinov2, fetch=fetch_dinov2, prior=prior, half=half)
    if as_json:
        facts = {"out": str(done.out), "architecture": done.architecture, "parameters": done.parameters, "config": dict(done.config)}
        click.echo(json.dumps(facts))
    else:
        click.echo(f"{done.out}: {done.architecture}, {done.parameters / 1e6:.2f} M parameters")
