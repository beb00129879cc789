"""When to stop replicating, and how many more it takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.stats.interval import Interval, Refused
from sim.stats.sequential import progress

VALUES = st.lists(st.floats(0.1, 100), min_size=0, max_size=60)


@given(values=VALUES, target=st.floats(1e-3, 1))
def test_either_it_is_met_or_more_are_to_run(values, target):
    state = progress(values, target)
    if state.met:
        assert len(values) >= 10
        assert state.interval.relative_half_width <= target
    assert state.met == (state.more == 0)
    assert state.more <= max(10, len(values))
    assert state.needed >= len(values) + (state.more > 0)


@pytest.mark.parametrize("count", range(10))
def test_nobody_stops_before_ten(count):
    state = progress(np.ones(count), 0.5)
    assert (state.met, state.needed, state.more) == (False, 10, 10 - count)
    assert isinstance(state.interval, Refused if count < 3 else Interval)


def test_constants_are_known_at_once():
    assert progress(np.ones(10), 0.01).met


def test_half_the_width_takes_four_times_as_many_but_at_most_twice_are_run_before_the_next_look():
    values = np.random.default_rng(0).normal(10, 2, 20)
    width = progress(values, 1.0).interval.relative_half_width
    state = progress(values, width / 2)
    assert state.needed == pytest.approx(80, abs=1)
    assert state.more == 20
    assert progress(values, width / 1.2).more == 9
    assert progress(values, width * 0.999).more == 1


def test_a_mean_of_zero_has_no_relative_width():
    state = progress(np.array([-1.0, 1.0] * 6), 0.1)
    assert (state.met, state.needed, state.more) == (False, None, 12)


def test_the_least_number_can_be_lowered_but_not_below_what_an_interval_takes():
    assert progress(np.ones(5), 0.1, least=5).met
    assert progress(np.ones(2), 0.1, least=1).more == 1


def test_a_target_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="relative_half_width: got 0"):
        progress(np.ones(10), 0)
