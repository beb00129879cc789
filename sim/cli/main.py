"""The `servesim` command, one file a verb. Errors are one message on standard error; exit 1 a check, 2 bad input."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Annotated

import typer

from sim.cli.catalog import catalog_command
from sim.cli.estimate import estimate_command
from sim.cli.run import run_command
from sim.cli.show import show_command
from sim.cli.sweep import sweep_command
from sim.cli.trace import trace_command
from sim.cli.validate import validate_app
from sim.errors import ServesimError
from sim.version import __version__

app = typer.Typer(
    name="servesim",
    help="Simulate LLM inference serving: from one config file to latency percentiles, throughput and pictures.",
    invoke_without_command=True,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run_command)
app.command("show")(show_command)
app.command("estimate")(estimate_command)
app.command("catalog")(catalog_command)
app.command("sweep")(sweep_command)
app.command("trace")(trace_command)
app.add_typer(validate_app, name="validate")


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
