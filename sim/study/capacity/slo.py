"""A joint SLO from text: limits on statistics, and the share of requests that keep every limit as their own."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sim.errors import InputError, did_you_mean
from sim.metrics.latency import measured
from sim.metrics.runs import FloatArray
from sim.specs.metric_names import METRIC_NAMES, METRICS
from sim.stats.series import SeriesSample
from sim.study.replicate import PER_REQUEST

EXAMPLE = 'such as "p99_ttft<0.5,p99_tpot<0.05"'
PART = re.compile(r"\s*(?P<name>[^<>=\s]+)\s*<=?\s*(?P<number>[0-9.eE+-]+)\s*(?P<unit>ms|s|)\s*")
SCALE = {"": 1.0, "s": 1.0, "ms": 1e-3}
EACH = ""
"""The statistic of a limit that is each request's own: `ttft<0.5`."""
BY_LENGTH = ("min", "max")
"""What is the lower or the higher the longer a run is, so that no run has the value of a steady state."""
ATTAINMENT = "attainment"


@dataclass(frozen=True)
class Limit:
    """`name` at most `most_s` seconds: a `statistic` (p99, mean, …) of a `metric` (ttft, …), or each request's own."""

    name: str
    statistic: str
    metric: str
    most_s: float

    @property
    def percent(self) -> float | None:
        """99.9 of `p99.9_ttft`, None of what is no percentile."""
        return float(self.statistic[1:]) if self.statistic[:1] == "p" else None

    @property
    def tail(self) -> float:
        """The share of observations beyond it, of which a run must have enough: 0.01 of a P99, 1 of a mean."""
        return 1.0 if self.percent is None else min(self.percent, 100 - self.percent) / 100

    @property
    def bounds_requests(self) -> bool:
        """Whether it can be kept by a single request."""
        return self.metric in PER_REQUEST and self.statistic != "std"

    def of(self, values: FloatArray | SeriesSample) -> float:
        """The statistic of a sample; of none 0, for what was never measured was never too slow."""
        if not values.size:
            return 0.0
        if self.percent is None:
            return float(values.mean() if self.statistic == "mean" else values.std())
        share = self.percent / 100
        return float(values.quantiles([share])[0] if isinstance(values, SeriesSample) else np.quantile(values, share))


@dataclass(frozen=True)
class Slo:
    """All limits; with `attainment` also the least share of requests that keep every one of them as their own."""

    limits: tuple[Limit, ...]
    attainment: float | None = None

    @property
    def on_statistics(self) -> tuple[Limit, ...]:
        """Those that are no request's own."""
        return tuple(limit for limit in self.limits if limit.statistic != EACH)

    @property
    def names(self) -> tuple[str, ...]:
        """What can be missed: each limit on a statistic, and the attainment."""
        return tuple(limit.name for limit in self.on_statistics) + ((ATTAINMENT,) if self.attainment else ())

    @property
    def bounds(self) -> tuple[float, ...]:
        """The most that each of `names` may be: seconds; of attainment the share of requests that miss a limit."""
        missed = () if self.attainment is None else (1 - self.attainment,)
        return tuple(limit.most_s for limit in self.on_statistics) + missed

    @property
    def tail(self) -> float:
        """The thinnest tail that a run must have enough of."""
        return min([limit.tail for limit in self.on_statistics] + [1 - (self.attainment or 0.0)])

    def values(self, requests: pd.DataFrame, gaps: SeriesSample | None) -> tuple[float, ...]:
        """Of `names`, from a table of requests and the gaps between tokens in the same time."""
        found = []
        for limit in self.on_statistics:
            sample = gaps if limit.metric == "itl" else measured(requests[f"{limit.metric}_s"])
            found.append(0.0 if sample is None else limit.of(sample))
        if self.attainment is not None:
            found.append(float(self.misses(requests).mean()))
        return tuple(found)

    def misses(self, requests: pd.DataFrame) -> pd.Series[bool]:
        """Which requests exceed one of the limits as their own; TPOT of one token is 0."""
        missed = pd.Series(False, index=requests.index)
        for limit in self.limits:
            if limit.bounds_requests:
                missed |= requests[f"{limit.metric}_s"].fillna(0.0) > limit.most_s
        return missed

    def __str__(self) -> str:
        parts = [f"{limit.name} <= {limit.most_s:g} s" for limit in self.limits]
        share = [] if self.attainment is None else [f"{self.attainment:.4g} of requests within all of these limits"]
        return ", ".join(parts + share)


