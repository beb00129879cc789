"""Quantiles of groups are numpy's of each group."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.stats.quantiles import grouped_quantiles

LEVELS = (0.0, 0.5, 0.99, 1.0)
GROUPS = 5


@given(pairs=st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(0, GROUPS - 1)), max_size=40))
def test_equal_numpy_on_each_group(pairs):
    values, group = np.array([value for value, _ in pairs]), np.array([number for _, number in pairs], dtype=int)
    found = grouped_quantiles(values, group, GROUPS, LEVELS)
    assert found.shape == (len(LEVELS), GROUPS)
    for number in range(GROUPS):
        members = values[group == number]
        expected = np.quantile(members, LEVELS) if len(members) else [np.nan] * len(LEVELS)
        assert found[:, number] == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


def test_by_hand():
    """1, 1, 1, 5 in group 1: the median is 1, P90 lies 0.7 of the way from rank 2 (1) to rank 3 (5)."""
    values, group = np.array([5.0, 1.0, 7.0, 1.0, 1.0]), np.array([1, 1, 0, 1, 1])
    found = grouped_quantiles(values, group, 3, (0.5, 0.9))
    assert found.tolist() == [
        pytest.approx([7.0, 1.0, np.nan], nan_ok=True),
        pytest.approx([7.0, 3.8, np.nan], nan_ok=True),
    ]


def test_no_groups_have_no_quantiles():
    assert grouped_quantiles(np.array([]), np.array([], dtype=int), 0, LEVELS).shape == (len(LEVELS), 0)
