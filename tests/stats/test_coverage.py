"""Do intervals cover the truth as often as they say? On series whose truth is known.

Every experiment draws new data; the share of experiments whose interval holds the truth is the coverage. A thousand
tell 95 % from 92 % or 98 % (`pytest -m deep`); the everyday versions are smaller, with fixed seeds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pytest
from known_series import autoregression, mm1_correlation_time, mm1_mean, mm1_quantile, mm1_waits
from scipy.stats import norm

from sim.stats.batch_means import batch_mean_interval, batch_quantile_interval
from sim.stats.interval import Interval, Refused
from sim.stats.needed import observations_for_mean, observations_for_quantile
from sim.stats.order_statistics import order_statistic_interval
from sim.stats.replications import mean_interval, quantile_interval
from sim.stats.sections import means_of, quantiles_of
from sim.stats.sequential import progress
from sim.stats.warm_up import warm_up

Experiment = Callable[[int], bool]


def coverage(covers: Experiment, experiments: int) -> float:
    """The share of experiments, by seed, whose interval holds the truth."""
    if experiments < 1000:
        return float(np.mean([covers(seed) for seed in range(experiments)]))
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return float(np.mean(list(pool.map(covers, range(experiments), chunksize=10))))


# ---- replications ---------------------------------------------------------------------------------------------------

RELAXATIONS = {0.7: 2_000, 0.9: 30_000}
"""Lengths of a replication of M/M/1, of about 80 correlation times; a tenth or less is start-up."""


def mean_of_replications_covers(utilisation: float, seed: int) -> bool:
    """Twenty replications from empty, start-up found and deleted."""
    length = RELAXATIONS[utilisation]
    waits = [mm1_waits(1000 * seed + i, utilisation, length) for i in range(20)]
    deleted = warm_up(waits)
    assert isinstance(deleted, int)
    interval = mean_interval([series[deleted:].mean() for series in waits])
    assert isinstance(interval, Interval)
    return mm1_mean(utilisation) in interval


@pytest.mark.parametrize("utilisation", [0.7, 0.9])
def test_means_of_replications(utilisation):
    experiments = {0.7: 200, 0.9: 20}[utilisation]
    assert coverage(partial(mean_of_replications_covers, utilisation), experiments) >= 0.9


@pytest.mark.deep
@pytest.mark.parametrize("utilisation", [0.7, 0.9])
def test_means_of_replications_cover_95_percent(utilisation):
    assert 0.93 <= coverage(partial(mean_of_replications_covers, utilisation), 1000) <= 0.97


def quantile_of_replications_covers(seed: int) -> bool:
    """P95 of ten replications, as long as they are asked to be."""
    length = 2_000
    while True:
        waits = [mm1_waits(1000 * seed + i, 0.8, length + 400)[400:] for i in range(10)]
        interval = quantile_interval(waits, 0.95)
        if isinstance(interval, Interval):
            return mm1_quantile(0.8, 0.95) in interval
        length = interval.needed


def test_quantiles_of_replications():
    assert coverage(quantile_of_replications_covers, 100) >= 0.9


@pytest.mark.deep
def test_quantiles_of_replications_cover_90_percent():
    assert 0.9 <= coverage(quantile_of_replications_covers, 1000) <= 0.97


# ---- one long run ---------------------------------------------------------------------------------------------------


def granted(estimate: Callable[[np.ndarray], Interval | Refused], draw: Callable[[int], np.ndarray], first: int):
    """The interval of a run that is made as long as it is asked to be, its first tenth deleted."""
    count = first
    while True:
        interval = estimate(draw(count + count // 9)[-count:])
        if isinstance(interval, Interval):
            return interval
        assert interval.needed > count
        count = interval.needed


def quantile_of_a_run_covers(utilisation: float, p: float, seed: int) -> bool:
    estimate, draw = partial(batch_quantile_interval, p=p), partial(mm1_waits, seed, utilisation)
    return mm1_quantile(utilisation, p) in granted(estimate, draw, observations_for_quantile(p))


@pytest.mark.parametrize(("utilisation", "p"), [(0.7, 0.99), (0.9, 0.9)])
def test_quantiles_of_one_run(utilisation, p):
    assert coverage(partial(quantile_of_a_run_covers, utilisation, p), 60) >= 0.88


@pytest.mark.deep
@pytest.mark.parametrize(("utilisation", "p"), [(0.7, 0.5), (0.7, 0.95), (0.7, 0.99), (0.9, 0.95), (0.9, 0.99)])
def test_quantiles_of_one_run_cover_90_percent(utilisation, p):
    assert 0.9 <= coverage(partial(quantile_of_a_run_covers, utilisation, p), 1000) <= 0.98


def mean_of_a_run_covers(utilisation: float, seed: int) -> bool:
    draw = partial(mm1_waits, seed, utilisation)
    return mm1_mean(utilisation) in granted(batch_mean_interval, draw, observations_for_mean(10))


def test_means_of_one_run():
    assert coverage(partial(mean_of_a_run_covers, 0.7), 200) >= 0.9


@pytest.mark.deep
@pytest.mark.parametrize("utilisation", [0.7, 0.9])
def test_means_of_one_run_cover_90_percent(utilisation):
    assert 0.9 <= coverage(partial(mean_of_a_run_covers, utilisation), 1000) <= 0.97


def batches_of_autoregression_cover(coefficient: float, count: int, seed: int) -> bool:
    """Twenty batches whatever the run is worth."""
    sections = means_of(np.array_split(autoregression(seed, coefficient, count), 20))
    return 0.0 in sections.interval(0.95, count, "batch means")


@pytest.mark.parametrize(
    ("coefficient", "count", "least"), [(0.5, 4000, 0.93), (0.9, 4000, 0.93), (0.99, 20_000, 0.92)]
)
def test_batch_means_of_correlated_series(coefficient, count, least):
    assert least <= coverage(partial(batches_of_autoregression_cover, coefficient, count), 999) <= 0.97


# ---- what is refused, and why ---------------------------------------------------------------------------------------


def independent_interval_covers(utilisation: float, seed: int) -> bool:
    """Every request taken for a replication of its own."""
    interval = mean_interval(mm1_waits(seed, utilisation, 22_000)[2_000:])
    return isinstance(interval, Interval) and mm1_mean(utilisation) in interval


@pytest.mark.parametrize("utilisation", [0.7, 0.8])
def test_requests_taken_for_independent_cover_a_sixth_to_a_third(utilisation):
    """As theory has it: 2Φ(1.96/√τ) - 1."""
    found = coverage(partial(independent_interval_covers, utilisation), 500)
    assert 0.14 <= found <= 0.34
    assert found == pytest.approx(2 * norm.cdf(1.96 / mm1_correlation_time(utilisation) ** 0.5) - 1, abs=0.05)


def test_at_high_load_they_cover_even_less():
    found = coverage(partial(independent_interval_covers, 0.9), 500)
    assert found == pytest.approx(2 * norm.cdf(1.96 / mm1_correlation_time(0.9) ** 0.5) - 1, abs=0.04)


def ranks_of_a_run_cover(seed: int) -> bool:
    interval = order_statistic_interval(mm1_waits(seed, 0.8, 22_000)[2_000:], 0.99)
    return isinstance(interval, Interval) and mm1_quantile(0.8, 0.99) in interval


def test_ranks_of_a_run_taken_for_independent_cover_a_sixth():
    assert coverage(ranks_of_a_run_cover, 300) <= 0.25


def short_batches_cover(seed: int) -> bool:
    """P99 at 80 % load from batches of 2,500, where 10,000 are asked for."""
    sections = quantiles_of(np.array_split(mm1_waits(seed, 0.8, 55_000)[5_000:], 20), 0.99)
    return mm1_quantile(0.8, 0.99) in sections.interval(0.95, 1, "batch quantiles")


def test_short_batches_would_cover_too_little_and_are_refused():
    assert coverage(short_batches_cover, 300) <= 0.9
    assert isinstance(batch_quantile_interval(mm1_waits(0, 0.8, 55_000)[5_000:], 0.99), Refused)


# ---- independent observations, sequential stopping ------------------------------------------------------------------


def ranks_cover(p: float, count: int, seed: int) -> bool:
    interval = order_statistic_interval(np.random.default_rng(seed).exponential(size=count), p)
    assert isinstance(interval, Interval)
    return -np.log(1 - p) in interval


@pytest.mark.parametrize(
    ("p", "count", "exact"), [(0.5, 1000, 0.9537), (0.95, 1000, 0.9581), (0.99, 1000, 0.9761), (0.99, 5000, 0.9537)]
)
def test_ranks_cover_independent_observations_exactly(p, count, exact):
    spread = 3 * (exact * (1 - exact) / 999) ** 0.5
    assert coverage(partial(ranks_cover, p, count), 999) == pytest.approx(exact, abs=spread)


def stopped_interval_covers(seed: int) -> bool:
    """Replications of mean 1 and deviation 0.3, added until ±10 %."""
    random = np.random.default_rng(seed)
    values = np.empty(0)
    while not (state := progress(values, 0.1)).met:
        values = np.append(values, random.normal(1.0, 0.3, state.more))
    assert isinstance(state.interval, Interval)
    return 1.0 in state.interval


def test_stopping_when_narrow_enough_costs_little_coverage():
    assert 0.92 <= coverage(stopped_interval_covers, 999) <= 0.97
