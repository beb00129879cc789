"""From a run's raw columns to the tables people read."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sim.serving.columns import Columns
from sim.serving.recorder import Recorder


def requests_table(recorder: Recorder) -> pd.DataFrame:
    """One row a finished request, by `request_id`, times in seconds.

    `ttft_s` and `e2e_s` count from arrival, `queue_s` is first scheduled - arrival, and `tpot_s` is
    (finish - first token)/(output_tokens - 1), undefined (NaN) for a single output token.
    """
    table = _frame(recorder.requests).sort_values("request_id", ignore_index=True)
    gaps = (table["output_tokens"] - 1).where(table["output_tokens"] > 1)
    table["ttft_s"] = table["first_token_s"] - table["arrival_s"]
    table["tpot_s"] = (table["finish_s"] - table["first_token_s"]) / gaps
    table["e2e_s"] = table["finish_s"] - table["arrival_s"]
    table["queue_s"] = table["scheduled_s"] - table["arrival_s"]
    return table


def iterations_table(recorder: Recorder) -> pd.DataFrame:
    """One row a run of like iterations, in time order."""
    return _frame(recorder.iterations)


def gaps_table(recorder: Recorder) -> pd.DataFrame:
    """`gap_s, tokens`: how long successive tokens of a request were apart, and how many tokens were."""
    return _frame(recorder.gaps)


def _frame(columns: Columns) -> pd.DataFrame:
    return pd.DataFrame({name: np.array(values) for name, values in columns.arrays.items()})
