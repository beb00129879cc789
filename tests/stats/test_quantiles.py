"""Quantiles of repeated values are numpy's quantiles of the values written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.stats.quantiles import repeated_quantiles

LEVELS = (0.0, 0.5, 0.9, 0.95, 0.99, 1.0)
SAMPLES = st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(1, 40)), min_size=1, max_size=30)


@given(sample=SAMPLES, level=st.floats(0, 1))
def test_equal_numpy_on_the_sample_written_out(sample, level):
    values, counts = np.array([value for value, _ in sample]), np.array([count for _, count in sample])
    expected = np.quantile(np.repeat(values, counts), (*LEVELS, level))
    assert repeated_quantiles(values, counts, (*LEVELS, level)) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(sample=SAMPLES, seed=st.integers(0, 9))
def test_the_order_of_the_values_does_not_matter(sample, seed):
    values, counts = np.array([value for value, _ in sample]), np.array([count for _, count in sample])
    shuffled = np.random.default_rng(seed).permutation(len(values))
    in_order, mixed = (repeated_quantiles(values[i], counts[i], LEVELS) for i in (slice(None), shuffled))
    assert in_order.tolist() == mixed.tolist()


@given(sample=SAMPLES)
def test_quantiles_rise_with_their_level_and_stay_in_the_sample(sample):
    values, counts = np.array([value for value, _ in sample]), np.array([count for _, count in sample])
    found = repeated_quantiles(values, counts, np.linspace(0, 1, 51))
    slack = 1e-9 * np.abs(values).max()
    assert (np.diff(found) >= -slack).all()
    assert found[0] == values.min()
    assert found[-1] == values.max()


def test_one_value_is_every_quantile():
    assert repeated_quantiles(np.array([7.0]), np.array([1]), LEVELS).tolist() == [7.0] * len(LEVELS)


def test_a_value_that_never_occurs_does_not_count():
    values, counts = np.array([1.0, 2.0, 3.0, 99.0]), np.array([0, 1, 1, 0])
    assert repeated_quantiles(values, counts, (0.0, 0.5, 1.0)).tolist() == [2.0, 2.5, 3.0]


def test_by_hand():
    """1, 1, 1, 5: the median is 1, P90 lies 0.7 of the way from rank 2 (1) to rank 3 (5)."""
    assert repeated_quantiles(np.array([5.0, 1.0]), np.array([1, 3]), (0.5, 0.9)) == pytest.approx([1.0, 3.8])
