"""Maxima of ranges are those of slices."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sim.stats.range_maximum import range_maxima


@given(values=st.lists(st.floats(0, 1), max_size=70), data=st.data())
def test_each_is_that_of_its_slice(values, data):
    place = st.integers(0, len(values))
    ranges = [sorted(pair) for pair in data.draw(st.lists(st.tuples(place, place), max_size=20))]
    begins, ends = np.array(ranges, dtype=int).reshape(-1, 2).T
    expected = [max(values[begin:end], default=-np.inf) for begin, end in ranges]
    assert range_maxima(np.array(values), begins, ends).tolist() == expected


def test_every_range_of_a_long_array():
    values = np.random.default_rng(0).random(40)
    begins, ends = np.triu_indices(41, k=1)
    expected = [values[begin:end].max() for begin, end in zip(begins, ends, strict=True)]
    assert range_maxima(values, begins, ends).tolist() == expected
