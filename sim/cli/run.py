"""`servesim run`: one experiment, its table, its result folder and its pictures."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from sim.cli.describe import describe_run
from sim.cli.options import ConfigArgument, JsonOption, OutOption, SetOption, note, stdout
from sim.cli.progress import progress_bar
from sim.cli.report import print_report
from sim.config import load_experiment
from sim.specs.experiment import Experiment
from sim.study.files import keep, replacing, writing
from sim.study.run import RunResult, run
from sim.study.store import PICTURES, config_hash, keep_inputs, keep_results, result_folder, save, to_json


def run_command(
    config: ConfigArgument,
    set_: SetOption = None,
    out: OutOption = None,
    json_: JsonOption = False,
    schedule_log: Annotated[
        Path | None, typer.Option("--schedule-log", help="Write one JSON line per engine step to this file.")
    ] = None,
    plots: Annotated[bool, typer.Option(help="Draw the pictures.")] = True,
) -> None:
    """Simulate one experiment and write its results."""
    experiment = load_experiment(config, set_ or ())
    folder = out or Path("results") / f"{experiment.name}-{config_hash(experiment)}"
    keep_inputs(folder, experiment)
    if schedule_log is not None:
        inputs = map(Path, experiment.input_files)
        keep(schedule_log, "--schedule-log", inputs, "a file that the run reads")
        keep_results(schedule_log, "--schedule-log", folder)
    with result_folder(folder):
        result = _run(experiment, schedule_log)
        save(result, folder)
        with writing(folder):
            for file_name in PICTURES:
                (folder / file_name).unlink(missing_ok=True)
        if plots:
            _draw(result, folder)
    ours = result.summary["sim"]
    for text in ours["notes"]:
        note(text)
    if json_:
        print(to_json(result.summary))
    else:
        print_report(stdout, result.summary)
    note(f"results are in {folder}")
    if ours["interrupted"]:
        note("interrupted: the results hold the requests that were finished")
        raise typer.Exit(130)


def _run(experiment: Experiment, schedule_log: Path | None) -> RunResult:
    with ExitStack() as stack:
        if schedule_log is None:
            return run(experiment, watch=progress_bar)
        stack.enter_context(writing(schedule_log, "--schedule-log"))
        file = stack.enter_context(schedule_log.open("w", encoding="utf-8"))
        return run(experiment, lambda record: print(json.dumps(record), file=file), progress_bar)


def _draw(result: RunResult, folder: Path) -> None:
    from sim import plots  # matplotlib is slow to import and not always wanted

    ours, title = result.summary["sim"], f"{result.experiment.name}: {describe_run(result.experiment)}"
    figures = (
        plots.latency_figure(title, result.requests, result.token_gaps.sample, ours["metrics"], result.experiment.slo),
        plots.timeline_figure(title, result.requests, result.iterations, ours["kv_cache"]["usable_blocks"]),
        plots.step_time_figure(title, ours["step_time"]),
    )
    with writing(folder):
        for file_name, figure in zip(PICTURES, figures, strict=True):
            with replacing(folder / file_name) as path:
                plots.save(figure, path)
