"""From a run's raw columns to the tables people read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sim.metrics.longest_gaps import longest_gaps_s
from sim.metrics.runs import IntArray
from sim.scheduling.plan import BLOCKERS
from sim.serving.recorder import NO_SESSION, Recorder
from sim.serving.simulation import RunLog
from sim.workload.workload import Workload

DESCRIBED = ("priority", "tenant", "max_new_tokens", "predicted_output_tokens")
"""What the workload says of a request that is worth grouping results by, where it says so."""


def requests_table(log: RunLog, workload: Workload) -> pd.DataFrame:
    """One row per finished request, by `request_id`, times in seconds.

    `ttft_s` and `e2e_s` count from arrival, and E2E is `queue_s` (until scheduled) + `prefill_s` (until the
    first token) + `decode_s` (until the answer is complete: the last token, or the end of a batch that is returned
    whole). `tpot_s` is decode/(output_tokens - 1), and `max_itl_s` the longest time between two tokens, both undefined
    (NaN) for a single output token; `tps_per_user` is output_tokens/E2E, undefined for a request that took no time.
    """
    finished = np.flatnonzero(~np.isnan(log.recorder.requests.arrays()["finish_s"]))
    columns = _recorded(log.recorder, workload, finished)
    arrival_s, scheduled_s, first_token_s, finish_s, output_tokens = (
        columns[name] for name in ("arrival_s", "scheduled_s", "first_token_s", "finish_s", "output_tokens")
    )
    decode_s, e2e_s = finish_s - first_token_s, finish_s - arrival_s
    columns |= {
        "ttft_s": first_token_s - arrival_s,
        "tpot_s": _ratio(decode_s, output_tokens - 1),
        "max_itl_s": longest_gaps_s(log, finished),
        "e2e_s": e2e_s,
        "queue_s": scheduled_s - arrival_s,
        "prefill_s": first_token_s - scheduled_s,
        "decode_s": decode_s,
        "tps_per_user": _ratio(output_tokens, e2e_s),
    }
    described = workload.table.iloc[finished]
    columns |= {name: described[name].array for name in DESCRIBED if name in described}
    if (columns["session_id"] == NO_SESSION).all():
        del columns["session_id"]
    return pd.DataFrame(columns, copy=False)


def iterations_table(recorder: Recorder) -> pd.DataFrame:
    """One row per run of like iterations, in time order."""
    runs = recorder.iterations.arrays()
    blockers = pd.Categorical.from_codes(runs.pop("blocked_by") - 1, pd.Index([why for why in BLOCKERS if why]))
    return pd.DataFrame({**runs, "blocked_by": blockers}, copy=False)


def _recorded(recorder: Recorder, workload: Workload, requests: IntArray) -> dict[str, Any]:
    """What was written down while these requests were served, and their prompts, which the workload knows."""
    times, count = recorder.requests, len(requests)
    rows = slice(count) if count and requests[-1] == count - 1 else requests  # all of them so far: no copy
    recorded = {name: column[rows] for name, column in times.arrays().items()}
    prompts = workload.table["prompt_tokens"].to_numpy()[rows]
    return (
        {"request_id": requests}
        | {name: recorded[name] for name in times.NAMES}
        | {"prompt_tokens": prompts.astype(np.int64)}
        | {name: recorded[name].astype(np.int64) for name in times.COUNTS}
    )


def _ratio(parts: Any, wholes: Any) -> Any:
    """NaN where there is nothing to divide by."""
    return np.divide(parts, wholes, out=np.full(len(parts), np.nan), where=wholes > 0)
