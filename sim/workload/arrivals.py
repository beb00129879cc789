"""Arrival processes: from a config to sorted arrival times in seconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.specs.workload import AllAtOnce, Arrivals, DeterministicArrivals, GammaArrivals, PoissonArrivals


def draw_arrivals(spec: Arrivals, count: int, random: np.random.Generator) -> NDArray[np.float64]:
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
