"""`servesim compare`: configs side by side under the same requests, and how sure their differences are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sim.cli.compare_report import print_comparison
from sim.cli.options import JsonOption, SetOption, names_in, note, stdout
from sim.cli.workers import in_workers
from sim.config import load_experiment
from sim.errors import InputError
from sim.specs.experiment import Experiment
from sim.study.compare import (
    SAME_WITHIN,
    check_metrics,
    check_pairs,
    check_same_within,
    keys,
    plan_comparison,
    run_comparison,
)
from sim.study.compare_words import percent_interval, sentences, spoken
from sim.study.compared import Compared, Difference
from sim.study.files import replacing, writing
from sim.study.replicated import COUNT, LEVEL, check_level
from sim.study.store import keep_inputs, result_folder, to_json
from sim.study.sweep import parse_axis, plan_sweep

RESULT, TABLE, VALUES, PICTURE = "compare.json", "compare.csv", "replications.csv", "compare.png"
FILES = (RESULT, TABLE, VALUES, PICTURE)


def compare_command(
    configs: Annotated[
        list[Path] | None, typer.Argument(help="Experiment files (YAML); all are compared with the first.")
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option("--vary", metavar="KEY=V1,V2,…", help="Compare values of a key of one config; repeatable."),
    ] = None,
    replications: Annotated[int, typer.Option(help="Runs of each config, under seeds of their own.")] = COUNT,
    level: Annotated[float, typer.Option(help="Of the intervals.")] = LEVEL,
    metrics: Annotated[
        str | None, typer.Option(metavar="M1,M2,…", help="What to compare, such as p99_ttft,mean_e2e.")
    ] = None,
    same_within: Annotated[
        float, typer.Option(help="Relative differences up to this are none: 0.02 is 2 %.")
    ] = SAME_WITHIN,
    set_: SetOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the tables and the picture.")] = Path(
        "results/compare"
    ),
    json_: JsonOption = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes; default one per core.")] = os.cpu_count() or 1,
    plots: Annotated[bool, typer.Option(help="Draw the picture.")] = True,
) -> None:
    """Compare configs under common random numbers: the same arrivals and lengths for all, seed by seed."""
    names = names_in(metrics)
    _check_options(replications, level, same_within, names)
    experiments = _experiments(configs or [], set_ or [], vary or [], out)
    labels = dict(zip(keys(len(experiments)), experiments, strict=True))
    keyed = {key: experiments[label] for key, label in labels.items()}
    plan = plan_comparison(keyed, labels, replications, level, names, same_within)
    for experiment in experiments.values():
        keep_inputs(out, experiment, FILES)
    with result_folder(out):
        compared = in_workers(
            min(workers, plan.count * len(plan.experiments)),
            partial(run_comparison, plan),
            "three replications of every config were",
        )
        _write(compared, out, plots)
    if json_:
        print(to_json(_whole(compared)))
    else:
        print_comparison(stdout, compared)
    for text in compared.notes:
        note(text)
    note(f"tables{' and picture' if plots else ''} are in {out}")
    if compared.interrupted:
        note(f"interrupted: {len(compared.seeds)} of {compared.planned} replications are finished and compared")
        raise typer.Exit(130)


def _check_options(count: int, level: float, same_within: float, metrics: Sequence[str] | None) -> None:
    """Messages name the options; everything else is found when the comparison is planned."""
    check_pairs(count, "--replications")
    check_level(level, "--level")
    check_same_within(same_within, "--same-within")
    if metrics is not None:
        check_metrics(metrics, "--metrics")


def _experiments(
    configs: Sequence[Path], overrides: Sequence[str], vary: Sequence[str], out: Path
) -> dict[str, Experiment]:
    """By label: files, or every combination of the varied values of one."""
    if not vary:
        return _of_files(configs, overrides)
    if len(configs) != 1:
        got = ", ".join(map(str, configs)) or "none"
        raise InputError(f"--vary: goes with one config, got {got}; drop --vary, or all configs but one")
    cells = plan_sweep(configs[0], overrides, [parse_axis(text) for text in vary], out)
    return {cell.label: cell.experiment for cell in cells}


def _of_files(configs: Sequence[Path], overrides: Sequence[str]) -> dict[str, Experiment]:
    found: dict[str, Experiment] = {}
    for path in configs:
        if str(path) in found:
            raise InputError(f"{path}: is given twice, and a config cannot differ from itself; drop one")
        found[str(path)] = load_experiment(path, overrides)
    return found


def _whole(compared: Compared) -> dict[str, object]:
    return compared.to_dict() | {"sentences": sentences(compared), "notes": list(compared.notes)}


def _write(compared: Compared, out: Path, plots: bool) -> None:
    with writing(out):
        with replacing(out / RESULT) as path:
            path.write_text(to_json(_whole(compared)) + "\n", encoding="utf-8")
        for name, table in ((TABLE, compared.table()), (VALUES, compared.values())):
            with replacing(out / name) as path:
                table.to_csv(path, index=False)
        (out / PICTURE).unlink(missing_ok=True)
    if plots:
        _draw(compared, out)


def _draw(compared: Compared, out: Path) -> None:
    from sim import plots  # matplotlib is slow to import and not always wanted

    differences = [(metric, one) for metric in compared.metrics for one in metric.differences.values()]
    table = compared.table().assign(
        name=[spoken(metric.name) for metric, _ in differences], text=[_beside(one) for _, one in differences]
    )
    over = f"{100 * compared.level:g} % intervals over {len(compared.seeds)} replications"
    title = f"Differences from {compared.systems[0].key} under the same requests: {over}"
    labels = {system.key: system.label for system in compared.systems}
    figure = plots.compare_figure(title, table, compared.values(), labels, compared.same_within)
    with writing(out), replacing(out / PICTURE) as path:
        plots.save(figure, path)


def _beside(one: Difference | str) -> str:
    """What is written beside a bar."""
    if isinstance(one, str):
        return one
    return "" if one.found.relative is None else percent_interval(one.found.relative)
