"""Many runs of one config with some values varied: every combination once, side by side in processes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from sim.config import load_experiment, read_vary
from sim.errors import InputError
from sim.specs.experiment import Experiment
from sim.specs.presets import own_name
from sim.specs.yaml_file import parse_yaml
from sim.study.files import replacing
from sim.study.run import run
from sim.study.store import MANIFEST, finished_summary, result_folder, save, whole
from sim.study.workers import submit

Summary = dict[str, Any]
LATENCIES = ("p50_ttft", "p99_ttft", "p50_tpot", "p99_tpot", "p99_itl", "p50_e2e", "p99_e2e")
TABLE = "sweep.csv"
"""The file that makes a folder that of a sweep."""


@dataclass(frozen=True)
class Axis:
    """A config key and the values it takes."""

    key: str
    values: tuple[Any, ...]

    @property
    def is_numeric(self) -> bool:
        """Whether every value is a number, so that the axis can be drawn."""
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)


@dataclass(frozen=True)
class Cell:
    """One combination: the varied values, the experiment they make, and the folder of its result."""

    values: dict[str, Any]
    experiment: Experiment
    folder: Path

    @property
    def label(self) -> str:
        """`engine.preset=static, workload.arrivals.rate=2`"""
        return ", ".join(f"{key}={value}" for key, value in self.values.items())


def parse_axis(text: str) -> Axis:
    """An axis from `engine.preset=static,orca`; values are read as YAML."""
    key, equals, values = text.partition("=")
    parsed = parse_yaml(f"[{values}]", f"--vary '{text}'") if equals else []
    if not key or not parsed:
        raise InputError(f"--vary '{text}': must be KEY=VALUE,VALUE,… such as engine.preset=static,orca")
    if any(value in parsed[:index] for index, value in enumerate(parsed)):
        raise InputError(f"--vary '{text}': lists a value twice; drop one")
    return Axis(key, tuple(parsed))


def axes_in(config: Path, overrides: Sequence[str]) -> list[Axis]:
    """What the file at `config` varies by itself, under `vary`."""
    return [Axis(key, tuple(values)) for key, values in read_vary(config, overrides).items()]


def plan_sweep(config: Path, overrides: Sequence[str], axes: Sequence[Axis], out: Path) -> list[Cell]:
    """Every combination as a cell; every config is validated before any of them runs."""
    keys = [axis.key for axis in axes]
    if not axes:
        raise InputError(
            "--vary: nothing to vary; give at least one, such as --vary workload.arrivals.rate=1,2,4, or list values "
            f"under vary in {config}"
        )
    for one, other in itertools.permutations(keys, 2):
        if other.startswith(f"{one}."):
            raise InputError(f"--vary: {other} is a part of {one}, which is varied too; drop one")
    cells: list[Cell] = []
    for combination in itertools.product(*(axis.values for axis in axes)):
        values = dict(zip(keys, combination, strict=True))
        settings = [f"{key}={_as_yaml(value)}" for key, value in values.items()]
        try:
            experiment = load_experiment(config, [*overrides, *settings])
        except InputError as error:
            raise InputError(f"{error} (with {', '.join(settings)})") from None
        if len({_own_key(key, experiment.engine.preset) for key in keys}) < len(keys):
            raise InputError(f"--vary: a key is varied twice ({', '.join(keys)}); put all its values into one --vary")
        name, taken = _folder_name(values), {cell.folder.name for cell in cells}
        while name in taken:
            name += "-again"
        cells.append(Cell(values, experiment, out / name))
    return cells


def run_sweep(cells: Iterable[Cell], pool: Executor, on_done: Callable[[Cell], None]) -> dict[str, Summary]:
    """Summaries by cell label, in the order of `cells`. `on_done` hears of each cell as it finishes.

    Cells whose folder already holds this very run are not run again. Every finished cell is on disk when `on_done` is
    called, so an interrupted sweep loses only the cells under way. Raises InputError, when all others are finished, for
    the first cell that refuses to run.
    """
    cells = list(cells)
    summaries: dict[str, Summary] = {}
    futures = {}
    for cell in cells:
        known = _finished(cell)
        if known is None:
            futures[submit(pool, _run_cell, cell)] = cell
        else:
            summaries[cell.label] = known
            on_done(cell)
    refusal: InputError | None = None
    for future in as_completed(futures):
        cell = futures[future]
        try:
            summaries[cell.label] = future.result()
        except InputError as error:
            refusal = refusal or InputError(f"{error} (with {cell.label}; runs that are finished are kept)")
        else:
            on_done(cell)
    if refusal is not None:
        raise refusal
    return {cell.label: summaries[cell.label] for cell in cells}


def sweep_table(cells: Sequence[Cell], summaries: dict[str, Summary]) -> pd.DataFrame:
    """One row per cell: the varied values, then throughput, latencies (seconds) and what explains them."""
    table = pd.DataFrame([_row(summaries[cell.label]) for cell in cells])
    for position, key in enumerate(cells[0].values):
        table.insert(position, key, pd.Series([cell.values[key] for cell in cells], dtype=object))
    return table


def save_sweep_table(table: pd.DataFrame, folder: Path) -> None:
    """Write the table of a sweep into its folder."""
    with replacing(folder / TABLE) as path:
        table.to_csv(path, index=False)


def load_sweep_table(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """The table that a sweep left in its folder, and the keys it varied, whose values are read as text."""
    path = folder / TABLE
    try:
        columns = [str(name) for name in pd.read_csv(path, nrows=0)]
        keys = columns[: columns.index("verdict")]
        return pd.read_csv(path, dtype=dict.fromkeys(keys, str)), keys
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run the sweep again") from None


def is_sweep(folder: Path) -> bool:
    """Whether a sweep was written into `folder`, and no run of its own."""
    return (folder / TABLE).is_file() and not (folder / MANIFEST).is_file()


def runs_of(folder: Path) -> list[str]:
    """The folders of finished runs in a sweep's folder, by name."""
    return sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}"))


