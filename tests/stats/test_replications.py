"""Intervals over replications, against scipy and by their properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sim.stats.interval import Interval, Refused
from sim.stats.replications import mean_interval, quantile_interval, ratio_interval

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=30)
RANDOM = np.random.default_rng(8)
TOKENS, SECONDS = RANDOM.uniform(900, 1100, 12), RANDOM.uniform(8, 12, 12)


@given(values=VALUES, level=st.floats(0.5, 0.99))
def test_means_have_scipys_t_interval(values, level):
    found = mean_interval(values, level)
    standard_error = np.std(values, ddof=1) / len(values) ** 0.5
    if standard_error:
        expected = stats.t.interval(level, len(values) - 1, np.mean(values), standard_error)
        assert (found.low, found.high) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert (found.value, found.n_effective) == (pytest.approx(np.mean(values), abs=1e-9), len(values))


@given(values=VALUES, seed=st.integers(0, 9))
def test_the_order_of_replications_does_not_matter(values, seed):
    one, other = mean_interval(values), mean_interval(np.random.default_rng(seed).permutation(values))
    assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    "estimate", [mean_interval, lambda v: ratio_interval(v, v), lambda v: quantile_interval([[x] for x in v], 0.5)]
)
@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0]])
def test_two_replications_say_nothing(estimate, values):
    assert estimate(values) == Refused("an interval over replications", len(values), 3, "replications")


# ---- ratios ---------------------------------------------------------------------------------------------------------


def test_a_ratio_is_that_of_the_sums_and_as_wide_as_the_bootstrap_has_it():
    found = ratio_interval(TOKENS, SECONDS)
    assert found.value == pytest.approx(TOKENS.sum() / SECONDS.sum())
    bootstrap = stats.bootstrap(
        (TOKENS, SECONDS), lambda y, x, axis: y.sum(axis) / x.sum(axis), paired=True, method="percentile", rng=1
    )
    t_over_z = stats.t.ppf(0.975, 11) / 1.96
    assert found.half_width == pytest.approx(bootstrap.standard_error * 1.96 * t_over_z, rel=0.1)


def test_a_ratio_that_never_varies_is_exact():
    found = ratio_interval(3 * SECONDS, SECONDS)
    assert (found.low, found.high) == pytest.approx((3, 3))


@given(scale=st.floats(0.01, 100))
def test_a_ratio_scales_with_its_numerator(scale):
    one, other = ratio_interval(TOKENS, SECONDS), ratio_interval(scale * TOKENS, SECONDS)
    assert (other.low, other.high) == pytest.approx((scale * one.low, scale * one.high))


def test_ratios_to_one_are_means():
    one, other = ratio_interval(TOKENS, np.ones(12)), mean_interval(TOKENS)
    assert (one.low, one.value, one.high) == pytest.approx((other.low, other.value, other.high))


@pytest.mark.parametrize(("y", "x", "message"), [([1, 2], [1], "as many"), ([1, 2, 3], [1, -1, 0], "add up to 0")])
def test_ratios_without_meaning_are_errors(y, x, message):
    with pytest.raises(ValueError, match=message):
        ratio_interval(y, x)


# ---- quantiles ------------------------------------------------------------------------------------------------------


def exponentials(lengths: list[int]) -> list[np.ndarray]:
    return [np.random.default_rng(seed).exponential(size=length) for seed, length in enumerate(lengths)]


@pytest.mark.parametrize("lengths", [[2_000] * 10, [2_000, 2_500, 3_100, 4_000, 9_000]])
def test_quantiles_are_those_of_all_observations(lengths):
    replications = exponentials(lengths)
    found = quantile_interval(replications, 0.95)
    assert isinstance(found, Interval)
    assert found.value == np.quantile(np.concatenate(replications), 0.95)
    assert -np.log(0.05) in found


@given(seed=st.integers(0, 99))
@settings(max_examples=10)
def test_the_order_of_replications_does_not_matter_to_quantiles(seed):
    replications = exponentials([2_000, 2_100, 2_200])
    order = np.random.default_rng(seed).permutation(3)
    one, other = quantile_interval(replications, 0.95), quantile_interval([replications[i] for i in order], 0.95)
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


@pytest.mark.parametrize("length", [0, 1, 500, 9_999])
def test_p99_of_short_replications_is_refused(length):
    found = quantile_interval(exponentials([20_000, 20_000, length]), 0.99)
    assert isinstance(found, Refused)
    assert (found.have, found.unit) == (length, "observations a replication")
    assert found.needed >= 10_000
    assert "P99 takes 100 observations beyond it in each of 3 parts" in str(found)


def test_replications_that_differ_are_worth_less():
    """Each is another level: three observations, however many were drawn."""
    levels = [level + draws / 100 for level, draws in zip((1.0, 2.0, 3.0), exponentials([5_000] * 3), strict=True)]
    assert isinstance(quantile_interval(levels, 0.5), Refused)
