"""A folder with a real run: what was sent, when the engine did what, and how it was set up."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from sim.errors import InputError
from sim.study.validate.meta import Meta, Settings, read_meta
from sim.workload.traces.reading import (
    UNREADABLE,
    first_bad_line,
    numbers,
    open_text,
    refuse_where,
    token_counts,
    whole_numbers,
)
from sim.workload.traces.real_run import read_cells

REQUESTS, META, TIMESERIES = "requests.csv", "meta.json", "timeseries.csv"
CLOCKS_AGREE_S = 2e-3
"""The front end's clock and the engine's are on one axis only about as well as this."""


@dataclass(frozen=True)
class RealRun:
    """`requests` has a row a request in order of arrival, its index the line in the file, stamps in seconds since the
    first arrival: `request_id`, `arrival_s`, `prompt_tokens`, `output_tokens`, `queued_s`, `first_token_s`,
    `last_token_s`, and `scheduled_s` where that was recorded. `timeseries`, where there is one, has the numbers of
    requests `running` and `waiting` at `t` seconds.
    """

    folder: Path
    requests_path: Path
    meta: Meta
    settings: Settings
    requests: pd.DataFrame
    timeseries: pd.DataFrame | None

    @property
    def meta_path(self) -> Path:
        """Where its settings are."""
        return self.folder / META


def read_real_run(folder: Path) -> RealRun:
    """The run in `folder`. Raises InputError naming the file and line for what is missing, or cannot have been so."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one with {META} and {REQUESTS} or {REQUESTS}.gz")
    requests_path = _file(folder, REQUESTS)
    if requests_path is None:
        raise InputError(f"{folder}: holds no {REQUESTS} or {REQUESTS}.gz; give the folder of a real run")
    if not (folder / META).is_file():
        raise InputError(f"{folder}: holds no {META}, which says what engine it was; give the folder of a real run")
    meta, settings = read_meta(folder / META)
    requests, zero_s = _read_requests(requests_path)
    if meta.num_requests is not None and meta.num_requests != len(requests):
        raise InputError(
            f"{requests_path}: holds {len(requests)} requests, but num_requests in {folder / META} is "
            f"{meta.num_requests}; complete the file or correct the number"
        )
    timeseries_path = _file(folder, TIMESERIES)
    timeseries = None if timeseries_path is None else _read_timeseries(timeseries_path, zero_s)
    return RealRun(folder, requests_path, meta, settings, requests, timeseries)


def _file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)


# ---- requests -------------------------------------------------------------------------------------------------------


def _read_requests(path: Path) -> tuple[pd.DataFrame, float]:
    """The rows, and the first arrival on the file's own clock, from which their stamps count."""
    cells = read_cells(path, ("request_id", "scheduled_s"))
    if cells.empty:
        raise InputError(f"{path}: holds no requests; give a run with at least one")
    scheduled = [name for name in ("scheduled_s",) if name in cells]
    stamps = ["arrival_s", "queued_s", *scheduled, "first_token_s", "last_token_s"]
    table = pd.DataFrame({name: numbers(cells, name, path) for name in stamps})
    for name in ("prompt_tokens", "output_tokens"):
        table[name] = token_counts(cells, name, path)
    table["request_id"] = range(len(cells))
    if "request_id" in cells:
        table["request_id"] = whole_numbers(cells, "request_id", path)
        twice = table["request_id"].duplicated()
        refuse_where(twice, cells, "request_id", path, "another one than in a row before")
    _check_stamps(table, path, stamps)
    zero_s = float(table["arrival_s"].min())
    table[stamps] -= zero_s
    return table, zero_s


def _check_stamps(table: pd.DataFrame, path: Path, order: list[str]) -> None:
    """Every stamp is of something that came after what is stamped before it."""
    for earlier, later in pairwise(order):
        slack_s = CLOCKS_AGREE_S if earlier == "arrival_s" else 0.0
        bad = table[later] < table[earlier] - slack_s
        if bad.any():
            line = first_bad_line(bad)
            raise InputError(
                f"{path}, line {line}: {later} is {table[later][line]:.15g}, must not be before {earlier} "
                f"{table[earlier][line]:.15g}; correct or remove the row"
            )
    single, instant = table["output_tokens"] == 1, table["first_token_s"] == table["last_token_s"]
    if (single != instant).any():
        line = first_bad_line(single != instant)
        tokens, apart_s = table["output_tokens"][line], (table["last_token_s"] - table["first_token_s"])[line]
        raise InputError(
            f"{path}, line {line}: output_tokens is {tokens}, but first and last token are {apart_s:g} s apart; a "
            "single token is both, and several take time; correct or remove the row"
        )


# ---- what the engine said once a second -----------------------------------------------------------------------------


def _read_timeseries(path: Path, zero_s: float) -> pd.DataFrame:
    """What the engine logged, its `t` since `zero_s` on the same clock."""
    try:
        with open_text(path) as file:
            cells = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (ValueError, *UNREADABLE) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error}); give a plain or gzipped CSV, or none") from None
    missing = [name for name in ("t", "running", "waiting") if name not in cells]
    if missing:
        raise InputError(f"{path}, line 1: this CSV has no column {missing[0]}; add it or remove the file")
    cells.index = pd.Index(np.arange(2, len(cells) + 2))
    table = pd.DataFrame({name: numbers(cells, name, path) for name in ("t", "running", "waiting")})
    for name in table:
        refuse_where(table[name] < 0, cells, str(name), path, ">= 0")
    refuse_where(table["t"].diff() < 0, cells, "t", path, "in order of time")
    if table.empty:
        raise InputError(f"{path}: holds no rows; give the engine's numbers over time or remove the file")
    table["t"] -= zero_s
    return table.reset_index(drop=True)
