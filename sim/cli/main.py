"""The `servesim` command, one file a verb. Errors are one message on standard error; exit 1 a check, 2 bad input."""

from __future__ import annotations

import os
import sys

import typer

from sim.cli.run import run_command
from sim.cli.sweep import sweep_command
from sim.cli.validate import validate_app
from sim.errors import ServesimError

app = typer.Typer(
    name="servesim",
    help="Simulate LLM inference serving: from one config file to latency percentiles, throughput and pictures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run_command)
app.command("sweep")(sweep_command)
app.add_typer(validate_app, name="validate")


def main() -> None:
    """Run the command line; never shows a traceback for something the user can mend."""
    try:
        app()
    except ServesimError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
