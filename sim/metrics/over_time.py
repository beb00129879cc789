"""A run in slices of time: how much of everything falls into each.

A row of the iterations is a run of iterations: what it computed and the blocks it took are spread evenly over its time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from sim.metrics.runs import FloatArray, IntArray, durations_s
from sim.serving.front_end import TIE_S
from sim.stats.quantiles import grouped_quantiles


def span_s(requests: pd.DataFrame, iterations: pd.DataFrame) -> tuple[float, float]:
    """From the first arrival, or the first iteration if that came before, to the end of the last iteration."""
    if iterations.empty:
        return 0.0, 0.0
    last = iterations.iloc[-1:]
    end_s = last["start_s"].to_numpy()[0] + durations_s(last)[0]
    return float(requests["arrival_s"].to_numpy().min(initial=iterations["start_s"].iloc[0])), float(end_s)


def count_by_slice(times_s: pd.Series[float], edges: FloatArray) -> IntArray:
    """How many of the times are in each slice; a time at an edge is in the slice that begins there."""
    return np.bincount(_slice_of(np.asarray(times_s, np.float64), edges), minlength=len(edges) - 1)


def quantiles_by_slice(
    times_s: pd.Series[float], values: pd.Series[float], edges: FloatArray, levels: Sequence[float]
) -> FloatArray:
    """A row a level: quantiles of the values known at times in each slice; NaN where there are none."""
    measured = values.notna()
    slices = _slice_of(np.asarray(times_s[measured], np.float64), edges)
    return grouped_quantiles(np.asarray(values[measured], np.float64), slices, len(edges) - 1, levels)


def running_s(iterations: pd.DataFrame, edges: FloatArray) -> FloatArray:
    """Request-seconds of running in each slice of time."""
    return over_runs(iterations, iterations["running"].to_numpy() * durations_s(iterations), edges)


def held_block_s(iterations: pd.DataFrame, edges: FloatArray) -> FloatArray:
    """Block-seconds of KV memory in use in each slice of time."""
    at_first_s = iterations["kv_used_blocks"].to_numpy() * durations_s(iterations)
    return over_runs(iterations, at_first_s, edges) + over_runs(iterations, iterations["kv_grown_block_s"], edges, 2)


def over_runs(iterations: pd.DataFrame, amounts: ArrayLike, edges: FloatArray, power: int = 1) -> FloatArray:
    """How much of what comes with each run, between its start and its end, falls into each slice of time.

    It comes evenly, or at `power` 2 ever faster, as the time integral of something that grows evenly.
    """
    if iterations.empty:
        return np.zeros(len(edges) - 1)
    starts, total = iterations["start_s"].to_numpy(), np.concatenate(([0.0], np.cumsum(amounts)))
    run = np.clip(np.searchsorted(starts, edges, side="right") - 1, 0, None)
    seconds = durations_s(iterations)[run]
    share = np.divide(edges - starts[run], seconds, out=np.ones(len(edges)), where=seconds > 0)
    by_edge = total[run] + np.diff(total)[run] * np.clip(share, 0.0, 1.0) ** power
    found: FloatArray = np.diff(by_edge)
    return found


def waiting_s(iterations: pd.DataFrame, requests: pd.DataFrame, edges: FloatArray) -> FloatArray:
    """Request-seconds of waiting in each slice of time.

    Those of finished requests before they were first scheduled are known exactly. Whoever else waits (after a
    preemption, or to the end of an interrupted run) is counted when an iteration starts.
    """
    if iterations.empty:
        return np.zeros(len(edges) - 1)
    queued, scheduled = (np.sort(requests[column].to_numpy()) for column in ("queued_s", "scheduled_s"))
    starts = iterations["start_s"].to_numpy()
    first_time = _before(queued, starts + TIE_S) - _before(scheduled, starts + TIE_S)
    others = np.clip(iterations["waiting"].to_numpy() - first_time, 0, None)
    others_s = np.concatenate(([0.0], np.cumsum(others * np.diff(starts, append=edges[-1]))))
    others_by_edge = np.interp(edges, np.append(starts, edges[-1]), others_s)
    found: FloatArray = np.diff(others_by_edge + _since(queued, edges) - _since(scheduled, edges))
    return np.maximum(found, 0.0)  # nobody waits, but for rounding


def _slice_of(times_s: FloatArray, edges: FloatArray) -> IntArray:
    return np.searchsorted(edges[1:-1], times_s + TIE_S, side="right")


def _before(times: FloatArray, moments: FloatArray) -> IntArray:
    """How many of the sorted `times` have come at each moment."""
    return np.searchsorted(times, moments, side="right").astype(np.int64)


def _since(times: FloatArray, moments: FloatArray) -> FloatArray:
    """Seconds since each of the sorted `times` that have come, summed, at each moment."""
    count, total = _before(times, moments), np.concatenate(([0.0], np.cumsum(times)))
    seconds: FloatArray = count * moments - total[count]
    return seconds
