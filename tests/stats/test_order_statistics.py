"""Between two ranks: for independent observations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from sim.stats.interval import Interval, Refused
from sim.stats.order_statistics import order_statistic_interval


@pytest.mark.parametrize(
    ("p", "count", "ranks"),
    [(0.5, 1000, (469, 532)), (0.95, 1000, (936, 964)), (0.99, 1000, (983, 997)), (0.99, 5000, (4936, 4964))],
)
def test_ranks_of_the_literature(p, count, ranks):
    found = order_statistic_interval(np.arange(1, count + 1), p)
    assert (found.low, found.high) == ranks


@given(count=st.integers(1, 400), p=st.floats(0.05, 0.95), level=st.floats(0.5, 0.99), seed=st.integers(0, 99))
def test_equal_scipys(count, p, level, seed):
    tail = (1 - level) / 2
    assume(np.abs(stats.binom.cdf(np.arange(count), count, p) - [[tail], [1 - tail]]).min() > 1e-9)  # no tie to round
    values = np.random.default_rng(seed).normal(size=count)
    found = order_statistic_interval(values, p, level)
    expected = stats.quantile_test(values, p=p).confidence_interval(level)
    if isinstance(found, Interval):
        assert (found.low, found.high) == (expected.low, expected.high)
        assert found.low <= found.value <= found.high
    else:
        assert np.isnan([expected.low, expected.high]).any()


def test_the_median_of_five_cannot_be_enclosed_at_95_percent_that_of_six_can():
    found = order_statistic_interval(np.arange(5.0), 0.5)
    assert found == Refused("P50 between two ranks", 5, 6, "independent observations")
    assert (order_statistic_interval(np.arange(6.0), 0.5).low, order_statistic_interval(np.arange(6.0), 0.5).high) == (
        0,
        5,
    )
