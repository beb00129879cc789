"""Statistics of arithmetic series are numpy's of their values written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.stats import series
from sim.stats.series import SeriesSample

LEVELS = (0.0, 0.5, 0.9, 0.95, 0.99, 1.0)
TIMES = st.sampled_from([0.0, 0.01, 0.02, 1.0]) | st.floats(1e-6, 1e3)
STEPS = st.sampled_from([0.0, 0.0, 1e-9, 1e-5, 0.01]) | st.floats(1e-12, 1.0)
ROWS = st.tuples(TIMES, STEPS, st.sampled_from([1, 2]) | st.integers(1, 60), st.integers(1, 50))
SAMPLES = st.lists(ROWS, min_size=1, max_size=30).map(
    lambda rows: SeriesSample(*(np.array(column, float) for column in zip(*rows, strict=True)))
)


@pytest.fixture(autouse=True, scope="module", params=[4096, 8], ids=lambda count: f"{count} written out")
def written_out_at_once(request):
    """Samples of a test are small; so that they are split too, fewer of their values are simply sorted."""
    patch = pytest.MonkeyPatch()
    patch.setattr(series, "WRITTEN_OUT", request.param)
    yield
    patch.undo()


def in_full(sample: SeriesSample) -> np.ndarray:
    return np.repeat(*sample.written_out())


def test_a_series_by_hand():
    """1 1, 3 3, 5 5 and 4."""
    sample = SeriesSample(*(np.array(column, float) for column in ([1, 4], [2, 0], [3, 1], [2, 1])))
    assert sorted(in_full(sample)) == [1, 1, 3, 3, 4, 5, 5]
    assert (sample.size, sample.min(), sample.max(), sample.mean()) == (7, 1, 5, 22 / 7)
    assert sample.quantiles((0.0, 0.5, 0.75, 1.0)).tolist() == [1, 3, 4.5, 5]
    assert sample.counts_upto(np.array([0.5, 1, 3.5, 4, 6])).tolist() == [0, 2, 4, 5, 7]


@given(sample=SAMPLES, level=st.floats(0, 1))
def test_quantiles_are_numpys(sample, level):
    expected = np.quantile(in_full(sample), (*LEVELS, level))
    np.testing.assert_allclose(sample.quantiles((*LEVELS, level)), expected, rtol=1e-12, atol=1e-12 * sample.max())


@given(sample=SAMPLES)
def test_order_statistics_are_the_sorted_values(sample):
    ranks = np.unique(np.linspace(0, sample.size - 1, 40).astype(int))
    np.testing.assert_allclose(sample.ranked(ranks), np.sort(in_full(sample))[ranks], rtol=1e-12)


@given(sample=SAMPLES)
def test_moments_and_extremes_are_numpys(sample):
    values = in_full(sample)
    assert sample.size == len(values)
    assert (sample.min(), sample.max()) == (values.min(), values.max())
    assert sample.mean() == pytest.approx(values.mean(), rel=1e-12)
    assert sample.std() == pytest.approx(values.std(), rel=1e-9, abs=1e-12 * values.max())


@given(sample=SAMPLES, limits=st.lists(TIMES, max_size=9))
def test_values_up_to_a_limit_are_counted(sample, limits):
    values = np.sort(in_full(sample))
    limits = np.sort(limits)
    apart = np.abs(values - limits[:, None]).min(axis=1) > 1e-12 * values[-1]  # whether equal ones count is rounding
    expected = np.searchsorted(values, limits, side="right")
    assert sample.counts_upto(limits)[apart].tolist() == expected[apart].tolist()


@given(sample=SAMPLES, data=st.data())
def test_pieces_of_a_sample_are_the_sample(sample, data):
    total = int(sample.length.sum())
    places = np.sort(data.draw(st.lists(st.integers(0, total), max_size=8)))
    pieces, begins = sample.cut(places.astype(float))
    (values, repeats), (ours, our_repeats) = sample.written_out(), pieces.written_out()
    np.testing.assert_allclose(ours, values, rtol=1e-12)
    assert our_repeats.tolist() == repeats.tolist()
    assert [int(pieces[:begin].length.sum()) for begin in begins] == places.tolist()


@given(sample=SAMPLES, other=SAMPLES)
def test_a_sum_of_samples_has_the_values_of_both(sample, other):
    both = np.concatenate([in_full(sample), in_full(other)])
    np.testing.assert_array_equal(np.sort(in_full(sample + other)), np.sort(both))


def test_values_that_occur_a_trillion_times():
    """Far too many to write out: 0.01 to 0.02 in a billion steps, each a thousand times, and one 5."""
    sample = SeriesSample(*(np.array(column, float) for column in ([0.01, 5], [1e-11, 0], [10**9, 1], [1000, 1])))
    assert sample.size == 10**12 + 1
    assert sample.mean() == pytest.approx(0.015, rel=1e-8)
    assert sample.std() == pytest.approx(0.01 / np.sqrt(12), rel=1e-3)
    assert sample.quantiles((0.25, 0.9, 1.0)) == pytest.approx([0.0125, 0.019, 5.0], rel=1e-8)


def test_many_that_differ_by_rounding_alone():
    """A value is somewhere among them, whatever their order."""
    values = 0.01 + np.random.default_rng(0).integers(-2, 3, 50_000) * 2e-18
    sample = SeriesSample.of(values)
    assert sample.quantiles(LEVELS) == pytest.approx([0.01] * len(LEVELS), rel=1e-14)


def test_a_heap_on_top_of_a_rare_value_below():
    sample = SeriesSample(*(np.array(column, float) for column in ([1.0, 2.0], [0, 0], [5000, 5000], [1, 1e12])))
    assert sample.quantiles((0.0, 1e-6, 1.0)).tolist() == [1.0, 2.0, 2.0]
