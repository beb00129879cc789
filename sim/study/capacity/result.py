"""What a search for the capacity found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
CLIFF_PER_1000 = 1.0
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
    """How full KV memory is at the capacity, and the load `at` which the curve has one preemption per 1000 requests.

    `margin` is how much more load that is than the capacity, as a share of it: below 0 the capacity lies beyond the
    cliff. Both are None where no load of the curve has so many.
    """

    mean_used_fraction: float
    peak_used_fraction: float
    preemptions_per_1000: float
    at: float | None
    margin: float | None


@dataclass(frozen=True)
class Capacity:
    """The highest load that meets an SLO. `interval` is in `unit`: requests/s, conversations/s or users.

    `saturation` is what the engine served under overload (of users: with the most that were tried). `knee` is the load
    of the curve with the highest throughput over mean end-to-end time (power: Kleinrock 1979). `definition` says what
    was held against what.
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
            "knee": None if knee is None else knee.load,
            "kv_cliff": asdict(self.kv),
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
    return tuple(replace(point, is_knee=point is knee) for point in points)


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


def cliff_of(curve: Sequence[Point], at: Sequence[Measurement], capacity: float) -> KvCliff:
    """From the runs at the capacity, and the curve."""
    means = {name: float(np.mean([one.facts[name] for one in at])) for name in at[0].facts}
    cliff = _cliff([(point.load, point.facts["preemptions_per_1000"]) for point in curve])
    return KvCliff(
        means["kv_mean_used_fraction"],
        max(one.facts["kv_peak_used_fraction"] for one in at),
        means["preemptions_per_1000"],
        cliff,
        None if cliff is None else cliff / capacity - 1,
    )


def _cliff(preemptions: Sequence[tuple[float, float]]) -> float | None:
    """The first load, on straight lines between those of the curve, with so many preemptions per 1000 requests."""
    before, few = 0.0, 0.0
    for load, many in preemptions:
        if many >= CLIFF_PER_1000:
            return before + (load - before) * (CLIFF_PER_1000 - few) / (many - few)
        before, few = load, many
    return None
