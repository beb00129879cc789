"""A plain CSV: arrival_s, prompt_tokens, output_tokens and, if present, priority. Arrivals are seconds >= 0."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sim.workload.traces.reader import Reader, Trace
from sim.workload.traces.reading import numbers, read_columns, refuse_where, token_counts, whole_numbers

KEYS = ("arrival_s", "prompt_tokens", "output_tokens")


def read(path: Path) -> Trace:
    """The trace as it stands in the CSV."""
    return from_cells(read_columns(path, required=KEYS), path)


def from_cells(cells: pd.DataFrame, path: Path) -> Trace:
    """The trace in cells that carry our own column names."""
    table = pd.DataFrame(
        {
            "arrival_s": numbers(cells, "arrival_s", path),
            "prompt_tokens": token_counts(cells, "prompt_tokens", path),
            "output_tokens": token_counts(cells, "output_tokens", path),
        }
    )
    refuse_where(table["arrival_s"] < 0, cells, "arrival_s", path, ">= 0")
    if "priority" in cells:
        table["priority"] = whole_numbers(cells, "priority", path)
    return Trace(table)


READER = Reader(read, KEYS, "csv")
