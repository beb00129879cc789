"""`servesim sensitivity`: which numbers of a config matter, how much, and how far the cost model may be off."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sim.cli.options import ConfigArgument, JsonOption, SetOption, names_in, note, stdout
from sim.cli.sensitivity_report import print_sensitivity
from sim.cli.workers import in_workers
from sim.config import load_experiment
from sim.study.compare import check_metrics, check_pairs
from sim.study.compare_words import spoken
from sim.study.files import replacing, writing
from sim.study.replicated import COUNT, LEVEL, check_level
from sim.study.sensitivity import STEP, check_step, plan_sensitivity, run_sensitivity
from sim.study.sensitivity.result import Sensitivity
from sim.study.store import keep_inputs, result_folder, to_json

RESULT, TABLE, PICTURE = "sensitivity.json", "sensitivity.csv", "tornado.png"
FILES = (RESULT, TABLE, PICTURE)


def sensitivity_command(
    config: ConfigArgument,
    inputs: Annotated[
        str | None,
        typer.Option(metavar="K1,K2,…", help="Numbers of the config to vary, such as workload.arrivals.rate."),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="M1,M2,…", help="What to look at, such as p99_ttft,mean_e2e.")
    ] = None,
    step: Annotated[float, typer.Option(help="By what share each input is made lower and higher.")] = STEP,
    replications: Annotated[int, typer.Option(help="Runs of each variant, under seeds of their own.")] = COUNT,
    level: Annotated[float, typer.Option(help="Of the intervals.")] = LEVEL,
    set_: SetOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the table and the picture.")] = Path(
        "results/sensitivity"
    ),
    json_: JsonOption = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes; default one per core.")] = os.cpu_count() or 1,
    plots: Annotated[bool, typer.Option(help="Draw the picture.")] = True,
) -> None:
    """Elasticities: by how many per cent a metric changes when a number of the config does by one."""
    check_pairs(replications, "--replications")
    check_level(level, "--level")
    check_step(step, "--step")
    names, keys = names_in(metrics), names_in(inputs)
    if names is not None:
        check_metrics(names, "--metrics")
    experiment = load_experiment(config, set_ or [])
    plan = plan_sensitivity(experiment, keys, names, step, replications, level)
    keep_inputs(out, experiment, FILES)
    with result_folder(out):
        found = in_workers(
            min(workers, plan.count * len(plan.systems)),
            partial(run_sensitivity, plan),
            "three replications of every variant were",
        )
        _write(found, out, plots)
    if json_:
        print(to_json(_whole(found)))
    else:
        print_sensitivity(stdout, found)
    for text in found.notes:
        note(text)
    note(f"{'table and picture are' if plots else 'the table is'} in {out}")
    if found.interrupted:
        note(f"interrupted: {len(found.seeds)} of {found.planned} replications are finished")
        raise typer.Exit(130)


def _whole(found: Sensitivity) -> dict[str, object]:
    return found.to_dict() | {"notes": list(found.notes)}


def _write(found: Sensitivity, out: Path, plots: bool) -> None:
    with writing(out):
        with replacing(out / RESULT) as path:
            path.write_text(to_json(_whole(found)) + "\n", encoding="utf-8")
        with replacing(out / TABLE) as path:
            found.table().to_csv(path, index=False)
        (out / PICTURE).unlink(missing_ok=True)
    if plots:
        from sim import plots as pictures  # matplotlib is slow to import and not always wanted

        over = f"{100 * found.level:g} % intervals over {len(found.seeds)} replications"
        title = f"{found.experiment.name}: % of change per % of change of an input; {over}"
        names = {name: spoken(name) for name in found.elasticities}
        table = found.table().replace({"input": {one.key: one.label for one in found.inputs}})
        with writing(out), replacing(out / PICTURE) as path:
            pictures.save(pictures.tornado_figure(title, table, names), path)
