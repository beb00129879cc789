"""A run as a monitor would have shown it: a row for every so many seconds."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from sim.errors import InputError
from sim.metrics.over_time import count_by_slice, held_block_s, quantiles_by_slice, running_s, span_s, waiting_s
from sim.metrics.runs import FloatArray
from sim.metrics.throughput import output_tokens_before
from sim.metrics.token_gaps import TokenGaps
from sim.serving.front_end import TIE_S

MOST_WINDOWS = 1_000_000


def windows_table(
    requests: pd.DataFrame, iterations: pd.DataFrame, gaps: TokenGaps, usable_blocks: int, window_s: float
) -> pd.DataFrame:
    """One row per window of `window_s` seconds from the first arrival on; the last one ends with the run.

    Everything counts in the window in which it becomes known: a TTFT with the first token, a TPOT with the end of the
    answer, an ITL with the later of its two tokens. Percentiles of nothing are NaN. `mean_running`, `mean_waiting` and
    `kv_used_fraction` are averages over time. Of requests only the finished ones count, as in their table.
    """
    edges = _edges(*span_s(requests, iterations), window_s)
    width_s, moments_s = np.diff(edges), np.append(edges[:-1], edges[-1] + 1.0)
    ttft_s, tpot_s = (
        quantiles_by_slice(requests[known], requests[metric], edges, (0.5, 0.99))
        for known, metric in (("first_token_s", "ttft_s"), ("finish_s", "tpot_s"))
    )
    itl_s = [each.quantiles((0.99,))[0] if each.size else np.nan for each in gaps.between(moments_s)]
    return pd.DataFrame(
        {
            "start_s": edges[:-1],
            "arrivals": count_by_slice(requests["arrival_s"], edges),
            "completed": count_by_slice(requests["finish_s"], edges),
            "output_tokens_per_s": np.diff(output_tokens_before(requests, gaps, moments_s)) / width_s,
            "p50_ttft_s": ttft_s[0],
            "p99_ttft_s": ttft_s[1],
            "p50_tpot_s": tpot_s[0],
            "p99_tpot_s": tpot_s[1],
            "p99_itl_s": np.array(itl_s, float),
            "mean_running": running_s(iterations, edges) / width_s,
            "mean_waiting": waiting_s(iterations, requests, edges) / width_s,
            "kv_used_fraction": held_block_s(iterations, edges) / width_s / usable_blocks,
        }
    )


def _edges(begin_s: float, end_s: float, window_s: float) -> FloatArray:
    """Where windows begin, and the end of the last; a run that took no time has none."""
    if not 0 < window_s < math.inf:
        raise InputError(f"window_s: got {window_s}, must be a number of seconds above 0")
    count = math.ceil((end_s - begin_s - TIE_S) / window_s)
    if count > MOST_WINDOWS:
        raise InputError(
            f"window_s: got {window_s}, which makes {count:,} windows of {end_s - begin_s:.6g} s; "
            f"at most {MOST_WINDOWS:,} are made, so raise it"
        )
    return np.append(begin_s + window_s * np.arange(count), end_s)
