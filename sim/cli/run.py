"""`servesim run`: one experiment, once or many times, its table, its result folder and its pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from sim.cli.model_uncertainty import draws_for, with_model_uncertainty
from sim.cli.options import ConfigArgument, JsonOption, OutOption, SetOption, note, stdout
from sim.cli.pictures import draw_replicated, draw_run, remove_pictures
from sim.cli.progress import progress_bar
from sim.cli.replicated import Wish, run_replicated, wish_for
from sim.cli.report import interruption, print_report
from sim.config import load_experiment
from sim.errors import InputError
from sim.specs.experiment import Experiment
from sim.study.files import keep, writing
from sim.study.replicated import LEVEL
from sim.study.run import RunResult, run
from sim.study.store import config_hash, keep_inputs, keep_results, result_folder, save, to_json
from sim.study.within_run import certainty

Draw = Callable[[Path], None]


def run_command(
    config: ConfigArgument,
    set_: SetOption = None,
    out: OutOption = None,
    json_: JsonOption = False,
    schedule_log: Annotated[
        Path | None, typer.Option("--schedule-log", help="Write one JSON line per engine step to this file.")
    ] = None,
    plots: Annotated[bool, typer.Option(help="Draw the pictures.")] = True,
    replications: Annotated[
        int | None, typer.Option(metavar="N", help="Run N times, under N seeds, for confidence intervals.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC:PERCENT,…",
            help="Run until intervals are that narrow, such as p99_ttft:5%; at most --replications times, or 100.",
        ),
    ] = None,
    model_uncertainty: Annotated[
        int | None,
        typer.Option(metavar="N", help="Run N times more with the cost model's constants drawn within their errors."),
    ] = None,
    level: Annotated[float, typer.Option(help="Confidence level of the intervals.")] = LEVEL,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes for several runs; default one per core.")
    ] = None,
) -> None:
    """Simulate one experiment and write its results; with replications also how sure they are."""
    experiment = load_experiment(config, set_ or ())
    draws = draws_for(experiment, model_uncertainty, level, workers, replications, until)
    wish = None if draws else wish_for(experiment, replications, until, level, workers)
    name = f"{experiment.name}-{config_hash(experiment)}" + ("-replicated" if wish else "")
    folder = out or Path("results") / name
    keep_inputs(folder, experiment)
    _check_schedule_log(schedule_log, experiment, folder, wish)
    with result_folder(folder):
        result, draw = _replicated(experiment, wish) if wish else _single(experiment, schedule_log, level)
        if draws and not result.summary["sim"]["interrupted"]:
            result = with_model_uncertainty(result, draws)
        if not save(result, folder):
            note(f"interrupted: the finished result in {folder} stays as it is")
            raise typer.Exit(130)
        remove_pictures(folder)
        if plots:
            draw(folder)
    _tell(result, folder, json_)


def _check_schedule_log(path: Path | None, experiment: Experiment, folder: Path, wish: Wish | None) -> None:
    if path is None:
        return
    if wish is not None:
        raise InputError(
            f"--schedule-log: got {path}, but that is the log of a single run; drop it, or --replications and --until"
        )
    keep(path, "--schedule-log", map(Path, experiment.input_files), "a file that the run reads")
    keep_results(path, "--schedule-log", folder)


def _tell(result: RunResult, folder: Path, json_: bool) -> None:
    """Notes, the report, and whether it was Ctrl-C that ended it."""
    for text in result.summary["sim"]["notes"]:
        note(text)
    if json_:
        print(to_json(result.summary))
    else:
        print_report(stdout, result.summary)
    note(f"results are in {folder}")
    interrupted = interruption(result.summary)
    if interrupted:
        note(interrupted)
        raise typer.Exit(130)


def _replicated(experiment: Experiment, wish: Wish) -> tuple[RunResult, Draw]:
    replicated = run_replicated(experiment, wish)
    return replicated.result(), lambda folder: draw_replicated(replicated, folder)


def _single(experiment: Experiment, schedule_log: Path | None, level: float) -> tuple[RunResult, Draw]:
    """A run, and the intervals that it carries by itself."""
    result = _run(experiment, schedule_log)
    found = certainty(result, level)
    told = {
        "intervals": {name: asdict(interval) for name, interval in found.intervals.items()},
        "no_intervals": found.refused,
    }
    result = replace(result, summary=result.summary | {"sim": result.summary["sim"] | told})
    return result, lambda folder: draw_run(result, found.intervals, folder)


def _run(experiment: Experiment, schedule_log: Path | None) -> RunResult:
    with ExitStack() as stack:
        if schedule_log is None:
            return run(experiment, watch=progress_bar)
        stack.enter_context(writing(schedule_log, "--schedule-log"))
        file = stack.enter_context(schedule_log.open("w", encoding="utf-8"))
        return run(experiment, lambda record: print(json.dumps(record), file=file), progress_bar)
