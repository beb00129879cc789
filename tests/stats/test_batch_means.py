"""Intervals from one long run, by hand and by their properties; how often they cover is in test_coverage.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_series import autoregression, mm1_correlation_time, mm1_waits
from scipy import stats

from sim.stats.batch_means import batch_mean_interval, batch_quantile_interval
from sim.stats.interval import Interval, Refused
from sim.stats.sections import means_of, quantiles_of

INDEPENDENT = np.random.default_rng(3).exponential(size=50_000)


def test_equal_batches_give_the_t_interval_of_their_means():
    found = batch_mean_interval(INDEPENDENT, batches=10)
    means = INDEPENDENT.reshape(10, -1).mean(axis=1)
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert isinstance(found, Interval)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.method == "batch means, 10 of 5,000"


@pytest.mark.parametrize("count", [50_000, 49_993])
def test_the_value_is_the_number_a_summary_prints(count):
    values = INDEPENDENT[:count]
    mean, quantile = batch_mean_interval(values), batch_quantile_interval(values, 0.95)
    assert isinstance(mean, Interval)
    assert isinstance(quantile, Interval)
    assert mean.value == pytest.approx(values.mean(), rel=1e-12)
    assert quantile.value == np.quantile(values, 0.95)


@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-10, 10), p=st.sampled_from([0.1, 0.5, 0.9]))
@settings(max_examples=20)
def test_units_do_not_matter(scale, shift, p):
    for estimate in (batch_mean_interval, lambda values: batch_quantile_interval(values, p)):
        base, other = estimate(INDEPENDENT), estimate(scale * INDEPENDENT + shift)
        ends = [scale * end + shift for end in (base.low, base.value, base.high)]
        assert [other.low, other.value, other.high] == pytest.approx(ends, rel=1e-6, abs=1e-6 * scale)
        assert other.n_effective == pytest.approx(base.n_effective, rel=1e-6)


@given(level=st.floats(0.5, 0.98))
def test_a_higher_level_is_a_wider_interval(level):
    narrow, wide = batch_mean_interval(INDEPENDENT, level), batch_mean_interval(INDEPENDENT, level + 0.01)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_independent_observations_count_each():
    found = batch_mean_interval(INDEPENDENT)
    assert found.n_effective == pytest.approx(len(INDEPENDENT), rel=0.5)
    assert found.n_effective <= len(INDEPENDENT)


@pytest.mark.parametrize("utilisation", [0.7, 0.8])
def test_waits_of_a_busy_server_count_little(utilisation):
    waits = mm1_waits(1, utilisation, 2_000_000)
    effective = batch_mean_interval(waits, batches=200).n_effective
    assert effective == pytest.approx(len(waits) / mm1_correlation_time(utilisation), rel=0.3)


def test_a_correlated_run_is_worth_fewer():
    found = batch_mean_interval(autoregression(0, 0.9, 400_000), batches=200)
    assert found.n_effective == pytest.approx(400_000 / 19, rel=0.3)


def test_a_constant_is_known_exactly():
    for found in (batch_mean_interval(np.full(1000, 0.1)), batch_quantile_interval(np.full(40_000, 0.1), 0.95)):
        assert isinstance(found, Interval)
        assert (found.low, found.high) == pytest.approx((0.1, 0.1), abs=1e-12)


def test_a_quantile_that_many_share_is_known_exactly():
    """Most do not wait at all at low load, so the median wait is 0 in every batch."""
    found = batch_quantile_interval(mm1_waits(0, 0.2, 20_000), 0.5)
    assert (found.low, found.value, found.high) == (0, 0, 0)


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_p999_of_a_run_that_would_do_for_p95_is_refused():
    found = batch_quantile_interval(INDEPENDENT, 0.999)
    assert isinstance(found, Refused)
    assert found.needed == 2_000_000
    assert str(found).startswith(
        "P99.9 takes 100 observations beyond it in each of 20 parts (now 2) and 40 independent"
    )
    assert str(found).endswith("needs about 2,000,000 observations, have 50,000")


@pytest.mark.parametrize("count", [0, 1, 39, 40, 1_999])
def test_short_runs_are_refused_whatever_their_length(count):
    for found in (
        batch_mean_interval(INDEPENDENT[: min(count, 599)]),
        batch_quantile_interval(INDEPENDENT[:count], 0.5),
    ):
        assert isinstance(found, Refused)
        assert found.needed > found.have


def test_enough_in_the_tail_is_not_enough_where_it_is_one_busy_spell():
    """At 90 % load 200,000 requests hold 2,000 waits beyond P99, all of a few spells."""
    found = batch_quantile_interval(mm1_waits(2, 0.9, 200_000), 0.99)
    assert isinstance(found, Refused)
    assert 1_000_000 < found.needed < 10_000_000


def test_a_busy_server_needs_a_longer_run_for_its_mean():
    found = batch_mean_interval(mm1_waits(0, 0.9, 20_000))
    assert isinstance(found, Refused)
    assert "600 independent observations" in str(found)
    assert 50_000 < found.needed < 1_000_000


def test_a_queue_that_grows_has_no_mean():
    growing = np.arange(100_000.0) + INDEPENDENT.repeat(2)
    assert isinstance(batch_mean_interval(growing), Refused)
    assert isinstance(batch_quantile_interval(growing, 0.95), Refused)


def test_a_slow_drift_shows_in_neighbouring_batches():
    """Worth thousands of observations by its variance, and yet no two batches alike."""
    drifting = INDEPENDENT + np.linspace(0, 0.1, len(INDEPENDENT))
    found = batch_mean_interval(drifting)
    assert isinstance(found, Refused)
    assert "resemble their neighbours" in str(found)


def test_more_batches_need_a_longer_run():
    assert isinstance(batch_mean_interval(INDEPENDENT[:1_000], batches=20), Interval)
    assert batch_mean_interval(INDEPENDENT[:1_000], batches=100).needed == 3_000
    assert batch_mean_interval(INDEPENDENT[:1_000], batches=5_000).needed == 150_000


def test_too_few_batches_are_an_error():
    with pytest.raises(ValueError, match="batches: got 4, must be at least 5"):
        batch_mean_interval(INDEPENDENT, batches=4)


# ---- sections -------------------------------------------------------------------------------------------------------


def test_sections_of_different_size_weigh_by_size():
    sections = np.split(INDEPENDENT, [10_000, 15_000, 42_000])
    assert means_of(sections).overall == pytest.approx(INDEPENDENT.mean())
    assert quantiles_of(sections, 0.9).overall == np.quantile(INDEPENDENT, 0.9)
    draws = np.random.default_rng(0).normal(size=(4000, 100))
    errors = [means_of(np.split(draw, [5, 20, 60])).standard_error() for draw in draws]
    assert np.mean(np.square(errors)) == pytest.approx(1 / 100, rel=0.05)


def test_independent_sections_seem_alike_as_often_as_chance_has_it():
    draws = np.random.default_rng(0).normal(size=(4000, 20, 1))
    z = np.array([means_of(list(draw)).lag1_z() for draw in draws])
    assert (z.mean(), z.std()) == pytest.approx((0, 1), abs=0.05)
    assert (z > 2.326).mean() == pytest.approx(0.01, abs=0.005)
