"""What a search for the capacity found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from sim.stats.interval import Interval
from sim.study.capacity.binding import Binding
from sim.study.capacity.fine import POSSIBLE_GROWTH
from sim.study.capacity.load import FLOOD_RATE, Over
from sim.study.capacity.measure import Measurement
from sim.study.capacity.slo import ATTAINMENT, Slo

Status = Literal["met", "missed", "unstable"]
DIGITS = 6
ALIKE = 1.01
"""Loads within this factor of each other are one point of a curve."""


@dataclass(frozen=True)
class Point:
    """The mean over the runs at one load, or at loads within 1 % of each other.

    `values` are seconds by name of the SLO, of attainment the share of requests within their limits; `relative` is what
    is left of each limit: 1 is at the limit, above 1 beyond it.
    """

    load: float
    status: Status
    replications: int
    measured_requests: int
    served: float
    values: Mapping[str, float]
    relative: Mapping[str, float]
    facts: Mapping[str, float]
    is_knee: bool = False


@dataclass(frozen=True)
class KvCliff:
    """How full KV memory is at the capacity, and the lowest load at which preemptions were seen, if they were."""

    mean_used_fraction: float
    peak_used_fraction: float
    preemptions_per_1000: float
    preemptions_from: float | None


@dataclass(frozen=True)
class Capacity:
    """The highest load that meets an SLO. `interval` is in `unit`: requests/s, conversations/s or users.

    `saturation` is what the engine served under overload (of users: with the most that were tried). `closed_form` is
    the rate at the speed of light, in requests/s. `knee` is the load of the curve with the highest throughput over mean
    end-to-end time (Kleinrock's power). `definition` says what was held against what.
    """

    name: str
    slo: Slo
    over: Over
    interval: Interval
    unit: str
    binding: Binding
    kv: KvCliff
    curve: tuple[Point, ...]
    saturation: float
    closed_form: float | None
    definition: str
    simulated_requests: int
    notes: tuple[str, ...]

    @property
    def value(self) -> float:
        """The estimate."""
        return self.interval.value

    @property
    def knee(self) -> Point | None:
        """The point of the curve beyond which latency grows faster than throughput."""
        return next((point for point in self.curve if point.is_knee), None)

    def table(self) -> pd.DataFrame:
        """The curve: one row a load."""
        return pd.DataFrame([self._row(point) for point in self.curve])

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        interval, knee = self.interval, self.knee
        return {
            "capacity": {"value": interval.value, "low": interval.low, "high": interval.high, "unit": self.unit},
            "binding": {"slo": self.binding.slo, "resource": self.binding.resource, "why": self.binding.why},
            "curve": [self._row(point) for point in self.curve],
            "simulated_requests": self.simulated_requests,
            "slo": {limit.name: limit.most_s for limit in self.slo.limits},
            "attainment": self.slo.attainment,
            "level": interval.level,
            "method": interval.method,
            "definition": self.definition,
            "saturation": self.saturation,
            "closed_form_requests_per_s": self.closed_form,
            "knee": None if knee is None else knee.load,
            "kv_cache": {
                "mean_used_fraction": self.kv.mean_used_fraction,
                "peak_used_fraction": self.kv.peak_used_fraction,
                "preemptions_per_1000": self.kv.preemptions_per_1000,
                "preemptions_from": self.kv.preemptions_from,
            },
            "notes": list(self.notes),
        }

    def _row(self, point: Point) -> dict[str, Any]:
        numbers = {self.over: point.load, "served": point.served, **point.facts, **point.values}
        return {
            **{name: _rounded(value) for name, value in numbers.items()},
            "status": point.status,
            "replications": point.replications,
            "measured_requests": point.measured_requests,
            "knee": point.is_knee,
        }


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def curve_of(measurements: Sequence[Measurement], slo: Slo) -> tuple[Point, ...]:
    """A point a load, the flood left out and loads that are all but the same taken together, with the knee marked."""
    drawn = sorted((one for one in measurements if one.load < FLOOD_RATE), key=lambda one: one.load)
    alike: list[list[Measurement]] = []
    for one in drawn:
        if alike and one.load <= ALIKE * alike[-1][0].load:
            alike[-1].append(one)
        else:
            alike.append([one])
    points = [_point(some, slo) for some in alike]
    steady = [point for point in points if point.status != "unstable"]
    knee = max(steady, key=lambda point: point.served / max(point.facts["mean_e2e"], 1e-9), default=None)
    return tuple(_marked(point) if point is knee else point for point in points)


def _point(some: Sequence[Measurement], slo: Slo) -> Point:
    weights = np.array([one.measured for one in some], float)
    means = np.average([one.values for one in some], axis=0, weights=weights)
    relative = dict(zip(slo.names, means / np.array(slo.bounds), strict=True))
    values = dict(zip(slo.names, map(float, means), strict=True))
    if ATTAINMENT in values:
        values[ATTAINMENT] = 1 - values[ATTAINMENT]
    facts = {name: float(np.average([one.facts[name] for one in some], weights=weights)) for name in some[0].facts}
    growth = float(np.average([one.growth for one in some], weights=weights))
    met: Status = "met" if max(relative.values()) <= 1 else "missed"
    return Point(
        load=float(np.average([one.load for one in some], weights=weights)),
        status="unstable" if growth > POSSIBLE_GROWTH + 1 / np.sqrt(weights.sum()) else met,
        replications=len(some),
        measured_requests=int(weights.sum()),
        served=float(np.average([one.served for one in some], weights=weights)),
        values=values,
        relative={name: float(each) for name, each in relative.items()},
        facts=facts,
    )


def _marked(point: Point) -> Point:
    return Point(**{**point.__dict__, "is_knee": True})


def cliff_of(measurements: Sequence[Measurement], at: Sequence[Measurement]) -> KvCliff:
    """From the runs at the capacity, and all runs."""
    means = {name: float(np.mean([one.facts[name] for one in at])) for name in at[0].facts}
    seen = [one.load for one in measurements if one.facts["preemptions_per_1000"] > 0 and one.load < FLOOD_RATE]
    return KvCliff(
        means["kv_mean_used_fraction"],
        max(one.facts["kv_peak_used_fraction"] for one in at),
        means["preemptions_per_1000"],
        min(seen, default=None),
    )
