"""From a run's raw columns to the tables people read."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sim.metrics.runs import asked_for_decodes, each_iteration
from sim.scheduling.plan import BLOCKERS
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
    table = _finished_requests(recorder, workload)
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
    runs = recorder.iterations.arrays()
    blockers = pd.Categorical.from_codes(runs.pop("blocked_by") - 1, pd.Index([why for why in BLOCKERS if why]))
    return pd.DataFrame({**runs, "blocked_by": blockers}, copy=False)


def gaps_table(recorder: Recorder) -> pd.DataFrame:
    """`gap_s, tokens, end_s`: how long successive tokens of a request were apart, how many were, and until when.

    A decode's gap is its iteration, but for those that were late.
    """
    runs, late = recorder.iterations.arrays(), recorder.gaps.arrays()
    on_time = asked_for_decodes(runs)
    np.subtract.at(on_time, late["run"][late["run"] >= 0], 1)
    every = each_iteration(runs)
    on_time = np.repeat(on_time, runs["iterations"])
    decoded = on_time > 0
    return pd.DataFrame(
        {
            "gap_s": np.concatenate([every.step_s[decoded], late["gap_s"]]),
            "tokens": np.concatenate([on_time[decoded], np.ones(len(late["gap_s"]), np.int64)]),
            "end_s": np.concatenate([every.end_s[decoded], late["end_s"]]),
        }
    )


def _finished_requests(recorder: Recorder, workload: Workload) -> pd.DataFrame:
    times = recorder.requests.arrays()
    finished = np.flatnonzero(~np.isnan(times["finish_s"]))
    columns = {name: column[finished] for name, column in times.items()}
    counts = {name: columns[name].astype(np.int64) for name in recorder.requests.COUNTS}
    table = pd.DataFrame({"request_id": finished} | columns | counts)
    table.insert(6, "prompt_tokens", workload.table["prompt_tokens"].to_numpy()[finished])
    return table
