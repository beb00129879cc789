"""Where start-up ends, and when nobody can say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_series import autoregression, mm1_mean, mm1_waits

from sim.stats.interval import Refused
from sim.stats.warm_up import mser5, warm_up


def plain_mser5(replications: np.ndarray) -> int | None:
    """By its definition, one truncation point after the other; None where it is the last one tried."""
    means = replications.mean(axis=0).reshape(-1, 5).mean(axis=1)
    errors = [np.var(means[d:]) / (len(means) - d) for d in range(len(means) // 2 + 1)]
    least = int(np.argmin(errors))
    return None if least == len(errors) - 1 else 5 * least


@given(seed=st.integers(0, 999), start=st.floats(-20, 20), count=st.integers(20, 120))
@settings(max_examples=50)
def test_mser5_is_its_definition(seed, start, count):
    noise = np.random.default_rng(seed).normal(size=(12, 5 * count))
    replications = noise + start * np.exp(-np.arange(5 * count) / 10)
    found = mser5(list(replications))
    assert (None if isinstance(found, Refused) else found) == plain_mser5(replications)


@pytest.mark.parametrize("level", [0.0, 0.1, 1e6])
def test_a_step_is_cut_off_where_it_ends(level):
    series = np.r_[np.full(100, level - 5.0), np.full(400, level)]
    assert mser5([series] * 10) == 100


def test_nothing_is_cut_off_from_what_never_changes():
    assert mser5([np.full(500, 0.1)] * 10) == 0


def test_a_start_up_that_fills_the_run_is_refused():
    found = mser5([np.arange(1000.0)] * 10)
    assert isinstance(found, Refused)
    assert (found.have, found.needed) == (1000, 2000)


@pytest.mark.parametrize("estimate", [mser5, warm_up])
@pytest.mark.parametrize("count", [0, 1, 9])
def test_one_run_or_a_few_are_refused(estimate, count):
    found = estimate([mm1_waits(seed, 0.8, 10_000) for seed in range(count)])
    assert isinstance(found, Refused)
    assert str(found).startswith("MSER-5, which in few replications takes busy spells for start-up; needs about 10")


def test_short_replications_are_refused():
    assert isinstance(mser5([np.zeros(99)] * 10), Refused)


def test_replications_of_different_length_count_up_to_the_shortest():
    series = [mm1_waits(seed, 0.7, 3000 + 100 * seed) for seed in range(10)]
    assert mser5(series) == mser5([values[:3000] for values in series])


# ---- on queues ------------------------------------------------------------------------------------------------------


def test_a_server_at_90_percent_takes_a_thousand_customers_to_fill():
    """E[W] is 6.9 after 100, 8.7 after 1000 and 9 in the long run."""
    deleted = warm_up([mm1_waits(seed, 0.9, 6000) for seed in range(400)])
    assert isinstance(deleted, int)
    assert 1000 <= deleted <= 2000


def test_what_is_left_has_no_bias_that_could_be_seen():
    waits = np.array([mm1_waits(seed, 0.8, 5000) for seed in range(400)])
    deleted = warm_up(list(waits))
    assert isinstance(deleted, int)
    means = waits[:, deleted:].mean(axis=1)
    assert means.mean() == pytest.approx(mm1_mean(0.8), abs=3 * means.std() / 20)


def test_independent_noise_has_hardly_a_start_up():
    assert warm_up([autoregression(seed, 0.0, 2000) for seed in range(20)]) < 200


def test_runs_shorter_than_what_they_remember_are_refused():
    found = warm_up([mm1_waits(seed, 0.95, 2000) for seed in range(50)])
    assert isinstance(found, Refused)
    assert found.needed > found.have
