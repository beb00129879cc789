"""How much was asked for, how much came out, and how many requests were there at once."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sim.metrics.ratio import ratio


def throughput(requests: pd.DataFrame, duration_s: float) -> dict[str, float | None]:
    """Rates per second over the run, beyond those under vLLM's keys; each counts finished requests.

    `offered_request_rate` (QPS): arrivals after the first over the time they took; None if they came at once.
    `input_throughput` (IPS): prompt tokens over the duration. `prefill_throughput` (PTS): prompt tokens over the sum of
    prefill times, so the pace of one prompt's prefill, waiting left out. `mean_concurrent_requests` (CCU): the time
    average of requests in the system, which is the sum of their E2E over the duration.
    """
    prompt_tokens = float(requests["prompt_tokens"].sum())
    arrivals = requests["arrival_s"]
    span_s = float(arrivals.max() - arrivals.min()) if len(arrivals) else 0.0
    return {
        "offered_request_rate": ratio(len(arrivals) - 1, span_s),
        "input_throughput": ratio(prompt_tokens, duration_s),
        "prefill_throughput": ratio(prompt_tokens, float(requests["prefill_s"].sum())),
        "mean_concurrent_requests": ratio(float(requests["e2e_s"].sum()), duration_s),
    }


def peak_in_system(requests: pd.DataFrame) -> int:
    """Most requests between arrival and finish at once; one that leaves makes room for one that comes just then."""
    times = np.concatenate([requests["finish_s"].to_numpy(), requests["arrival_s"].to_numpy()])
    change = np.repeat([-1, 1], len(requests))
    order = np.lexsort((change, times))
    return int(np.cumsum(change[order]).max(initial=0))


def max_output_tokens_per_s(requests: pd.DataFrame, gaps: pd.DataFrame, start_s: float) -> int:
    """Most output tokens in one second, of seconds counted from the first arrival.

    Tokens are counted when they come out: the first of each request at `first_token_s`, the others where the gap before
    them ends.
    """
    times = np.concatenate([requests["first_token_s"].to_numpy(), gaps["end_s"].to_numpy()])
    tokens = np.concatenate([np.ones(len(requests)), gaps["tokens"].to_numpy()])
    _, second = np.unique(np.floor(times - start_s), return_inverse=True)
    return int(np.bincount(second, weights=tokens).max(initial=0))
