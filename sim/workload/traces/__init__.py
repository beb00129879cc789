"""Trace readers, one file each: a path to a table `arrival_s, prompt_tokens, output_tokens[, priority]`.

`READERS` maps the config's `format` to its reader. Every reader checks its own columns; `read_trace` checks the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from sim.errors import InputError
from sim.specs.workload import TraceSpec
from sim.workload.traces import azure, table
from sim.workload.traces.reading import first_bad_line

READERS: dict[str, Callable[[Path], pd.DataFrame]] = {"azure": azure.read, "csv": table.read}


def read_trace(spec: TraceSpec) -> pd.DataFrame:
    """The trace, gaps multiplied by `time_scale`; columns `arrival_s, prompt_tokens, output_tokens, priority`.

    Raises InputError naming the file and line when it is empty, unsorted or malformed.
    """
    path = Path(spec.path)
    trace = READERS[spec.format](path)
    if trace.empty:
        raise InputError(f"{path}: holds no requests; give a trace with at least one line below the header")
    backwards = trace["arrival_s"].diff() < 0
    if backwards.any():
        raise InputError(
            f"{path}, line {first_bad_line(backwards)}: arrives before the line above; sort the trace by time"
        )
    if "priority" not in trace:
        trace["priority"] = 0
    trace["arrival_s"] *= spec.time_scale
    return trace
