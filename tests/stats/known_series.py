"""Series whose mean, quantiles and correlation are known: waits of M/M/1 and autoregression of order 1."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from oracles.recursions import lindley_waits
from scipy.signal import lfilter

Floats = NDArray[np.float64]


def mm1_waits(seed: int, utilisation: float, count: int) -> Floats:
    """Waits of `count` customers who found an empty system at first, in mean service times."""
    random = np.random.default_rng([seed, round(1000 * utilisation)])
    arrivals = np.cumsum(random.exponential(1 / utilisation, count))
    return lindley_waits(arrivals, random.exponential(1.0, count))


def mm1_mean(utilisation: float) -> float:
    """ρ/(1 - ρ)"""
    return utilisation / (1 - utilisation)


def mm1_quantile(utilisation: float, p: float) -> float:
    """P(W > t) = ρ·e^(-(1 - ρ)t)"""
    return max(0.0, math.log(utilisation / (1 - p)) / (1 - utilisation))


def mm1_correlation_time(utilisation: float) -> float:
    """lim n·Var(mean of n) over the variance of one wait, ρ(2 - ρ)/(1 - ρ)²."""
    rho = utilisation
    return (2 + 5 * rho - 4 * rho**2 + rho**3) / ((2 - rho) * (1 - rho) ** 2)


def autoregression(seed: int, coefficient: float, count: int) -> Floats:
    """x[n+1] = φx[n] + N(0, 1), stationary from the beginning: mean 0, τ = (1 + φ)/(1 - φ)."""
    noise = np.random.default_rng([seed, round(1000 * coefficient)]).normal(size=count)
    noise[0] /= math.sqrt(1 - coefficient**2)
    return lfilter([1.0], [1.0, -coefficient], noise)
