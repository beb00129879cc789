"""The trend of a level that goes up and down at given times."""

from __future__ import annotations

import numpy as np
import pytest

from sim.stats.trend import level_trend

NEVER = np.array([])


def test_growth_has_the_slope_of_the_difference_of_rates():
    up, down = np.arange(0, 1000, 1 / 5), np.arange(0, 1000, 1 / 3)
    trend = level_trend(up, down, 0.0, 1000.0)
    assert trend.grows(0.01)
    assert trend.slope == pytest.approx(2.0, rel=1e-2)


def test_a_level_that_only_rises_rises_at_its_rate():
    trend = level_trend(np.arange(0, 100, 0.5), NEVER, 0.0, 100.0)
    assert trend.slope == pytest.approx(2.0, rel=1e-3)
    assert trend.p_value < 1e-6


@pytest.mark.parametrize("down_per_s", [5, 8])
def test_a_level_that_holds_or_falls_does_not_grow(down_per_s):
    up, down = np.arange(0, 1000, 1 / 5), np.arange(0, 1000, 1 / down_per_s)
    assert not level_trend(up, down, 0.0, 1000.0).grows(0.01)


def test_an_unchanging_level_has_no_slope():
    trend = level_trend(np.array([0.0, 0.0]), NEVER, 0.0, 10.0)
    assert (trend.slope, trend.p_value, trend.grows(0.01)) == (0.0, 1.0, False)


def test_what_comes_before_the_span_is_not_growth_in_it():
    trend = level_trend(np.linspace(0, 19.9, 50), NEVER, 20.0, 100.0)
    assert not trend.grows(0.01)


def test_a_bump_that_is_over_by_the_end_is_not_growth():
    trend = level_trend(np.linspace(30, 50, 100), np.linspace(60, 80, 100), 0.0, 100.0)
    assert not trend.grows(0.01)


@pytest.mark.parametrize("shift_s", [0.0, 1e6])
def test_when_the_clock_starts_does_not_matter(shift_s):
    up, down = np.arange(0, 100, 0.25) + shift_s, np.arange(0, 100, 0.5) + shift_s
    assert level_trend(up, down, shift_s, shift_s + 100).slope == pytest.approx(2.0, rel=0.02)


def test_pure_noise_grows_as_rarely_as_the_significance_says():
    """Departures follow arrivals after an independent stay: no bin knows of the next, 1 % of runs may seem to grow."""
    random = np.random.default_rng(0)
    growing = 0
    for _ in range(300):
        up = np.sort(random.uniform(0, 1000, 1000))
        down = np.sort(up + random.exponential(1.0, 1000))
        growing += level_trend(up, down, 0.0, 1000.0).grows(0.01)
    assert growing <= 9
