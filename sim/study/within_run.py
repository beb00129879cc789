"""Intervals from a single run, by batch means: few runs are long enough."""

from __future__ import annotations

from dataclasses import dataclass

from sim.metrics.latency import PERCENTILES
from sim.stats.batch_means import batch_mean_interval, batch_quantile_interval
from sim.stats.interval import Interval
from sim.study.across_runs import steady
from sim.study.replicate import PER_REQUEST, kept_of
from sim.study.run import RunResult
from sim.study.start_up import SHARE, changes_over_time, cool_down

STATISTICS = ("mean", *(f"p{percent}" for percent in PERCENTILES))
NAMES = tuple(f"{statistic}_{metric}" for metric in PER_REQUEST for statistic in STATISTICS)
"""Whose intervals a single run may carry."""


@dataclass(frozen=True)
class Certainty:
    """What a single run knows: `intervals`, and for every other metric of NAMES the reason why there is none."""

    intervals: dict[str, Interval]
    refused: dict[str, str]


def certainty(result: RunResult, level: float = 0.95) -> Certainty:
    """Intervals within a run, without its first tenth and those that outlast the arrivals.

    Only of a stable queue and traffic that stays the same.
    """
    why = _unsteady(result)
    if why is not None:
        return Certainty({}, dict.fromkeys(NAMES, why))
    found, outcome = {}, kept_of(result)
    first, last = len(result.requests) // SHARE, cool_down([outcome])
    for metric in PER_REQUEST:
        values = steady(outcome, metric, first, last)
        found[f"mean_{metric}"] = batch_mean_interval(values, level)
        for percent in PERCENTILES:
            found[f"p{percent}_{metric}"] = batch_quantile_interval(values, percent / 100, level)
    intervals = {name: interval for name, interval in found.items() if isinstance(interval, Interval)}
    return Certainty(intervals, {name: str(one) for name, one in found.items() if name not in intervals})


def _unsteady(result: RunResult) -> str | None:
    """Why the run as a whole has no steady state."""
    ours = result.summary["sim"]
    if ours["interrupted"]:
        return "the run was interrupted"
    verdict, reason = ours["stability"]["verdict"], ours["stability"]["reason"]
    changing = changes_over_time(result.experiment.workload)
    if changing is not None:
        return changing
    return None if verdict == "stable" else f"the stability of the queue is {verdict}: {reason}"
