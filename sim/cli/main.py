"""The `servesim` command, one file a verb. Errors are one message on standard error; exit 1 a check, 2 bad input."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sim.errors import ServesimError
from sim.version import __version__

VERBS = ("run", "show", "estimate", "catalog", "sweep", "trace", "validate")


class _CommandsOnDemand(Mapping[str, Any]):
    """Every verb's command, from `VERB_command` (or, for a group, `VERB_app`) in `sim.cli.VERB`.

    A module is imported when its verb is used: pandas and pydantic take most of a second, which `--version` need not
    wait for.
    """

    def __getitem__(self, verb: str) -> Any:
        if verb not in VERBS:
            raise KeyError(verb)
        module = import_module(f"sim.cli.{verb}")
        group: typer.Typer | None = getattr(module, f"{verb}_app", None)
        if group is None:
            group = typer.Typer(add_completion=False)
            group.command(verb)(getattr(module, f"{verb}_command"))
        return typer.main.get_command(group)

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


class _Verbs(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _CommandsOnDemand()  # type: ignore[assignment]  # read only: nothing adds commands


app = typer.Typer(
    name="servesim",
    cls=_Verbs,
    help="Simulate LLM inference serving: from one config file to latency percentiles, throughput and pictures.",
    invoke_without_command=True,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _options(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; never shows a traceback for something the user can mend."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode still gets its table
    try:
        app()
        if sys.stdout is not None:
            sys.stdout.flush()
    except ServesimError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        print(f"error: cannot write the output ({error}); free space or send it elsewhere", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)
