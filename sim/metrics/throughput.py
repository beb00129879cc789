"""How much was asked for, how much came out, and how many requests were there at once."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sim.metrics.ratio import ratio
from sim.metrics.runs import FloatArray, IntArray
from sim.metrics.token_gaps import TokenGaps
from sim.serving.front_end import TIE_S
from sim.stats.series import counting


def throughput(requests: pd.DataFrame, lost_arrivals_s: FloatArray, duration_s: float) -> dict[str, float | None]:
    """Rates per second over the run, beyond those under vLLM's keys; each counts finished requests.

    `offered_request_rate` (QPS): arrivals after the first over the time they took, of those that were lost too; None if
    they came at once.
    `input_throughput` (IPS): prompt tokens over the duration. `prefill_throughput` (PTS): prompt tokens over the sum of
    prefill times, so the pace of one prompt's prefill, waiting left out. `mean_concurrent_requests` (CCU): the time
    average of requests in the system, which is the sum of their E2E over the duration.
    """
    prompt_tokens = float(requests["prompt_tokens"].sum())
    arrivals = np.concatenate([requests["arrival_s"], lost_arrivals_s])
    span_s = float(arrivals.max() - arrivals.min()) if len(arrivals) else 0.0
    return {
        "offered_request_rate": ratio(len(arrivals) - 1, span_s),
        "input_throughput": ratio(prompt_tokens, duration_s),
        "prefill_throughput": ratio(prompt_tokens, float(requests["prefill_s"].sum())),
        "mean_concurrent_requests": ratio(float(requests["e2e_s"].sum()), duration_s),
    }


def peak_in_system(requests: pd.DataFrame) -> int:
    """Most requests between arrival and finish at once; one that leaves makes room for one that comes just then."""
    arrivals_s, finishes_s = (np.sort(requests[name].to_numpy()) for name in ("arrival_s", "finish_s"))
    there = np.arange(1, len(requests) + 1) - np.searchsorted(finishes_s, arrivals_s, side="right")
    return int(there.max(initial=0))


def output_tokens_before(requests: pd.DataFrame, gaps: TokenGaps, moments_s: FloatArray) -> IntArray:
    """How many tokens had come out before each moment: the first of each request, the others where their gaps end."""
    first_tokens_s = np.sort(requests["first_token_s"].to_numpy())
    return np.searchsorted(first_tokens_s, moments_s - TIE_S) + gaps.tokens_before(moments_s)


def max_output_tokens_per_s(requests: pd.DataFrame, gaps: TokenGaps, start_s: float) -> int:
    """Most output tokens in one second, of seconds counted from the first arrival.

    First those seconds are looked at in which a request got its first token or a run of iterations began or ended, then
    those in the middle of runs that may hold more: one of n decodes and steps of s seconds gives n(1/s + 1) at most.
    """

    def most_in(seconds: FloatArray) -> int:
        moments = np.repeat(np.unique(seconds), 2)
        moments[1::2] += 1
        moments = moments[np.diff(moments, prepend=-1) > 0]
        tokens = np.diff(output_tokens_before(requests, gaps, start_s + moments))
        return int(tokens[np.diff(moments) == 1].max(initial=0))

    runs, (first_ends_s, last_ends_s) = gaps.on_time, gaps.ends_of_runs_s()
    ends_s = first_ends_s, last_ends_s, gaps.late_end_s, requests["first_token_s"].to_numpy()
    begin, end, *others = (np.floor(each - start_s + TIE_S) for each in ends_s)
    most = most_in(np.concatenate([each[np.diff(each, prepend=-1) != 0] for each in (begin, end, *others)]))
    long = np.flatnonzero(end - begin > 1)
    long = long[runs.repeats[long] * ((1 + TIE_S) / runs.first[long] + 1) > most]
    between = (end - begin - 1)[long].astype(np.int64)
    return max(most, most_in(np.repeat(begin[long] + 1, between) + counting(between)))