def slo_from(given: str | Mapping[str, float], attainment: float | None = None, name: str = "slo") -> Slo:
    """An SLO from `p99_ttft<0.5,p99_tpot<50ms`, or from metric names and seconds; `name` is what errors call it.

    Raises InputError for what cannot be read, or has no value in a steady state.
    """
    parts = _parse(given, name) if isinstance(given, str) else [(key, float(given[key])) for key in given]
    limits = tuple(_limit(metric, most_s, name) for metric, most_s in parts)
    names = [limit.name for limit in limits]
    if len(set(names)) < len(names):
        raise InputError(f"{name} '{given}': limits a metric twice; drop one")
    if attainment is not None:
        _check_attainment(attainment, limits, name)
    elif own := [limit.name for limit in limits if limit.statistic == EACH]:
        raise InputError(
            f"{name}: '{own[0]}' is a limit on each request, which all of them never keep; say how many of them must: "
            f"give attainment, such as 0.99, or limit a statistic, such as p99_{own[0]}"
        )
    return Slo(limits, attainment)


def _parse(text: str, name: str) -> list[tuple[str, float]]:
    parts = []
    for part in text.split(","):
        found = PART.fullmatch(part)
        try:
            number = float(found["number"]) if found else math.nan
        except ValueError:
            number = math.nan
        if found is None or math.isnan(number):
            raise InputError(f"{name} '{text}': must be METRIC<SECONDS, several separated by commas, {EXAMPLE}")
        parts.append((found["name"], number * SCALE[found["unit"]]))
    return parts


def _limit(metric_name: str, most_s: float, name: str) -> Limit:
    if not 0 < most_s < math.inf:
        raise InputError(f"{name}.{metric_name}: got {most_s:g} s, must be above 0 and finite; correct the limit")
    if metric_name in PER_REQUEST:
        return Limit(metric_name, EACH, metric_name, most_s)
    statistic, _, metric = metric_name.partition("_")
    if metric not in METRICS or not (metric_name in METRIC_NAMES or _is_percentile(statistic)):
        raise InputError(
            f"{name}: unknown metric '{metric_name}'; {did_you_mean(metric_name, METRIC_NAMES)}; "
            f"and other percentiles, such as p99.5_ttft"
        )
    if statistic in BY_LENGTH:
        raise InputError(
            f"{name}: '{metric_name}' depends on how long one looks, so no rate has a value of it to hold against a "
            f"limit; limit a percentile, such as p99_{metric}"
        )
    return Limit(metric_name, statistic, metric, most_s)


def _is_percentile(statistic: str) -> bool:
    return bool(re.fullmatch(r"p\d{1,2}(\.\d+)?", statistic)) and float(statistic[1:]) > 0


def _check_attainment(attainment: float, limits: tuple[Limit, ...], name: str) -> None:
    if not 0 < attainment < 1:
        raise InputError(
            f"attainment: got {attainment:g}, must be above 0 and below 1, such as 0.99: the share of requests within "
            "their limits; of all requests, sooner or later one is not"
        )
    if not any(limit.bounds_requests for limit in limits):
        listed = ", ".join(limit.name for limit in limits)
        raise InputError(
            f"attainment: {name} limits {listed}, which no single request can keep; limit one of "
            f"{', '.join(PER_REQUEST)}"
        )
