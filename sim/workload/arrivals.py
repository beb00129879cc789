"""Arrival processes: from a config to sorted arrival times in seconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.specs.workload import (
    AllAtOnce,
    DeterministicArrivals,
    DiurnalArrivals,
    GammaArrivals,
    OpenArrivals,
    PiecewiseArrivals,
    PoissonArrivals,
)

FloatArray = NDArray[np.float64]
HALVINGS = 64
"""More than a float has bits: the bracket cannot shrink further."""


def draw_arrivals(spec: OpenArrivals, count: int, random: np.random.Generator) -> FloatArray:
    """`count` arrival times. Random processes start with a gap, deterministic ones at time 0."""
    match spec:
        case PoissonArrivals():
            return np.cumsum(random.exponential(1 / spec.rate, size=count))
        case GammaArrivals():
            shape = 1 / spec.cv**2
            return np.cumsum(random.gamma(shape, 1 / (spec.rate * shape), size=count))
        case DeterministicArrivals():
            return np.arange(count) / spec.rate
        case AllAtOnce():
            return np.zeros(count)
        case PiecewiseArrivals():
            return _when_piecewise(spec, np.cumsum(random.exponential(size=count)))
        case DiurnalArrivals():
            return _when_diurnal(spec, np.cumsum(random.exponential(size=count)))


def _when_piecewise(spec: PiecewiseArrivals, expected: FloatArray) -> FloatArray:
    """The times at which the expected number of arrivals, the integral of the rate, reaches `expected`.

    A Poisson process of rate 1 in `expected` is the wanted one in time.
    """
    ends_s = np.array([0.0, *(segment.until_s for segment in spec.rates)])
    rates = np.array([segment.rate for segment in spec.rates])
    by_end = np.concatenate(([0.0], np.cumsum(np.diff(ends_s) * rates)))
    segment = np.minimum(np.searchsorted(by_end[1:], expected, side="right"), len(rates) - 1)
    times: FloatArray = ends_s[segment] + (expected - by_end[segment]) / rates[segment]
    return times


def _when_diurnal(spec: DiurnalArrivals, expected: FloatArray) -> FloatArray:
    """The same for a sine: by bisection, since expected(t) = mean_rate * (t + swing * (1 - cos(2 pi t / period_s)))."""
    swing_s = spec.amplitude * spec.period_s / (2 * np.pi)
    high = expected / spec.mean_rate
    low = np.maximum(high - 2 * swing_s, 0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        reached = middle + swing_s * (1 - np.cos(2 * np.pi * middle / spec.period_s)) >= expected / spec.mean_rate
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    in_order: FloatArray = np.maximum.accumulate(high)
    return in_order
