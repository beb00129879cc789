"""A plain CSV: arrival_s, prompt_tokens, output_tokens and any of OPTIONAL_KEYS. Arrivals are seconds >= 0."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sim.workload.traces.reader import Reader, Trace
from sim.workload.traces.reading import numbers, optional_columns, read_columns, refuse_where, token_counts

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
    return Trace(table.assign(**optional_columns(cells, path)))


READER = Reader(read, KEYS, "csv")
