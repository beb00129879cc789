"""Where noisy curves first reach their limits."""

from __future__ import annotations

import numpy as np
import pytest

from sim.stats.crossing import first_crossing
from sim.stats.interval import Interval

PLACES = np.array([9.0, 11.0] * 10)
SEEDS = np.repeat(np.arange(10), 2)


def test_the_first_of_two_lines_to_reach_its_limit():
    values = np.column_stack([PLACES, 2 * PLACES])
    found = first_crossing(PLACES, SEEDS, values, [10.5, 20.0])
    assert found.first == 1
    assert found.place == pytest.approx(10)
    assert found.places == pytest.approx([10.5, 10])
    assert found.pseudo_values == pytest.approx(np.full(10, 10.0))


def test_a_line_that_falls_or_has_no_limit_is_never_reached():
    values = np.column_stack([-PLACES, PLACES, PLACES])
    found = first_crossing(PLACES, SEEDS, values, [-5.0, np.inf, 12.0])
    assert found.places.tolist()[:2] == [np.inf, np.inf]
    assert found.first == 2


def test_what_a_seed_does_to_both_places_moves_the_crossing():
    """Shifts of 0.5 (standard deviation) a seed, known slopes of 1: the mean of ten is known to 0.5/√10."""
    shifts = np.random.default_rng(2).normal(0, 0.5, 10)
    found = first_crossing(PLACES, SEEDS, (PLACES + np.repeat(shifts, 2))[:, None], [10.0])
    assert found.place == pytest.approx(10 - shifts.mean())
    interval = found.interval(0.95)
    assert isinstance(interval, Interval)
    assert interval.half_width == pytest.approx(2.262 * shifts.std(ddof=1) / 10**0.5, rel=1e-3)


def test_intervals_cover_the_true_place_as_often_as_they_say():
    """Of 300 intervals at 90 %, 270 on average; 3 standard deviations are 16."""
    random = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        noise = np.repeat(random.normal(0, 0.3, 10), 2) + random.normal(0, 0.2, 20)
        interval = first_crossing(PLACES, SEEDS, (PLACES + noise)[:, None], [10.0]).interval(0.9)
        hits += interval.low <= 10 <= interval.high
    assert hits == pytest.approx(270, abs=16)


def test_a_place_is_not_looked_for_beyond_where_a_line_can_be_trusted():
    values = (10 + 1e-6 * PLACES)[:, None]
    assert first_crossing(PLACES, SEEDS, values, [20.0]).pseudo_values == pytest.approx(np.full(10, 10 + 3 * 2))


def test_one_place_has_no_line():
    with pytest.raises(ValueError, match="all runs are at 9, must be at two places at least"):
        first_crossing([9, 9], [0, 1], [[1], [2]], [1])
