"""The result of a comparison, and its forms: tables and an object for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from sim.specs.experiment import Experiment
from sim.stats.interval import Interval
from sim.stats.paired import Comparison, Verdict
from sim.study.across_runs import Sample, verdicts_of
from sim.study.replicate import RATES, Outcome
from sim.study.start_up import StartUp
from sim.study.store import config_hash


@dataclass(frozen=True)
class System:
    """One of the experiments compared. `unstable` says why it has no intervals, None where it has some."""

    key: str
    label: str
    experiment: Experiment
    outcomes: tuple[Outcome, ...]
    unstable: str | None


@dataclass(frozen=True)
class Difference:
    """`found` has intervals that hold for all systems of one metric at once (Bonferroni); `p_value` is Holm's."""

    found: Comparison
    p_value: float
    verdict: Verdict


@dataclass(frozen=True)
class Metric:
    """A metric of every system, by key: the mean over its replications and that mean's interval, or why there is none.

    `differences` are those of all but the first system from it. Latencies are in seconds, rates a second.
    """

    name: str
    means: Mapping[str, float | None]
    intervals: Mapping[str, Interval | str]
    differences: Mapping[str, Difference | str]

    @property
    def unit(self) -> str:
        """`s`, or of what per second."""
        return {"output_throughput": "tokens/s"}.get(self.name, "requests/s" if self.name in RATES else "s")


@dataclass(frozen=True)
class Compared:
    """Systems compared with the first of them, each replication under the same seed and so of the same requests.

    A percentile is that of one run, averaged over replications. Latencies (but ITL) leave out the `start_up.requests`
    first and `start_up.cool_down` last requests of each run. `planned` replications were asked for: more than there are
    after Ctrl-C.
    """

    systems: tuple[System, ...]
    metrics: tuple[Metric, ...]
    level: float
    same_within: float
    planned: int
    start_up: StartUp
    interrupted: bool
    notes: tuple[str, ...]

    @property
    def seeds(self) -> list[int]:
        """Of the replications."""
        return [outcome.seed for outcome in self.systems[0].outcomes]

    @cached_property
    def samples(self) -> dict[str, Sample]:
        """The replications of each system, both ends left out."""
        first, last = self.start_up.requests, self.start_up.cool_down
        return {system.key: Sample(system.outcomes, first, last) for system in self.systems}

    def table(self) -> pd.DataFrame:
        """A row a metric and system compared with A: both values, the difference, all with intervals, and the verdict.

        What there is no interval of is NaN, and `why_not` says why.
        """
        return pd.DataFrame([self._row(metric, key) for metric in self.metrics for key in metric.differences])

    def values(self) -> pd.DataFrame:
        """A row a replication of each system: its key, its seed, its stability and its metrics, as compared."""
        frames = []
        for system in self.systems:
            verdicts = [outcome.summary["sim"]["stability"]["verdict"] for outcome in system.outcomes]
            sample = self.samples[system.key].values
            found = {metric.name: sample.get(metric.name) for metric in self.metrics}
            frames.append(pd.DataFrame({"config": system.key, "seed": self.seeds, "stability": verdicts, **found}))
        return pd.concat(frames, ignore_index=True)

    def to_dict(self) -> dict[str, Any]:
        """The object that --json prints; docs/compare.md describes it."""
        return {
            "replications": len(self.seeds),
            "planned": self.planned,
            "interrupted": self.interrupted,
            "seeds": self.seeds,
            "level": self.level,
            "same_within": self.same_within,
            "warm_up_requests": self.start_up.requests,
            "cool_down_requests": self.start_up.cool_down,
            "warm_up": self.start_up.how,
            "configs": {system.key: _described(system) for system in self.systems},
            "metrics": {metric.name: _metric(metric) for metric in self.metrics},
        }

    def _row(self, metric: Metric, key: str) -> dict[str, Any]:
        first, difference = self.systems[0].key, metric.differences[key]
        found = None if isinstance(difference, str) else difference.found
        return {
            "metric": metric.name,
            "unit": metric.unit,
            "config": key,
            **_columns(f"{first.lower()}_value", metric.intervals[first], metric.means[first]),
            **_columns("value", metric.intervals[key], metric.means[key]),
            **_columns("difference", found.difference if found else None),
            **_columns("relative", found.relative if found else None),
            "variance_reduction": found.variance_reduction if found else math.nan,
            "p_value": math.nan if isinstance(difference, str) else difference.p_value,
            "verdict": None if isinstance(difference, str) else difference.verdict,
            "why_not": difference if isinstance(difference, str) else None,
        }


def _columns(name: str, interval: Interval | str | None, mean: float | None = None) -> dict[str, float]:
    if isinstance(interval, Interval):
        return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return {name: math.nan if mean is None else mean, f"{name}_low": math.nan, f"{name}_high": math.nan}


def _described(system: System) -> dict[str, Any]:
    return {
        "label": system.label,
        "name": system.experiment.name,
        "config_hash": config_hash(system.experiment),
        "stability": verdicts_of(system.outcomes),
        "unstable": system.unstable,
    }


def _metric(metric: Metric) -> dict[str, Any]:
    values = {key: _value(found, metric.means[key]) for key, found in metric.intervals.items()}
    differences = {key: _difference(found) for key, found in metric.differences.items()}
    return {"unit": metric.unit, "values": values, "differences": differences}


def _value(found: Interval | str, mean: float | None) -> dict[str, Any]:
    return {"value": mean, "why_not": found} if isinstance(found, str) else asdict(found)


def _difference(difference: Difference | str) -> dict[str, Any]:
    """JSON has no infinity: where the difference is the same under every seed, nothing is left of its variance."""
    if isinstance(difference, str):
        return {"why_not": difference}
    found = difference.found
    reduction = found.variance_reduction
    return {
        "difference": asdict(found.difference),
        "relative": None if found.relative is None else asdict(found.relative),
        "verdict": difference.verdict,
        "p_value": difference.p_value,
        "variance_reduction": reduction if math.isfinite(reduction) else None,
    }
