"""Two systems under common random numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.recursions import lindley_waits
from scipy import stats

from sim.stats.interval import Refused
from sim.stats.paired import Comparison, compare, compare_all, simultaneous_level

VALUES = st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)), min_size=3, max_size=20)
BASE = np.array([1.0, 2.0, 1.5, 1.2, 1.9, 1.4])
NOISE = np.array([0.01, -0.01, 0.02, -0.02, 0.005, -0.005])


def found(baseline, other, **options) -> Comparison:
    comparison = compare(baseline, other, **options)
    assert isinstance(comparison, Comparison)
    return comparison


@given(pairs=VALUES)
def test_the_difference_has_scipys_paired_interval(pairs):
    a, b = np.array(pairs).T
    comparison = found(a, b)
    if np.ptp(b - a) > 1e-9:
        expected = stats.ttest_rel(b, a).confidence_interval(0.95)
        assert comparison.difference.low == pytest.approx(expected.low, rel=1e-6, abs=1e-6)
        assert comparison.difference.high == pytest.approx(expected.high, rel=1e-6, abs=1e-6)
    assert comparison.relative.value == pytest.approx(b.mean() / a.mean() - 1, rel=1e-6, abs=1e-9)


@given(pairs=VALUES)
def test_seen_from_the_other_side_the_verdict_turns_round(pairs):
    a, b = np.array(pairs).T
    opposite = {"lower": "higher", "higher": "lower", "unknown": "unknown", "same": "same"}
    assert found(b, a).verdict == opposite[found(a, b).verdict]
    assert found(b, a).difference.value == pytest.approx(-found(a, b).difference.value)


@pytest.mark.parametrize(
    ("other", "same_within", "verdict"),
    [
        (BASE + 0.5 + NOISE, 0.02, "higher"),
        (BASE - 0.5 + NOISE, 0.02, "lower"),
        (BASE + NOISE, 0.0, "unknown"),
        (BASE + NOISE, 0.05, "same"),
        (BASE + 0.02, 0.05, "same"),
        (BASE + 0.02, 0.0, "higher"),
        (BASE, 0.0, "same"),
        (BASE[::-1], 0.05, "unknown"),
    ],
)
def test_verdicts(other, same_within, verdict):
    assert found(BASE, other, same_within=same_within).verdict == verdict


def test_a_difference_from_nothing_has_no_ratio():
    comparison = found(np.zeros(4), [1.0, 2.0, 1.0, 2.0], same_within=0.5)
    assert comparison.relative is None
    assert (comparison.verdict, comparison.difference.value) == ("higher", 1.5)
    assert found(np.zeros(4), np.zeros(4)).verdict == "same"


def test_what_pairing_gains():
    assert found(BASE, BASE + 1).variance_reduction > 1e20  # the difference never varies, but for rounding
    assert found(BASE, BASE).variance_reduction == math.inf
    assert found(np.ones(3), np.ones(3)).variance_reduction == 1.0
    assert found(BASE, 3 - BASE).variance_reduction == pytest.approx(0.5)


def test_two_pairs_are_too_few_and_unequal_numbers_an_error():
    assert isinstance(compare([1.0, 2.0], [2.0, 3.0]), Refused)
    with pytest.raises(ValueError, match="must be paired"):
        compare([1.0, 2.0, 3.0], [2.0, 3.0])
    with pytest.raises(ValueError, match="same_within: got -1"):
        compare(BASE, BASE, same_within=-1)


def test_a_slightly_faster_server_under_the_same_requests():
    """M/M/1 at 8 requests/s, served at 10 and 10.526/s: waits 0.0992 s apart; unpaired, 11 times the variance."""
    slow, fast = np.empty(400), np.empty(400)
    for seed in range(400):
        random = np.random.default_rng(seed)
        arrivals, work = np.cumsum(random.exponential(1 / 8, 5000)), random.exponential(size=5000)
        slow[seed], fast[seed] = (lindley_waits(arrivals, work / rate)[500:].mean() for rate in (10, 10 / 0.95))
    comparison = found(slow, fast)
    assert -0.0991667 in comparison.difference
    assert comparison.verdict == "lower"
    assert 5 <= comparison.variance_reduction <= 20


# ---- several at once ------------------------------------------------------------------------------------------------


def test_levels_of_several():
    assert simultaneous_level(0.95, 1) == 0.95
    assert simultaneous_level(0.95, 5) == pytest.approx(0.99)
    with pytest.raises(ValueError, match="comparisons: got 0"):
        simultaneous_level(0.95, 0)


def test_each_of_several_is_held_to_a_higher_level():
    others = {"a": BASE + NOISE, "b": BASE + 0.5 + NOISE, "c": BASE - 0.5 + NOISE}
    together = compare_all(BASE, others)
    assert {name: one.verdict for name, one in together.items()} == {"a": "unknown", "b": "higher", "c": "lower"}
    assert together["b"].difference.level == pytest.approx(1 - 0.05 / 3)
    assert together["b"].difference.half_width > found(BASE, others["b"]).difference.half_width
    assert compare_all(BASE, {}) == {}


def test_ten_that_are_no_different_rarely_seem_so():
    random = np.random.default_rng(1)
    wrong = 0
    for _ in range(400):
        base = random.normal(10, 1, 12)
        others = {str(i): base + random.normal(0, 1, 12) for i in range(10)}
        wrong += any(one.verdict != "unknown" for one in compare_all(base, others).values())
    assert wrong / 400 <= 0.07
