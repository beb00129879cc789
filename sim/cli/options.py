"""Arguments and options that several verbs share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sim.errors import printable

ConfigArgument = Annotated[Path, typer.Argument(help="Experiment file (YAML).", show_default=False)]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value, such as engine.max_num_seqs=128; repeatable."),
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Result folder; default results/NAME-HASH.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON and nothing else on standard output.")
]

WIDTH_IN_FILES = 120
stdout = Console(width=None if sys.stdout is not None and sys.stdout.isatty() else WIDTH_IN_FILES, emoji=False)
stderr = Console(stderr=True, emoji=False)


def names_in(text: str | None) -> list[str] | None:
    """The names in `a, b`; None where none were asked for."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def note(text: str) -> None:
    """A remark that is not the result: to standard error."""
    stderr.print(f"note: {printable(text)}", highlight=False, markup=False, soft_wrap=True)
