"""Is the queue stable? A finite run always has percentiles; whether they mean anything beyond it is said here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sim.specs.workload import AllAtOnce, WorkloadSpec
from sim.stats.trend import level_trend

LEAST_REQUESTS = 200
LEAST_DRIFT_SHARE = 0.05
"""Drifts below 5 % of the arrival rate are called stable: short runs of a busy stable queue drift as much."""


def stability(requests: pd.DataFrame, workload: WorkloadSpec) -> dict[str, Any]:
    """`verdict` (stable, unstable or unknown), why, and the drift of the number in the system per second."""
    if isinstance(workload.arrivals, AllAtOnce):
        return _verdict("unknown", None, "all requests arrive at once, so there is no arrival rate to keep up with")
    if len(requests) < LEAST_REQUESTS:
        reason = f"{len(requests)} requests are too few to tell; {LEAST_REQUESTS} are the least"
        return _verdict("unknown", None, reason)
    arrivals, departures = np.sort(requests["arrival_s"].to_numpy()), np.sort(requests["finish_s"].to_numpy())
    start, end = float(arrivals[0]), float(arrivals[-1])
    trend = level_trend(arrivals, departures, start, end)
    if trend is None:
        return _verdict("unknown", None, "all requests arrive in one instant")
    rate = (len(arrivals) - 1) / (end - start)
    if trend.grows and trend.slope > LEAST_DRIFT_SHARE * rate:
        reason = (
            f"the number in the system grows by {trend.slope:.3g} requests/s while {rate:.3g} arrive, to the end; "
            f"about {rate - trend.slope:.3g} requests/s are served"
        )
        return _verdict("unstable", trend.slope, reason)
    return _verdict("stable", trend.slope, "the number in the system does not grow to the end of the arrivals")


def _verdict(verdict: str, drift: float | None, reason: str) -> dict[str, Any]:
    return {"verdict": verdict, "drift_requests_per_s": drift, "reason": reason}
