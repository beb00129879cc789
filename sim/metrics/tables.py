"""From a run's raw columns to the tables people read."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sim.serving.columns import Columns
from sim.serving.recorder import NO_SESSION, Recorder
from sim.workload.workload import Workload

DESCRIBED = ("priority", "tenant", "max_new_tokens", "predicted_output_tokens")
"""What the workload says of a request that is worth grouping results by, where it says so."""


def requests_table(recorder: Recorder, workload: Workload) -> pd.DataFrame:
    """One row per finished request, by `request_id`, times in seconds.

    `ttft_s` and `e2e_s` count from arrival, and E2E is `queue_s` (until scheduled) + `prefill_s` (until the
    first token) + `decode_s` (until the answer is complete: the last token, or the end of a batch that is returned
    whole). `tpot_s` is decode/(output_tokens - 1), undefined (NaN) for a single output token; `tps_per_user` is
    output_tokens/E2E, undefined for a request that took no time.
    """
    table = _frame(recorder.requests).sort_values("request_id", ignore_index=True)
    gaps = (table["output_tokens"] - 1).where(table["output_tokens"] > 1)
    table["ttft_s"] = table["first_token_s"] - table["arrival_s"]
    table["tpot_s"] = (table["finish_s"] - table["first_token_s"]) / gaps
    table["e2e_s"] = table["finish_s"] - table["arrival_s"]
    table["queue_s"] = table["scheduled_s"] - table["arrival_s"]
    table["prefill_s"] = table["first_token_s"] - table["scheduled_s"]
    table["decode_s"] = table["finish_s"] - table["first_token_s"]
    table["tps_per_user"] = table["output_tokens"] / table["e2e_s"].where(table["e2e_s"] > 0)
    described = workload.table[[column for column in DESCRIBED if column in workload.table]]
    table = table.join(described, on="request_id")
    return table if (table["session_id"] != NO_SESSION).any() else table.drop(columns="session_id")


def iterations_table(recorder: Recorder) -> pd.DataFrame:
    """One row per run of like iterations, in time order."""
    return _frame(recorder.iterations)


def gaps_table(recorder: Recorder) -> pd.DataFrame:
    """`gap_s, tokens, end_s`: how long successive tokens of a request were apart, how many were, and until when."""
    return _frame(recorder.gaps)


def _frame(columns: Columns) -> pd.DataFrame:
    return pd.DataFrame({name: np.array(values) for name, values in columns.arrays.items()})
