"""Trace readers, one file each: a path to a `Trace`.

`READERS` maps the config's `format` to its reader. Every reader checks its own columns; `read_trace` checks the rest.
"""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from sim.errors import InputError
from sim.specs.workload import TraceSpec
from sim.streams import stream
from sim.workload.traces import azure, bailian, burstgpt, json_table, mooncake, real_run, table
from sim.workload.traces.reader import Reader, Trace
from sim.workload.traces.reading import UNREADABLE, first_bad_line, open_text

READERS: dict[str, Reader] = {
    "azure": azure.READER,
    "bailian": bailian.READER,
    "burstgpt": burstgpt.READER,
    "csv": table.READER,
    "jsonl": json_table.READER,
    "mooncake": mooncake.READER,
    "real_run": real_run.READER,
}
LEAST_REQUESTS_TO_JUDGE = 20
SLOWEST_PER_S, FASTEST_PER_S = 0.005, 1000.0
"""Requests per second beyond which a bare time stamp was surely written in another unit; published traces, of whole
services, lie between 0.3 and 10."""
SLOW_PER_S, FAST_PER_S = 0.05, 100.0
"""Requests per second beyond which it perhaps was, which is worth a note."""
LATEST_S = 2.0**32
"""136 years, as far as a clock of microseconds reaches: whatever lies beyond is no time in seconds."""
CALENDAR_S = 1e7
"""Four months: stamps that begin later are of a calendar (Unix time), whose digits leave no room for microseconds."""
REQUESTS_A_TICK = 4


def read_trace(spec: TraceSpec, seed: int = 0) -> Trace:
    """The trace, arrivals spread by `jitter_s` (drawn under `seed`), then gaps multiplied by `time_scale`.

    Raises InputError naming the file and line when it is empty, unsorted, malformed or in another unit of time.
    """
    path = Path(spec.path)
    trace = READERS[spec.format].read(path)
    if trace.table.empty:
        raise InputError(f"{path}: holds no requests; give a trace with at least one")
    rows = trace.table if "priority" in trace.table else trace.table.assign(priority=0)
    backwards = rows["arrival_s"].diff() < 0
    if backwards.any():
        raise InputError(
            f"{path}, line {first_bad_line(backwards)}: arrives before the line above; sort the trace by time"
        )
    late = rows["arrival_s"] > LATEST_S
    if late.any():
        line = first_bad_line(late)
        raise InputError(
            f"{path}, line {line}: arrives {rows['arrival_s'][line]:.6g} s after the start, must be at most "
            f"{LATEST_S:.0f} s (136 years); correct the time stamp or its unit"
        )
    notes = trace.notes + _unit_notes(path, spec.format, rows["arrival_s"])
    first_s = float(rows["arrival_s"].iloc[0])
    if first_s > CALENDAR_S:
        rows = rows.assign(arrival_s=rows["arrival_s"] - first_s)
        notes += (f"arrivals of {path.name} count from the first, which its clock puts at {first_s:.15g} s",)
    if not spec.jitter_s:
        notes += _tick_notes(rows["arrival_s"])
    if spec.jitter_s:
        jitter_s = stream(seed, "trace_jitter").uniform(0, spec.jitter_s, size=len(rows))
        rows = rows.assign(arrival_s=rows["arrival_s"] + jitter_s).sort_values("arrival_s", kind="stable")
    return replace(trace, table=rows.assign(arrival_s=rows["arrival_s"] * spec.time_scale), notes=notes)


def guess_format(path: Path) -> str:
    """The format whose columns or keys the first line of the file has; of several, the one with the most."""
    try:
        with open_text(path) as file:
            first = file.readline()
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read ({error}); give a plain or gzipped trace") from None
    syntax, found = _header(first)
    fitting = [name for name, reader in READERS.items() if reader.syntax == syntax and found.issuperset(reader.keys)]
    if not fitting:
        known = "; ".join(f"{name} {', '.join(reader.keys)}" for name, reader in READERS.items())
        raise InputError(f"{path}, line 1: has the columns or keys of no known trace; give the format ({known})")
    return max(fitting, key=lambda name: len(READERS[name].keys))


def _header(line: str) -> tuple[str, set[str]]:
    """(csv or jsonl, the columns or keys) that a file's first line shows."""
    is_json = line.lstrip().startswith("{")
    try:
        found = json.loads(line) if is_json else next(csv.reader([line]), [])
    except (ValueError, RecursionError, csv.Error):
        found = []
    return "jsonl" if is_json else "csv", set(found)


def _unit_notes(path: Path, trace_format: str, arrival_s: pd.Series[float]) -> tuple[str, ...]:
    """Refuse bare time stamps that give no credible rate, remark on an odd one; formats that name their unit are
    believed."""
    unit, span_s = READERS[trace_format].stamp_unit, float(arrival_s.iloc[-1])
    if unit is None or span_s == 0 or len(arrival_s) < LEAST_REQUESTS_TO_JUDGE:
        return ()
    rate = (len(arrival_s) - 1) / span_s
    if not SLOWEST_PER_S <= rate <= FASTEST_PER_S:
        raise InputError(
            f"{path}: {len(arrival_s)} requests in {span_s:.6g} s are {rate:.3g} requests/s, must be {SLOWEST_PER_S:g} "
            f"to {FASTEST_PER_S:g}: format {trace_format} reads its time stamps in {unit}; convert them to {unit}, or "
            "use format csv or jsonl, whose arrival_s is in seconds"
        )
    if SLOW_PER_S <= rate <= FAST_PER_S:
        return ()
    return (
        f"{path.name} has {rate:.3g} requests/s if its time stamps are in {unit}, as format {trace_format} has them; "
        "is that their unit?",
    )


def _tick_notes(arrival_s: pd.Series[float]) -> tuple[str, ...]:
    """A remark on time stamps so coarse that requests come in heaps."""
    ticks = arrival_s.unique()
    if len(ticks) < 2 or len(arrival_s) < max(LEAST_REQUESTS_TO_JUDGE, REQUESTS_A_TICK * len(ticks)):
        return ()
    apart_s = float(np.median(np.diff(ticks)))
    return (
        f"{len(arrival_s)} requests share {len(ticks)} time stamps about {apart_s:.3g} s apart; "
        f"workload.trace.jitter_s {apart_s:.3g} spreads them",
    )
