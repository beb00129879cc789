"""Intervals across replications, each left without its start-up; and the reasons why there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from sim.metrics.latency import PERCENTILES, statistics
from sim.specs.metric_names import METRIC_NAMES, METRICS, metric_of
from sim.stats.interval import Interval, Refused
from sim.stats.needed import batch_size_for_quantile, quantile_rule
from sim.stats.replications import LEAST_REPLICATIONS, mean_interval, quantile_interval, ratio_interval
from sim.study.replicate import PER_REQUEST, RATES, STUDIED, FloatArray, Outcome, known

UNSTABLE_SHARE = 0.25
"""From this share of unstable replications on, the queue is called unstable. At 90 to 95 % load a few look like it."""

POINTS = 40
"""Numbers of replications at which the growth of an interval is looked at."""

Values = Sequence[float | None]


def percent_of(name: str) -> int | None:
    """99 for `p99_ttft`, None for what is no percentile."""
    statistic = name.partition("_")[0]
    return int(statistic[1:]) if statistic[1:].isdigit() and name in METRIC_NAMES else None


@dataclass(frozen=True)
class Sample:
    """What replications have shown, in the order of their seeds, without the first `warm_up` requests of each.

    Nor its last `cool_down` ones. Rates, ITL and its percentiles are of whole runs. So is everything of traffic that
    `begins_and_ends`, in which there is no steady state: its P99 is the one that a run has on average.
    """

    outcomes: Sequence[Outcome]
    warm_up: int
    cool_down: int = 0
    begins_and_ends: bool = False

    @cached_property
    def values(self) -> dict[str, Values]:
        """By metric one value a replication; without the metrics that none of them has."""
        rows = [values_of(outcome, self.warm_up, self.cool_down) for outcome in self.outcomes]
        columns = {name: [row[name] for row in rows] for name in STUDIED}
        return {name: values for name, values in columns.items() if any(value is not None for value in values)}

    def interval(self, name: str, level: float, count: int | None = None) -> Interval | Refused:
        """Of the metric `name`, one of `values`; from the first `count` replications, or from all.

        A percentile is that of all requests of all replications (unless the traffic `begins_and_ends`), a rate the sum
        of what came over the sum of the durations, everything else the mean of the replications' own values.
        """
        values, outcomes = self.values[name][:count], self.outcomes[:count]
        measured = [value for value in values if value is not None]
        if len(measured) < len(values):
            return Refused(f"{name}, which not every replication has", len(measured), len(values), "replications")
        if name in RATES:
            duration_s = np.array([outcome.summary["duration"] for outcome in outcomes])
            return ratio_interval(np.array(measured) * duration_s, duration_s, level)
        percent, metric = None if self.begins_and_ends else percent_of(name), metric_of(name)
        if percent is not None and metric in PER_REQUEST:
            samples = [steady(outcome, metric, self.warm_up, self.cool_down) for outcome in outcomes]
            return quantile_interval(samples, percent / 100, level)
        if percent is not None and (too_few := _too_few_gaps(outcomes, percent / 100)):
            return too_few
        return mean_interval(measured, level)

    def growth(self, name: str, level: float) -> pd.DataFrame:
        """A row for some of the numbers of replications up to all: `value`, `low` and `high` of the first so many.

        `low` and `high` are NaN where so many give no interval, and `value` is then the mean of their own values.
        """
        values, total = [np.nan if value is None else value for value in self.values[name]], len(self.outcomes)
        rows = []
        for count in np.unique(np.linspace(1, total, min(POINTS, total)).round().astype(int)):
            found = self.interval(name, level, count) if count >= LEAST_REPLICATIONS else None
            alone = (float(np.nanmean(values[:count])) if np.isfinite(values[:count]).any() else np.nan, np.nan, np.nan)
            shown = (found.value, found.low, found.high) if isinstance(found, Interval) else alone
            rows.append((int(count), *shown))
        return pd.DataFrame(rows, columns=["replications", "value", "low", "high"])


def remedy(refused: Refused) -> str:
    """The refusal with what to do about it."""
    more = "replicate more often" if refused.unit == "replications" else "raise workload.num_requests"
    return f"{refused}; {more}"


def steady(outcome: Outcome, metric: str, warm_up: int, cool_down: int) -> FloatArray:
    """The requests' own values of a metric, without the first requests and the last ones."""
    values = outcome.per_request[metric]
    return known(values[warm_up : len(values) - cool_down])


def values_of(outcome: Outcome, warm_up: int, cool_down: int = 0) -> dict[str, float | None]:
    """Every metric of a replication without its first and last requests; each sample is sorted only once."""
    rates = {name: outcome.summary[name] for name in RATES}
    values: dict[str, float | None] = outcome.summary["sim"]["metrics"] | rates
    for metric in METRICS:
        if metric in PER_REQUEST and warm_up + cool_down:
            found = statistics(steady(outcome, metric, warm_up, cool_down), PERCENTILES)
            values |= {f"{statistic}_{metric}": value for statistic, value in found.items()}
    return values


def verdicts_of(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many replications had a stable queue, how many an unstable one, of how many it is unknown."""
    return dict(Counter(outcome.summary["sim"]["stability"]["verdict"] for outcome in outcomes))


def instability(outcomes: Sequence[Outcome]) -> str | None:
    """What is said of a queue that is unstable in many of the replications: its drift, and what would be stable."""
    unstable = [outcome for outcome in outcomes if outcome.summary["sim"]["stability"]["verdict"] == "unstable"]
    if not unstable or len(unstable) < UNSTABLE_SHARE * len(outcomes):
        return None
    drift = float(np.mean([outcome.summary["sim"]["stability"]["drift_requests_per_s"] for outcome in unstable]))
    offered = float(np.mean([outcome.summary["sim"]["throughput"]["offered_request_rate"] for outcome in unstable]))
    return (
        f"the queue is unstable in {len(unstable)} of {len(outcomes)} replications: {offered:.3g} requests/s arrive "
        f"and the number in the system grows by {drift:.2g} requests/s, so a longer run has longer latencies; "
        f"about {offered - drift:.3g} requests/s are served, and a load below that would be stable"
    )


def _too_few_gaps(outcomes: Sequence[Outcome], p: float) -> Refused | None:
    """The refusal of a percentile of ITL where a replication has too few gaps between tokens."""
    fewest = min(outcome.summary["total_output_tokens"] - outcome.summary["completed"] for outcome in outcomes)
    needed = batch_size_for_quantile(p)
    if fewest >= needed:
        return None
    reason = quantile_rule(p, len(outcomes), fewest * len(outcomes))
    return Refused(reason, fewest, needed, "gaps between tokens a replication")
