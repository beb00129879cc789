"""The BurstGPT trace (HPMLL/BurstGPT): CSV Timestamp, Request tokens, Response tokens; other columns are not used.

`Timestamp` is in seconds, arrivals count from the first row that is kept. A row with 0 response tokens is a call that
failed, and is dropped.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sim.workload.traces.reader import Reader, Trace
from sim.workload.traces.reading import counts, read_columns, seconds_from_first, token_counts

KEYS = ("Timestamp", "Request tokens", "Response tokens")


def read(path: Path) -> Trace:
    """The calls that succeeded; a note counts the others."""
    cells = read_columns(path, required=KEYS)
    failed = counts(cells, "Response tokens", path) == 0
    kept = cells[~failed]
    table = pd.DataFrame(
        {
            "arrival_s": seconds_from_first(kept, "Timestamp", path),
            "prompt_tokens": token_counts(kept, "Request tokens", path),
            "output_tokens": token_counts(kept, "Response tokens", path),
        }
    )
    note = f"{failed.sum()} of {len(cells)} rows of {path.name} have 0 response tokens: failed calls, dropped"
    return Trace(table, notes=(note,) if failed.any() else ())


READER = Reader(read, KEYS, "csv", stamp_unit="seconds")
