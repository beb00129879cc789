"""`servesim capacity`: the highest arrival rate, or number of users, that meets an SLO."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sim.cli.capacity_report import print_capacity
from sim.cli.describe import describe
from sim.cli.options import ConfigArgument, JsonOption, SetOption, note, stderr, stdout
from sim.cli.workers import worker_pool
from sim.config import load_experiment
from sim.specs.experiment import Experiment
from sim.study.capacity import BUDGET, LEVEL, Capacity, capacity
from sim.study.files import replacing, writing
from sim.study.store import config_hash, keep_inputs, result_folder, to_json

PICTURE, TABLE, ANSWER = "capacity.png", "curve.csv", "capacity.json"


def capacity_command(
    config: ConfigArgument,
    slo: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC<SECONDS,…",
            help="Limits that must hold together, such as p99_ttft<0.5,p99_tpot<50ms; default: those of the config.",
        ),
    ] = None,
    attainment: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Share of requests that must keep every limit as their own, such as 0.99."),
    ] = None,
    over: Annotated[
        str | None, typer.Option(metavar="rate|users", help="What is raised; default: users if the loop is closed.")
    ] = None,
    set_: SetOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Result folder; default results/NAME-HASH-capacity.")
    ] = None,
    json_: JsonOption = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default one per core.")] = None,
    level: Annotated[float, typer.Option(help="Confidence level of the interval.")] = LEVEL,
    replications: Annotated[
        int | None, typer.Option(metavar="N", help="Just so many; default: until the interval is within 2 %.")
    ] = None,
    budget: Annotated[int, typer.Option(metavar="REQUESTS", help="Simulate no more requests than this.")] = BUDGET,
    plots: Annotated[bool, typer.Option(help="Draw the picture.")] = True,
) -> None:
    """Find the highest load that meets an SLO, how sure that is, and what binds there."""
    experiment = load_experiment(config, set_ or ())
    folder = out or Path("results") / f"{experiment.name}-{config_hash(experiment)}-capacity"
    keep_inputs(folder, experiment, (PICTURE, TABLE, ANSWER))
    with result_folder(folder):
        with _pool(workers or os.cpu_count() or 1) as pool, _progress() as on_progress:
            try:
                answer = capacity(
                    experiment, slo, attainment=attainment, over=over, level=level, replications=replications,
                    budget_requests=budget, pool=pool, on_progress=on_progress,
                )  # fmt: skip
            except KeyboardInterrupt:
                note("interrupted before the capacity was found; nothing is written")
                raise typer.Exit(130) from None
        _save(answer, experiment, folder, plots)
    for text in answer.notes:
        note(text)
    if json_:
        print(to_json(answer.to_dict()))
    else:
        print_capacity(stdout, answer)
    note(f"curve and picture are in {folder}" if plots else f"the curve is {folder / TABLE}")


@contextmanager
def _pool(workers: int) -> Iterator[Executor | None]:
    """Processes, if more than one is wanted."""
    with worker_pool(workers) if workers > 1 else nullcontext() as pool:
        yield pool


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """How many requests have been simulated; of how many nobody knows."""
    columns = SpinnerColumn(), TextColumn("{task.completed:,.0f} requests simulated"), TimeElapsedColumn()
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as progress:
        task = progress.add_task("simulating", total=None)
        yield lambda simulated, _: progress.update(task, completed=simulated)


def _save(answer: Capacity, experiment: Experiment, folder: Path, plots: bool) -> None:
    with writing(folder):
        with replacing(folder / TABLE) as path:
            answer.table().to_csv(path, index=False)
        with replacing(folder / ANSWER) as path:
            path.write_text(to_json(answer.to_dict()) + "\n", encoding="utf-8")
    if plots:
        _draw(answer, experiment, folder)


def _draw(answer: Capacity, experiment: Experiment, folder: Path) -> None:
    from sim import plots  # matplotlib is slow to import and not always wanted

    figure = plots.capacity_figure(f"{experiment.name}: {describe(experiment)}", answer.to_dict())
    with writing(folder), replacing(folder / PICTURE) as path:
        plots.save(figure, path)
