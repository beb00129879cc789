"""Intervals from one long run: a mean by batch means, a quantile by batch quantiles.

The run is cut into batches so long that they hardly depend on each other, though the observations within do (Law,
Simulation Modeling and Analysis, 9.5.3). Its start-up must be cut off before.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sim.stats.interval import FloatArray, Interval, Refused, as_values, check_share
from sim.stats.needed import (
    BATCHES,
    MARGIN,
    observations_for_mean,
    observations_for_quantile,
    quantile_rule,
)
from sim.stats.sections import means_of, quantiles_of, tail_shares

LEAST_BATCHES = 5

ALIKE_Z = 2.326
"""Neighbouring batches are alike when the test of their independence fails at 1 %."""


def batch_mean_interval(values: ArrayLike, level: float = 0.95, batches: int = BATCHES) -> Interval | Refused:
    """The mean of a run, whose values are in order of time.

    Refused when the run is worth less than 600 independent observations, or neighbouring batches are alike.
    """
    series, least = _checked(values, level, batches), observations_for_mean(batches=batches)
    if len(series) < least:
        return Refused("a mean from one run", len(series), least)
    means = means_of(np.array_split(series, batches))
    tau = means.correlation_time(float(series.var()))
    if len(series) < observations_for_mean(tau, batches):
        reason = f"a mean from one run takes {least} independent observations (now {int(len(series) / tau)})"
        return Refused(reason, len(series), observations_for_mean(MARGIN * tau, batches))
    if means.lag1_z() > ALIKE_Z:
        return _alike("a mean", series)
    return means.interval(level, len(series) / tau, _method("batch means", series, batches))


def batch_quantile_interval(
    values: ArrayLike, p: float, level: float = 0.95, batches: int = BATCHES
) -> Interval | Refused:
    """The quantile p of a run, whose values are in order of time.

    Refused when a batch holds less than 100/(1 - p) observations, or the run is worth less than 40 independent ones
    beyond the quantile, or neighbouring batches are alike.
    """
    series = _checked(values, level, batches)
    if len(series) < 2 * batches:
        return Refused(quantile_rule(p, batches), len(series), observations_for_quantile(p, batches=batches))
    sections = np.array_split(series, batches)
    quantiles = quantiles_of(sections, p)
    shares, tau = tail_shares(sections, quantiles.overall)
    if len(series) < observations_for_quantile(p, tau, batches):
        needed = observations_for_quantile(p, MARGIN * tau, batches)
        return Refused(quantile_rule(p, batches, len(series), tau), len(series), needed)
    if shares.lag1_z() > ALIKE_Z:
        return _alike(f"P{100 * p:g}", series)
    return quantiles.interval(level, len(series) / tau, _method("batch quantiles", series, batches))


def _checked(values: ArrayLike, level: float, batches: int) -> FloatArray:
    check_share(level, "level")
    if batches < LEAST_BATCHES:
        raise ValueError(f"batches: got {batches}, must be at least {LEAST_BATCHES}")
    return as_values(values)


def _alike(what: str, series: FloatArray) -> Refused:
    reason = f"{what} from one run takes batches that do not resemble their neighbours, as those of a drift do"
    return Refused(reason, len(series), 2 * len(series))


def _method(name: str, series: FloatArray, batches: int) -> str:
    return f"{name}, {batches} of {len(series) // batches:,}"
