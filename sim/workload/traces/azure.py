"""The Azure LLM inference trace (Azure/AzurePublicDataset): TIMESTAMP, ContextTokens, GeneratedTokens.

TIMESTAMP is a UTC date and time with up to seven decimals; arrivals count from the first row.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sim.errors import InputError
from sim.workload.traces.reading import first_bad_line, read_columns, token_counts


def read(path: Path) -> pd.DataFrame:
    """The table `arrival_s, prompt_tokens, output_tokens`."""
    cells = read_columns(path, required=("TIMESTAMP", "ContextTokens", "GeneratedTokens"))
    written = cells["TIMESTAMP"].where(cells["TIMESTAMP"].str.match(r"\d{4}-\d\d-\d\d"))
    stamps = pd.to_datetime(written, errors="coerce", format="ISO8601", utc=True)
    if stamps.isna().any():
        line = first_bad_line(stamps.isna())
        raise InputError(
            f"{path}, line {line}: TIMESTAMP is '{cells['TIMESTAMP'][line - 2]}', "
            "must be a date and time such as 2023-11-16 18:15:46.6805900; correct or remove the row"
        )
    return pd.DataFrame(
        {
            "arrival_s": (stamps - stamps.min()).dt.total_seconds(),
            "prompt_tokens": token_counts(cells, "ContextTokens", path),
            "output_tokens": token_counts(cells, "GeneratedTokens", path),
        }
    )
