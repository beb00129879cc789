"""`servesim calibrate`: an accelerator's constants from measured operators, and those from this machine's own GPU."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy
import scipy
import typer

from sim.cli.calibrate_report import print_calibration, word_on
from sim.cli.options import JsonOption, names_in, note, stdout
from sim.config import load_accelerator
from sim.errors import InputError
from sim.specs.yaml_file import dump_yaml
from sim.study.calibrate.calibration import Calibration, calibrate, with_end_to_end
from sim.study.calibrate.end_to_end import fit_end_to_end
from sim.study.calibrate.measure import Timer, measure
from sim.study.calibrate.measure.torch_timer import TorchTimer
from sim.study.calibrate.replayed import replay_errors
from sim.study.calibrate.tables import read_tables
from sim.study.calibrate.tables.plain import write_plain
from sim.study.files import keep, replacing, writing
from sim.study.store import to_json
from sim.version import __version__

MEASURED = Path("measured.csv")
GAP = "gap_s"
PICTURES = (".png", ".pdf", ".svg")


def calibrate_command(
    ops: Annotated[
        list[Path] | None,
        typer.Option("--ops", metavar="FILE…", help="Tables of measured operators: .csv, .csv.gz, .parquet."),
    ] = None,
    more_ops: Annotated[list[Path] | None, typer.Argument(metavar="[FILE…]", help="More of --ops.")] = None,
    accelerator: Annotated[
        str | None, typer.Option(help="The device that was measured: a catalogue name, or a YAML file with its peaks.")
    ] = None,
    runs: Annotated[
        list[Path] | None, typer.Option("--runs", metavar="DIR", help="A recorded run to settle --scalars; repeatable.")
    ] = None,
    scalars: Annotated[str, typer.Option(metavar="S1,S2", help="What --runs settle: gap_s, clock, or both.")] = GAP,
    measure_: Annotated[
        bool, typer.Option("--measure", help="Time operators on this machine's GPU, with PyTorch, and write a table.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="The accelerator as YAML; with --measure, the table as CSV.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Measured against fitted, as .png, .pdf or .svg.")] = None,
    json_: JsonOption = False,
) -> None:
    """Fit an accelerator's constants to operators measured on it; --measure makes the table."""
    files = [*(ops or []), *(more_ops or [])]
    if measure_:
        _refuse_with_measure(files, runs, accelerator, picture)
        _measure(out or MEASURED, json_)
        return
    if not files:
        raise InputError("--ops: none given; give tables of measured operators, or --measure to make one on a GPU here")
    if accelerator is None:
        raise InputError("--accelerator: none given; name the device that was measured, as in servesim catalog")
    _check_outputs(files, out, picture)
    if not runs and scalars != GAP:
        raise InputError(f"--scalars: got {scalars}, but nothing settles it; give --runs, or drop it")
    found = calibrate(read_tables(files), load_accelerator(accelerator), tuple(path.name for path in files))
    if runs:
        scalars_found = fit_end_to_end(found.accelerator, runs, replay_errors, names_in(scalars) or [])
        found = with_end_to_end(found, scalars_found)
    if out is not None:
        _write_accelerator(found, out)
    if picture is not None:
        _draw(found, picture)
    if json_:
        print(to_json(found.to_dict()))
    else:
        print_calibration(stdout, found)
    for path, what in ((out, "the accelerator"), (picture, "the picture")):
        if path is not None:
            note(f"{what} is in {path}")


def _refuse_with_measure(files: list[Path], *others: object) -> None:
    if files or any(others):
        raise InputError(
            "--measure: takes --out and --json alone; measure first, then fit with --ops TABLE --accelerator NAME"
        )


def _check_outputs(files: list[Path], out: Path | None, picture: Path | None) -> None:
    """Neither takes the place of a table, nor the picture that of the accelerator."""
    for output, option in ((out, "--out"), (picture, "--picture")):
        if output is not None:
            keep(output, option, files, "a table that is read")
    if picture is None:
        return
    if picture.suffix.lower() not in PICTURES:
        raise InputError(f"--picture: got {picture}, must end in {' or '.join(PICTURES)}; rename it")
    if out is not None:
        keep(picture, "--picture", [out], "where --out writes the accelerator")


def _write_accelerator(found: Calibration, out: Path) -> None:
    """A whole description, which `--accelerator` and a config's `accelerator:` read."""
    made = (
        f"# servesim {__version__} calibrate, {datetime.now(UTC):%Y-%m-%d}; Python {platform.python_version()}, "
        f"numpy {numpy.__version__}, scipy {scipy.__version__}\n"
    )
    text = made + dump_yaml(found.accelerator.model_dump(exclude_none=True))
    with writing(out), replacing(out) as path:
        path.write_text(text, encoding="utf-8")


def _draw(found: Calibration, picture: Path) -> None:
    from sim import plots  # matplotlib is slow to import and not always wanted

    pairs = {one.operator: (one.measured_s, one.fitted_s, word_on(one)) for one in found.operators}
    title = f"{found.accelerator.name}: {', '.join(found.sources)}"
    with writing(picture, "--picture"), replacing(picture) as path:
        plots.save(plots.calibration_figure(title, pairs), path)


def _measure(out: Path, json_: bool) -> None:
    timer = _timer()
    table = write_plain(measure(timer))
    with writing(out), replacing(out) as path:
        table.to_csv(path, index=False)
    if json_:
        print(to_json({"table": str(out), "rows": len(table)}))
    else:
        print(f"{len(table)} calls of {', '.join(table['operator'].unique())}")
    note(f"the table is in {out}; fit it with servesim calibrate --ops {out} --accelerator NAME --out my_gpu.yaml")


def _timer() -> Timer:
    timer = TorchTimer()
    note(f"timing on {timer.device}, {', '.join(f'{name} {version}' for name, version in timer.versions.items())}")
    return timer
