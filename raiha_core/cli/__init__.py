"""The `raiha` command. Each subcommand lives in a module of its own and is imported only when called."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from ..errors import RaihaError, of_system

# name -> (module, help line): the help line stands here so that `raiha --help` imports nothing heavy.
COMMANDS: dict[str, tuple[str, str]] = {
    "harmonize": ("harmonize", "Harmonise a composite, or folders and globs of them."),
    "transfer": ("transfer", "Give an original the light and colour of an edited version of it."),
    "index": ("index", "Build, update, inspect and verify reference indexes."),
    "retrieve": ("retrieve", "Find references for a composite in an index."),
    "train": ("train", "Train or fine-tune a model."),
    "evaluate": ("evaluate", "Measure models and baselines on triplets or iHarmony4."),
    "convert": ("convert", "Turn a published checkpoint into one safetensors file."),
    "demo": ("demo", "Harmonise the bundled example and write pictures."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name][0]}", __package__)
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="raiha")
@click.option("--debug", is_flag=True, help="Show the whole traceback of an unexpected error.")
def raiha(debug: bool) -> None:
    """Make pasted or generated objects look photographed in their scene."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status (0, or 2 with one line on stderr)."""
    try:
        result: Any = raiha.main(args=argv, prog_name="raiha", standalone_mode=False)
        return int(result) if isinstance(result, int) else 0
    except RaihaError as error:
        click.echo(f"raiha: {error}", err=True)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        click.echo("raiha: interrupted", err=True)
    except click.ClickException as error:
        click.echo(f"raiha: {error.format_message()}", err=True)
    except Exception as error:
        arguments = sys.argv[1:] if argv is None else argv
        if "--debug" in arguments:
            raise
        reason = str(error).splitlines()[0] if str(error) else "no message"
        last = f"unexpected {type(error).__name__}: {reason} (run `raiha --debug ...` for the traceback and report it)"
        click.echo(f"raiha: {of_system(error) or last}", err=True)
    return 2
