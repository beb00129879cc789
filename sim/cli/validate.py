"""`servesim validate`: hold the program against what real systems did, step by step or in seconds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sim.cli.options import JsonOption, SetOption, note, stdout
from sim.cli.progress import progress_bar
from sim.cli.validate_report import print_validation, title_of
from sim.errors import CheckFailed, InputError
from sim.study.files import replacing, writing
from sim.study.replay import Comparison, compare_file
from sim.study.store import keep_inputs, result_folder, to_json
from sim.study.validate import SKIP, Validation, validate_run
from sim.study.validate.compare import LATENCIES

RESULT, REQUESTS, CURVES = "validation.json", "latencies.csv", "curves.csv"
PICTURES = ("latencies.png", "requests.png", "curves.png")
FILES = (RESULT, REQUESTS, CURVES, *PICTURES)

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
            comparisons[str(path)] = compare_file(path)
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


@validate_app.command("run")
def run_command(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with requests.csv(.gz) and meta.json.", show_default=False)
    ],
    set_: SetOption = None,
    skip: Annotated[int, typer.Option(help="Latencies leave out so many first requests, for the warm-up.")] = SKIP,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for tables and pictures; default results/validate-NAME.")
    ] = None,
    json_: JsonOption = False,
    plots: Annotated[bool, typer.Option(help="Draw the pictures.")] = True,
) -> None:
    """Replay a run of a real engine and say how far latencies, throughput and queues are off."""
    validation = validate_run(directory, set_ or (), skip=skip, watch=progress_bar)
    folder = out or Path("results") / f"validate-{validation.experiment.name}"
    keep_inputs(folder, validation.experiment, FILES)
    with result_folder(folder):
        _write(validation, folder, plots)
    if json_:
        print(to_json(validation.to_dict()))
    else:
        print_validation(stdout, validation)
    for text in validation.notes:
        note(text)
    note(f"{'tables and pictures' if plots else 'the tables'} are in {folder}")


def _write(validation: Validation, folder: Path, plots: bool) -> None:
    with writing(folder):
        with replacing(folder / RESULT) as path:
            path.write_text(to_json(validation.to_dict()) + "\n", encoding="utf-8")
        for name, table in ((REQUESTS, validation.requests), (CURVES, validation.curves)):
            with replacing(folder / name) as path:
                table.to_csv(path, index=False)
        for name in PICTURES:
            (folder / name).unlink(missing_ok=True)
    if plots:
        _draw(validation, folder)


def _draw(validation: Validation, folder: Path) -> None:
    from sim import plots as pictures  # matplotlib is slow to import and not always wanted

    title = title_of(validation)
    errors = {name: {key: pair.error for key, pair in validation.metrics[name].items()} for name in LATENCIES}
    figures = (
        pictures.validation_latencies_figure(title, validation.requests, errors, LATENCIES),
        pictures.validation_requests_figure(title, validation.requests),
        pictures.validation_curves_figure(title, validation.curves),
    )
    with writing(folder):
        for name, figure in zip(PICTURES, figures, strict=True):
            with replacing(folder / name) as path:
                pictures.save(figure, path)
