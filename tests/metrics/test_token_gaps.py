"""Gaps between tokens in compact form say what the table says that is written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import CONSTANT, ONE_TOKEN_EACH, ORCA, PREEMPTING, STATIC, run

from sim.metrics.token_gaps import TokenGaps
from sim.stats.series import SeriesSample

LONG = {
    "workload.lengths": {
        "prompt": {"distribution": "fixed", "value": 20},
        "output": {"distribution": "uniform", "low": 200, "high": 400},
    },
    "workload.arrivals": {"process": "poisson", "rate": 0.5},
}
ENGINES = {
    "vllm-v1": {},
    "long answers": LONG,
    "preempting": PREEMPTING,
    "orca": ORCA,
    "static": STATIC,
    "constant steps": CONSTANT,
    "steps of seconds": LONG | {"cost": {"kind": "constant", "step_s": 1.7}},
    "one token each": ONE_TOKEN_EACH,
}


@pytest.fixture(scope="module", params=ENGINES.values(), ids=ENGINES)
def result(request):
    return run(request.param)


def edges_of(result, width_s: float) -> np.ndarray:
    """From the start of the first second to after the end of the run."""
    start_s = result.requests["arrival_s"].min()
    return np.arange(start_s, result.requests["finish_s"].max() + 2 * width_s, width_s)


def test_the_sample_is_the_table(result):
    written_out = np.sort(np.repeat(result.gaps["gap_s"], result.gaps["tokens"]))
    sample = result.token_gaps.sample
    assert sample.size == len(written_out) == result.gaps["tokens"].sum()
    if len(written_out):
        np.testing.assert_allclose(sample.ranked(np.arange(sample.size)), written_out, rtol=1e-14)


@pytest.mark.parametrize("width_s", [0.37, 1.0, 5.0])
def test_tokens_before_a_moment_are_those_of_gaps_that_ended(result, width_s):
    edges, table = edges_of(result, width_s), result.gaps
    ended = [table["tokens"][table["end_s"] < edge - 1e-9].sum() for edge in edges]
    assert result.token_gaps.tokens_before(edges).tolist() == ended


@pytest.mark.parametrize("width_s", [0.37, 1.0, 5.0])
def test_the_gaps_between_two_moments_are_those_that_ended_there(result, width_s):
    edges, table = edges_of(result, width_s), result.gaps
    parts = list(result.token_gaps.between(edges))
    assert len(parts) == len(edges) - 1
    for part, begin, end in zip(parts, edges[:-1], edges[1:], strict=True):
        rows = table[(table["end_s"] >= begin - 1e-9) & (table["end_s"] < end - 1e-9)]
        expected = np.sort(np.repeat(rows["gap_s"], rows["tokens"]))
        np.testing.assert_allclose(np.sort(np.repeat(*part.written_out())), expected, rtol=1e-12)


def test_the_busiest_second_is_that_of_all_tokens(result):
    ends_s = np.concatenate([result.requests["first_token_s"], np.repeat(result.gaps["end_s"], result.gaps["tokens"])])
    _, tokens = np.unique(np.floor(ends_s - result.requests["arrival_s"].min() + 1e-9), return_counts=True)
    assert result.summary["max_output_tokens_per_s"] == tokens.max()


def test_the_busiest_second_may_be_in_the_middle_of_a_long_run():
    """A token every 0.3 s: 3 or 4 in a second, 4 in the fourth first."""
    one = {
        "workload.num_requests": 1,
        "workload.lengths": {key: {"distribution": "fixed", "value": 20} for key in ("prompt", "output")},
    }
    result = run({"cost": {"kind": "constant", "step_s": 0.3}}, one)
    assert result.iterations["iterations"].tolist() == [1, 19]
    assert result.summary["max_output_tokens_per_s"] == 4


RUNS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.01]), st.sampled_from([0.0, 0.001, 0.25]), st.integers(1, 40)),
    min_size=1, max_size=10,
)  # fmt: skip


@given(runs=RUNS, idle_s=st.sampled_from([0.0, 0.5]), moments=st.lists(st.integers(0, 400), max_size=20))
def test_iterations_of_any_length_are_counted(runs, idle_s, moments):
    """Also those that take no time, and those that end at a moment exactly."""
    first, step, length = (np.array(column, float) for column in zip(*runs, strict=True))
    seconds = length * first + length * (length - 1) / 2 * step
    start_s = np.cumsum(seconds + idle_s) - seconds
    sample = SeriesSample(first, step, length, np.arange(1.0, len(runs) + 1))
    gaps = TokenGaps(sample, start_s, np.array([9.0]), np.array([10.0]), np.array([1]))
    table, moments = gaps.table(), np.sort(moments) / 4
    ended = [table["tokens"][table["end_s"] < moment - 1e-9].sum() for moment in moments]
    assert gaps.tokens_before(moments).tolist() == ended
    assert [part.size for part in gaps.between(moments)] == np.diff(ended).tolist()


def test_nothing_is_written_out_before_it_is_asked_for():
    result = run()
    assert "gaps" not in vars(result)
    assert result.gaps is result.gaps
