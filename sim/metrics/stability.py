"""Is the queue stable? A finite run always has percentiles; whether they mean anything beyond it is said here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sim.specs.workload import AllAtOnce, WorkloadSpec
from sim.stats.trend import level_trend

LEAST_REQUESTS = 200
CERTAIN_P, CERTAIN_DRIFT = 1e-4, 0.05
POSSIBLE_P, POSSIBLE_DRIFT = 1e-2, 0.01
"""Growth is called instability when both significance and drift (as a share of the arrival rate) are certain, and left
open when they are only possible. The bar is high because the levels of a busy queue are correlated in time, which the
rank test does not know: a stable queue at 95 % load rises for long stretches of a short run."""


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
    grows = f"the number in the system grows by {trend.slope:.3g} requests/s while {rate:.3g} arrive"
    if trend.grows(CERTAIN_P, CERTAIN_DRIFT * rate):
        return _verdict(
            "unstable", trend.slope, f"{grows}, to the end; about {rate - trend.slope:.3g} requests/s are served"
        )
    if trend.grows(POSSIBLE_P, POSSIBLE_DRIFT * rate):
        reason = f"{grows}, which a busy stable queue can do in a run this short; raise workload.num_requests"
        return _verdict("unknown", trend.slope, reason)
    return _verdict("stable", trend.slope, "the number in the system does not grow to the end of the arrivals")


def _verdict(verdict: str, drift: float | None, reason: str) -> dict[str, Any]:
    return {"verdict": verdict, "drift_requests_per_s": drift, "reason": reason}
