"""`servesim sweep`: every combination of varied values, one table and one picture."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from sim.cli.describe import describe, prompts_and_decodes, rate_unit, traffic
from sim.cli.options import ConfigArgument, JsonOption, SetOption, note, stdout
from sim.cli.sweep_report import print_sweep
from sim.cli.workers import runs_bar, worker_pool
from sim.specs import catalogue
from sim.specs.experiment import Experiment
from sim.study.files import replacing, writing
from sim.study.narrate import narrate
from sim.study.store import keep_inputs, result_folder, to_json
from sim.study.sweep import (
    TABLE,
    Axis,
    Cell,
    Summary,
    axes_in,
    parse_axis,
    plan_sweep,
    run_sweep,
    save_sweep_table,
    sweep_table,
)

PICTURE = "sweep.png"
RATE = "workload.arrivals.rate"
USERS = "workload.arrivals.users"
SAID_BY_NAME = ("engine.preset", "model", "accelerator")
MOST_ROWS = 100
"""Runs in a picture with a row each."""
VARIES_NOTHING = "vary={}"
"""Makes the file that of one run, whose varied values come on top."""


def sweep_command(
    config: ConfigArgument,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="KEY=V1,V2,…",
            help="Values a key takes; repeatable; default what the file lists under vary.",
        ),
    ] = None,
    set_: SetOption = None,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the table, the picture and one folder per run.")
    ] = Path("results/sweep"),
    json_: JsonOption = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes; default one per core.")] = os.cpu_count() or 1,
) -> None:
    """Run every combination of the varied values; runs already finished in the folder are not repeated."""
    overrides = set_ or []
    axes = [parse_axis(text) for text in vary] if vary else axes_in(config, overrides)
    cells = plan_sweep(config, [*overrides, VARIES_NOTHING], axes, out)
    for cell in cells:
        keep_inputs(cell.folder, cell.experiment)
        keep_inputs(out, cell.experiment, (TABLE, PICTURE))
    slo = _shared_slo(cells)
    with result_folder(out):
        summaries = _run_cells(cells, workers)
        table = sweep_table(cells, summaries)
        with writing(out):
            save_sweep_table(table, out)
        picture = _draw(table, axes, cells, slo, out)
    if json_:
        print(to_json([_json_ready(row) for row in table.astype(object).to_dict("records")]))
    else:
        print_sweep(stdout, table, [axis.key for axis in axes])
    for text in dict.fromkeys(text for summary in summaries.values() for text in summary["sim"]["notes"]):
        note(text)
    series, x = _roles(axes)
    if series and x and len(axes) == 2 and x.key == RATE:
        note(narrate(table, series.key, x.key, rate_unit(cells[0].experiment.workload), slo))
    note(f"table and runs are in {out}" + (f", the picture is {picture}" if picture else ""))


def _shared_slo(cells: list[Cell]) -> dict[str, float]:
    """The SLO that all runs have; none where it is varied."""
    slo = cells[0].experiment.slo
    return slo if all(cell.experiment.slo == slo for cell in cells) else {}


def _run_cells(cells: list[Cell], workers: int) -> dict[str, Summary]:
    """All cells in a process pool behind a progress bar; Ctrl-C ends the workers and keeps what is finished."""
    done = 0
    with worker_pool(min(workers, len(cells))) as pool, runs_bar() as show:

        def advance(_: Cell) -> None:
            nonlocal done
            done += 1
            show(done, len(cells))

        show(done, len(cells))
        try:
            return run_sweep(cells, pool, advance)
        except KeyboardInterrupt:
            note(f"interrupted: {done} of {len(cells)} runs are finished and kept; the same command resumes")
            raise typer.Exit(130) from None


def _json_ready(row: dict[Any, Any]) -> dict[str, Any]:
    """JSON has neither NaN nor infinity: what could not be measured is null, an infinite setting is text."""
    infinite = {key: str(value) for key, value in row.items() if value in (math.inf, -math.inf)}
    missing = {key: None for key, value in row.items() if isinstance(value, float) and math.isnan(value)}
    return row | infinite | missing


def _roles(axes: list[Axis]) -> tuple[Axis | None, Axis | None]:
    """Which axis makes the lines of the picture and which its horizontal axis: the rate, else the last numeric one."""
    numeric = [axis for axis in axes if axis.is_numeric and len(axis.values) > 1]
    numeric.sort(key=lambda axis: axis.key == RATE)
    x = numeric[-1] if numeric else None
    others = [axis for axis in axes if axis is not x]
    return (others[0] if others else None), x


def _draw(table: pd.DataFrame, axes: list[Axis], cells: list[Cell], slo: dict[str, float], out: Path) -> Path | None:
    """Latency and throughput against a varied number; where none is varied, the runs one below the other."""
    _, x = _roles(axes)
    (out / PICTURE).unlink(missing_ok=True)
    if x is None and not 1 < len(cells) <= MOST_ROWS:
        return None
    from sim import plots  # matplotlib is slow to import and not always wanted

    experiment = cells[0].experiment
    title = f"{experiment.name}{_what_all_have(axes, experiment)}"
    if x is None:
        groups = [prompts_and_decodes(cell.experiment.engine) for cell in cells]
        rows = table.assign(label=[_row_name(axes, cell) for cell in cells], group=groups)
        figure = plots.runs_figure(title, rows, slo)
    else:
        lines = [
            ", ".join(_line_name(axis, row[axis.key]) for axis in axes if axis is not x) for _, row in table.iterrows()
        ]
        figure = plots.sweep_figure(title, table.assign(line=lines), "line", x.key, _x_label(x.key, experiment), slo)
    with writing(out), replacing(out / PICTURE) as path:
        plots.save(figure, path)
    return out / PICTURE


def _what_all_have(axes: list[Axis], experiment: Experiment) -> str:
    """The model and the machine, if they are not varied, and the traffic."""
    varied = {axis.key.partition(".")[0] for axis in axes} | {axis.key for axis in axes}
    if not varied.isdisjoint({"model", "accelerator", "engine.tensor_parallel_size"}):
        return ""
    return f": {describe(experiment)}" + ("" if "workload" in varied else f", {traffic(experiment.workload)}")


def _row_name(axes: list[Axis], cell: Cell) -> str:
    """What is particular about a run: names by themselves, other values with their key."""
    values = {axis.key: cell.values[axis.key] for axis in axes if len(axis.values) > 1}
    return ", ".join(
        str(value) if key in SAID_BY_NAME else f"{key.rpartition('.')[2]} {value}" for key, value in values.items()
    )


def _x_label(key: str, experiment: Experiment) -> str:
    """How the picture names what its horizontal axis shows; most keys by themselves."""
    return {RATE: f"arrival rate ({rate_unit(experiment.workload)})", USERS: "users"}.get(key, key)


def _line_name(axis: Axis, value: object) -> str:
    """A line's part of the legend; presets of the catalogue say in words what they are."""
    if axis.key == "engine.preset" and str(value) in catalogue.names("engines"):
        return f"{value}: {catalogue.entry('engines', str(value), axis.key)['summary']}"
    return f"{axis.key.rpartition('.')[2]} {value}"
