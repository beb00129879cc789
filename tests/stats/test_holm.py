"""Several differences tested at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sim.stats.holm import holm, paired_p_value

PAIRS = st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)), min_size=2, max_size=20)
P_VALUES = st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8)


@given(pairs=PAIRS)
def test_the_p_value_is_scipys(pairs):
    a, b = np.array(pairs).T
    if np.ptp(b - a) > 1e-9:
        assert paired_p_value(a, b) == pytest.approx(stats.ttest_rel(b, a).pvalue, rel=1e-6, abs=1e-12)


def test_a_difference_that_never_varies_is_certain_and_none_is_none():
    assert paired_p_value([1.0, 2.0, 3.0], [2.0, 3.0, 4.0]) == 0
    assert paired_p_value([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == 1


def test_unpaired_values_are_an_error():
    with pytest.raises(ValueError, match="got 3 and 2 replications"):
        paired_p_value([1.0, 2.0, 3.0], [1.0, 2.0])


def test_by_hand():
    """Holm's own procedure: 3·0.01; then max(0.03, 2·0.03); then max(0.06, 0.04)."""
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"alone": 0.04}) == {"alone": 0.04}
    assert holm({}) == {}


@given(p_values=P_VALUES)
def test_never_surer_than_alone_and_never_less_sure_than_by_bonferroni(p_values):
    """Who is called different at 5 %: a subset of those alone, a superset of those by Bonferroni."""
    called = {name for name, corrected in holm(p_values).items() if corrected < 0.05}
    assert called <= {name for name, p_value in p_values.items() if p_value < 0.05}
    assert called >= {name for name, p_value in p_values.items() if len(p_values) * p_value < 0.05}


@given(p_values=P_VALUES)
def test_the_order_stays(p_values):
    corrected = holm(p_values)
    ranked = sorted(p_values, key=lambda name: p_values[name])
    assert [corrected[name] for name in ranked] == sorted(corrected.values())


def test_of_ten_that_are_no_different_rarely_any_seems_so():
    random = np.random.default_rng(5)
    wrong = 0
    for _ in range(400):
        base = random.normal(10, 1, 12)
        others = {str(i): base + random.normal(0, 1, 12) for i in range(10)}
        wrong += min(holm({key: paired_p_value(base, one) for key, one in others.items()}).values()) < 0.05
    assert wrong / 400 <= 0.07
