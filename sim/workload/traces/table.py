"""A plain CSV: arrival_s, prompt_tokens, output_tokens and, if present, priority. Arrivals are seconds >= 0."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sim.errors import InputError
from sim.workload.traces.reading import first_bad_line, numbers, read_columns, token_counts, whole_numbers


def read(path: Path) -> pd.DataFrame:
    """The table `arrival_s, prompt_tokens, output_tokens[, priority]`."""
    cells = read_columns(path, required=("arrival_s", "prompt_tokens", "output_tokens"))
    trace = pd.DataFrame(
        {
            "arrival_s": numbers(cells, "arrival_s", path),
            "prompt_tokens": token_counts(cells, "prompt_tokens", path),
            "output_tokens": token_counts(cells, "output_tokens", path),
        }
    )
    negative = trace["arrival_s"] < 0
    if negative.any():
        line = first_bad_line(negative)
        raise InputError(
            f"{path}, line {line}: arrival_s is {trace['arrival_s'][line - 2]}, must be >= 0; shift the trace"
        )
    if "priority" in cells:
        trace["priority"] = whole_numbers(cells, "priority", path)
    return trace
