"""`servesim show`: the report of a run or sweep that is already on disk, or a run's in the words of another tool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sim.cli.options import note, stdout
from sim.cli.report import interruption, print_report
from sim.cli.sweep_report import print_sweep
from sim.errors import InputError, did_you_mean
from sim.metrics.dialects import DIALECTS
from sim.study.files import replacing, writing
from sim.study.store import keep_results, load_requests, load_summary, whole
from sim.study.sweep import is_sweep, load_sweep_table, runs_of

TOOLS = "|".join(DIALECTS)


def show_command(
    folder: Annotated[Path, typer.Argument(help="Result folder of a run or a sweep.", show_default=False)],
    as_: Annotated[
        str | None, typer.Option("--as", metavar=TOOLS, help="Write the result as this benchmark would.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File for --as; default standard output.")] = None,
) -> None:
    """Print the report of a finished run or sweep again, or a run's result in the form of another tool."""
    if as_ is None:
        _refuse_file(out)
        if is_sweep(folder):
            _report_sweep(folder)
        else:
            _report(folder)
    else:
        _translate(folder, as_, out)


def _refuse_file(out: Path | None) -> None:
    if out is not None:
        raise InputError(f"--out: got {out}, which needs --as {TOOLS}; the report itself goes to the terminal")


def _report_sweep(folder: Path) -> None:
    with whole(folder):
        print_sweep(stdout, *load_sweep_table(folder))
    note(f"{folder} holds a sweep; to see one of its runs: servesim show {folder}/RUN ({', '.join(runs_of(folder))})")


def _report(folder: Path) -> None:
    summary = load_summary(folder)
    with whole(folder):
        notes, interrupted = list(summary["sim"]["notes"]), interruption(summary)
        for text in notes:
            note(text)
        print_report(stdout, summary)
    if interrupted:
        note(interrupted)


def _translate(folder: Path, tool: str, out: Path | None) -> None:
    """One line of JSON, which is what vLLM and SGLang write; SGLang's file is one of such lines."""
    if tool not in DIALECTS:
        raise InputError(f"--as: got '{tool}'; {did_you_mean(tool, DIALECTS)}")
    if is_sweep(folder):
        runs = ", ".join(runs_of(folder))
        raise InputError(f"{folder}: holds a sweep, and --as {tool} writes a single run; give one of its runs: {runs}")
    with whole(folder):
        line = json.dumps(DIALECTS[tool](load_summary(folder), load_requests(folder)), allow_nan=False)
    if out is None:
        print(line)
        return
    keep_results(out, "--out", folder)
    with writing(out), replacing(out) as path:
        path.write_text(line + "\n", encoding="utf-8")
    note(f"the result as {tool} writes it is in {out}")
