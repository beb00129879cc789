"""Is the queue stable? A finite run always has percentiles; whether they mean anything beyond it is said here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sim.specs.workload import AllAtOnce, ClosedLoop, WorkloadSpec
from sim.stats.trend import Trend, level_trend

LEAST_REQUESTS = 200
START_UP_SHARE, START_UP_STAYS, LEAST_STAYS = 0.2, 2, 10
"""Left out as start-up: a fifth of the arrivals' span. An engine fills for about one stay (from being scheduled to
leaving, of the first tenth of the requests), so only a run that goes on for ten stays after two of filling can tell a
filling engine from a growing one; a growing queue in front of it needs no such patience."""

CERTAIN_P, CERTAIN_DRIFT = 1e-4, 0.05
POSSIBLE_P, POSSIBLE_DRIFT = 1e-2, 0.01
"""Growth is called instability when both significance and drift (as a share of the arrival rate) are certain, and left
open when they are only possible. The bar is high because the levels of a busy queue are correlated in time, which the
rank test does not know: a stable queue at 95 % load rises for long stretches of a short run."""


@dataclass(frozen=True)
class _Flow:
    """How the levels moved while requests arrived. `present` is None when the run is too short to judge it."""

    rate_per_s: float
    served_per_s: float
    span_s: float
    stay_s: float
    waiting: Trend
    present: Trend | None

    def steepest(self) -> Trend:
        """The trend that speaks loudest against stability."""
        return max(self._trends(), key=lambda trend: trend.slope)

    def grows(self, significance: float, least_share: float) -> bool:
        """Whether one of the levels grows by more than this share of the arrival rate."""
        return any(trend.grows(significance, least_share * self.rate_per_s) for trend in self._trends())

    def _trends(self) -> list[Trend]:
        return [self.waiting] if self.present is None else [self.waiting, self.present]


def stability(requests: pd.DataFrame, workload: WorkloadSpec) -> dict[str, Any]:
    """`verdict` (stable, unstable or unknown), why, and the drift of the number in the system per second."""
    if isinstance(workload.arrivals, AllAtOnce):
        return _verdict("unknown", None, "all requests arrive at once, so there is no arrival rate to keep up with")
    if isinstance(workload.arrivals, ClosedLoop):
        return _verdict(
            "stable", None, f"each of the {workload.arrivals.users} users waits for an answer before sending again"
        )
    if len(requests) < LEAST_REQUESTS:
        reason = f"{len(requests)} requests are too few to tell; {LEAST_REQUESTS} are the least"
        return _verdict("unknown", None, reason)
    if requests["arrival_s"].min() == requests["arrival_s"].max():
        return _verdict("unknown", None, "all requests arrive in one instant")
    flow = _flow(requests)
    slope = flow.steepest().slope
    growth = f"the number in the system grows by {slope:.3g} requests/s while {flow.rate_per_s:.3g} arrive"
    if flow.grows(CERTAIN_P, CERTAIN_DRIFT):
        return _verdict("unstable", slope, f"{growth}, to the end; {flow.served_per_s:.3g} requests/s are served")
    if flow.present is None:
        stays = f"arrivals last {flow.span_s:.3g} s, too short for requests that stay {flow.stay_s:.3g} s in the engine"
        return _verdict("unknown", None, f"{stays}; raise workload.num_requests")
    if flow.grows(POSSIBLE_P, POSSIBLE_DRIFT):
        reason = f"{growth}, which a busy stable queue can do in a run this short; raise workload.num_requests"
        return _verdict("unknown", slope, reason)
    return _verdict("stable", slope, "the number in the system does not grow to the end of the arrivals")


def _flow(requests: pd.DataFrame) -> _Flow:
    """Arrivals, starts and departures of a run as levels over its arrivals' span."""
    arrival_s, scheduled_s, finish_s = (requests[f"{name}_s"].to_numpy() for name in ("arrival", "scheduled", "finish"))
    arrivals, starts, departures = np.sort(arrival_s), np.sort(scheduled_s), np.sort(finish_s)
    first, last = float(arrivals[0]), float(arrivals[-1])
    earliest = np.argpartition(arrival_s, len(requests) // 10)[: len(requests) // 10]
    stay_s = float((finish_s - scheduled_s)[earliest].mean())
    begin = first + START_UP_SHARE * (last - first)
    filled = max(begin, first + START_UP_STAYS * stay_s)
    can_judge = last - filled > LEAST_STAYS * stay_s
    served = int(np.searchsorted(departures, last) - np.searchsorted(departures, begin))
    return _Flow(
        rate_per_s=(len(arrivals) - 1) / (last - first),
        served_per_s=served / (last - begin),
        span_s=last - first,
        stay_s=stay_s,
        waiting=level_trend(arrivals, starts, begin, last),
        present=level_trend(arrivals, departures, filled, last) if can_judge else None,
    )


def _verdict(verdict: str, drift: float | None, reason: str) -> dict[str, Any]:
    return {"verdict": verdict, "drift_requests_per_s": drift, "reason": reason}
