"""`servesim validate`: hold the program against what real systems did."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sim.cli.options import JsonOption
from sim.errors import CheckFailed, InputError
from sim.study.recordings import read_recording
from sim.study.replay import Comparison, compare_with
from sim.study.store import to_json

validate_app = typer.Typer(
    name="validate", help="Compare with recordings of real systems.", no_args_is_help=True, add_completion=False
)


@validate_app.callback()
def _group() -> None:
    """Compare with recordings of real systems."""


@validate_app.command("schedule")
def schedule_command(
    files: Annotated[list[Path], typer.Argument(help="Recorded schedules (.jsonl or .jsonl.gz).", show_default=False)],
    json_: JsonOption = False,
) -> None:
    """Replay recorded schedules by call and compare every step; exit code 1 if one differs."""
    comparisons: dict[str, Comparison] = {}
    refusals: dict[str, str] = {}
    for path in files:
        try:
            comparisons[str(path)] = compare_with(read_recording(path))
        except InputError as error:
            refusals[str(path)] = str(error)
    if json_:
        print(to_json({path: asdict(comparison) for path, comparison in comparisons.items()}))
    else:
        for name, comparison in comparisons.items():
            print(f"{name}: {_verdict(comparison)}")
    differing = sum(comparison.difference is not None for comparison in comparisons.values())
    if refusals:
        raise InputError("; ".join(refusals.values()))
    if differing:
        raise CheckFailed(f"{differing} of {len(files)} recordings differ from our schedule")


def _verdict(comparison: Comparison) -> str:
    difference = comparison.difference
    if difference is None:
        return f"equal {comparison.equal_steps}/{comparison.steps} steps"
    where = "in the totals" if difference.step is None else f"at step {difference.step}"
    return (
        f"equal {comparison.equal_steps}/{comparison.steps} steps; first difference {where}, {difference.key}: "
        f"ours {difference.ours!r}, theirs {difference.theirs!r}"
    )
