"""Intervals, refusals, and what a series of values may be."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sim.stats.interval import Interval, Refused, as_values, student_interval


def interval(value: float, low: float, high: float) -> Interval:
    return Interval(value, low, high, 0.95, 10, "by hand")


def test_an_interval_holds_its_ends_and_what_is_between():
    assert all(number in interval(2.0, 1.0, 3.0) for number in (1.0, 2.5, 3.0))
    assert 0.99 not in interval(2.0, 1.0, 3.0)
    assert 3.01 not in interval(2.0, 1.0, 3.0)


@pytest.mark.parametrize(
    ("found", "relative"),
    [
        (interval(2.0, 1.5, 2.5), 0.25),
        (interval(-2.0, -2.5, -1.5), 0.25),
        (interval(0.0, -1.0, 1.0), math.inf),
        (interval(0.0, 0.0, 0.0), 0.0),
    ],
)
def test_half_width_relative_to_the_value(found, relative):
    assert found.relative_half_width == relative


@given(
    mean=st.floats(-1e3, 1e3),
    error=st.floats(0.01, 1e3),
    degrees=st.integers(1, 500),
    level=st.floats(0.5, 0.999),
)
def test_student_interval_is_scipys(mean, error, degrees, level):
    found = student_interval(mean, error, degrees, level, degrees + 1, "t")
    assert (found.low, found.high) == pytest.approx(stats.t.interval(level, degrees, mean, error), rel=1e-6, abs=1e-6)


def test_a_refusal_says_what_it_takes():
    message = str(Refused("P99 of a short run", have=5_000, needed=200_000))
    assert message == "P99 of a short run; needs about 200,000 observations, have 5,000"


@pytest.mark.parametrize("values", [[1.0, math.nan], [math.inf], [[1.0], [2.0]], 3.0])
def test_values_are_one_finite_series(values):
    with pytest.raises(ValueError, match="latency: must be"):
        as_values(values, "latency")