def _finished(cell: Cell) -> Summary | None:
    """The summary in the cell's folder, if that holds this very run and the table can be made of it."""
    known = finished_summary(cell.folder, cell.experiment)
    try:
        with whole(cell.folder):
            return known if known and _row(known) and isinstance(known["sim"]["notes"], list) else None
    except InputError:
        return None


def _run_cell(cell: Cell) -> Summary:
    with result_folder(cell.folder):
        result = run(cell.experiment)
        save(result, cell.folder)
    return result.summary


def _row(summary: Summary) -> dict[str, Any]:
    ours = summary["sim"]
    metrics, kv, batch = ours["metrics"], ours["kv_cache"], ours["batch"]
    return {
        "verdict": ours["stability"]["verdict"],
        "slo_met": None if ours["slo"] is None else ours["slo"]["met"],
        "request_throughput": summary["request_throughput"],
        "request_goodput": summary["request_goodput"],
        "output_throughput": summary["output_throughput"],
        **{name: metrics[name] for name in LATENCIES},
        "mean_running": batch["mean_running"],
        "idle_slot_fraction": batch["idle_slot_fraction"],
        "kv_mean_used_fraction": kv["mean_used_fraction"],
        "kv_wasted_fraction": _sum_or_none(kv["reserved_waste_fraction"], kv["internal_waste_fraction"]),
        "preemptions": kv["preemptions"],
        "step_time_bound": _largest(ours["step_time"]["share_by_resource"]),
        "queue_blocked_by": _largest(batch["queue_blocked_by"]),
    }


def _largest(shares: dict[str, float]) -> str | None:
    """The name with the largest share."""
    return max(shares, key=lambda name: shares[name], default=None)


def _sum_or_none(*parts: float | None) -> float | None:
    return None if None in parts else sum(part for part in parts if part is not None)


def _own_key(key: str, preset: str) -> str:
    """`engine.order` for `engine.scheduling_policy`, in the words of a preset."""
    section, _, name = key.partition(".")
    return f"engine.{own_name(name, preset)}" if section == "engine" else key


def _as_yaml(value: Any) -> str:
    """On one line, as an override needs it."""
    return yaml.safe_dump(value, default_flow_style=True, width=math.inf).split("\n")[0]


def _folder_name(values: dict[str, Any]) -> str:
    """`preset-static_rate-2`: the last part of each key with its value, safe as a file name."""
    parts = [f"{key.rpartition('.')[2]}-{value}" for key, value in values.items()]
    return "_".join("".join(c if c.isalnum() or c in "._-" else "-" for c in part) for part in parts)[:100]
