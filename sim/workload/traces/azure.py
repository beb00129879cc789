"""The Azure LLM inference trace (Azure/AzurePublicDataset): TIMESTAMP, ContextTokens, GeneratedTokens.

TIMESTAMP is a UTC date and time with up to seven decimals; arrivals count from the first row.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sim.workload.traces.reader import Reader, Trace
from sim.workload.traces.reading import read_columns, refuse_where, token_counts

KEYS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


def read(path: Path) -> Trace:
    """The trace as it stands in the CSV."""
    cells = read_columns(path, required=KEYS)
    written = cells["TIMESTAMP"].where(cells["TIMESTAMP"].str.match(r"(19[7-9]\d|20\d\d)-\d\d-\d\d"))
    stamps = pd.to_datetime(written, errors="coerce", format="ISO8601", utc=True)
    refuse_where(stamps.isna(), cells, "TIMESTAMP", path, "a date and time such as 2023-11-16 18:15:46.6805900")
    table = pd.DataFrame(
        {
            "arrival_s": (stamps - stamps.min()).dt.total_seconds(),
            "prompt_tokens": token_counts(cells, "ContextTokens", path),
            "output_tokens": token_counts(cells, "GeneratedTokens", path),
        }
    )
    return Trace(table)


READER = Reader(read, KEYS, "csv")
