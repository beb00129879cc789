"""Run lengths: how much data a percentile or a half-width takes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_series import mm1_correlation_time, mm1_mean

from sim.stats.needed import (
    batch_size_for_quantile,
    mm1_relaxation_time,
    mm1_wait_variance,
    observations_for_half_width,
    observations_for_mean,
    observations_for_quantile,
)

ORACLES = Path(__file__).parents[1] / "data" / "oracles.json"
PLANNED = json.loads(ORACLES.read_text(encoding="utf-8"))["statistics"]["required customers, rel 2 %, 95 %"]


@pytest.mark.parametrize(("p", "size"), [(0.5, 200), (0.9, 1_000), (0.95, 2_000), (0.99, 10_000), (0.999, 100_000)])
def test_a_batch_holds_a_hundred_observations_beyond_its_quantile(p, size):
    assert batch_size_for_quantile(p) == size
    assert observations_for_quantile(p) == 20 * size


@given(p=st.floats(0.01, 0.99))
def test_low_quantiles_need_as_much_as_high_ones(p):
    assert batch_size_for_quantile(p) == pytest.approx(batch_size_for_quantile(1 - p), abs=1)


def test_where_observations_depend_on_each_other_more_are_needed():
    assert observations_for_quantile(0.99, correlation_time=50) == observations_for_quantile(0.99)
    assert observations_for_quantile(0.99, correlation_time=300) == 1_200_000
    assert observations_for_mean(correlation_time=300) == 180_000


def test_more_batches_need_more():
    assert observations_for_mean(batches=10) == observations_for_mean(batches=20) == 600
    assert observations_for_mean(batches=40) == 1_200
    assert observations_for_quantile(0.99, correlation_time=300, batches=40) == 2_400_000


@pytest.mark.parametrize("utilisation", [0.5, 0.7, 0.8, 0.9, 0.95])
def test_the_run_that_gives_two_percent_on_the_wait_of_a_single_server(utilisation):
    mean = mm1_mean(utilisation)
    needed = observations_for_half_width(mm1_wait_variance(utilisation), 0.02 * mean)
    assert needed == pytest.approx(PLANNED[f"rho={utilisation:g}"], rel=0.01)


@pytest.mark.parametrize("utilisation", [0.3, 0.7, 0.9])
def test_the_variance_constant_is_correlation_time_times_variance(utilisation):
    variance = utilisation * (2 - utilisation) / (1 - utilisation) ** 2
    assert mm1_wait_variance(utilisation) == pytest.approx(mm1_correlation_time(utilisation) * variance)


def test_half_the_half_width_takes_four_times_as_much():
    assert observations_for_half_width(9.0, 0.1) == pytest.approx(4 * observations_for_half_width(9.0, 0.2), abs=4)
    assert observations_for_half_width(9.0, 0.1) == np.ceil(1.959964**2 * 900)


@pytest.mark.parametrize(("utilisation", "services"), [(0.8, 89.7), (0.9, 379.7)])
def test_relaxation_of_a_single_server(utilisation, services):
    assert mm1_relaxation_time(utilisation) == pytest.approx(services, abs=0.05)


@pytest.mark.parametrize("p", [0.0, 1.0, 1.5])
def test_quantiles_lie_between_the_extremes(p):
    with pytest.raises(ValueError, match="p: got"):
        observations_for_quantile(p)
