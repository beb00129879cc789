"""Shared system prompts and repeated prompts: their laws, their texts, and that nothing else shifts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from small_runs import experiment

from sim.workload.prefixes import draw_originals
from sim.workload.source import build_workload
from sim.workload.workload import Workload

MANY: dict[str, Any] = {"workload.num_requests": 20_000, "engine.max_model_len": 8192, "engine.num_gpu_blocks": 9000}
CACHING = {"engine.enable_prefix_caching": True}


def built(*changes: dict[str, Any]) -> Workload:
    return build_workload(experiment(MANY, *changes))


def prefix(num_prefixes: int, tokens: Any, **more: Any) -> dict[str, Any]:
    return {"workload.shared_prefix": {"num_prefixes": num_prefixes, "tokens": tokens, **more}}


def repeats(probability: float) -> dict[str, Any]:
    return {"workload.repeat_probability": probability}


# ---- system prompts -------------------------------------------------------------------------------------------------


def test_a_prefix_comes_on_top_of_the_prompt_and_changes_nothing_else() -> None:
    plain, prefixed = built().table, built(prefix(10, 300)).table
    assert (prefixed["prefix_tokens"] == 300).all()
    added = prefixed.assign(prompt_tokens=prefixed["prompt_tokens"] - 300)
    assert added[plain.columns.to_list()].equals(plain)


def test_prefixes_are_equally_popular_by_default() -> None:
    chosen = built(prefix(10, 300)).table["prefix_id"]
    assert stats.chisquare(np.bincount(chosen, minlength=10)).pvalue > 0.01


@pytest.mark.parametrize("exponent", [0.7, 1.0, 2.5])
def test_zipf_makes_the_kth_prefix_as_popular_as_its_power(exponent: float) -> None:
    chosen = built(prefix(8, 300, zipf_exponent=exponent)).table["prefix_id"]
    shares = np.arange(1, 9) ** -exponent
    assert stats.chisquare(np.bincount(chosen, minlength=8), shares / shares.sum() * len(chosen)).pvalue > 0.01


def test_each_prefix_has_one_length() -> None:
    lengths = {"distribution": "uniform", "low": 50, "high": 900}
    table = built(prefix(40, lengths)).table
    assert (table.groupby("prefix_id")["prefix_tokens"].nunique() == 1).all()
    assert table["prefix_tokens"].between(50, 900).all()
    assert table["prefix_tokens"].nunique() > 30


def test_pairs_fit_after_the_longest_prefix() -> None:
    lengths = {"distribution": "uniform", "low": 50, "high": 400}
    workload = built(prefix(20, lengths), {"engine.max_model_len": 512})
    longest = workload.table["prefix_tokens"].max()
    own = workload.table["prompt_tokens"] - workload.table["prefix_tokens"] + workload.table["output_tokens"]
    assert own.max() <= 512 - longest
    assert "were drawn again" in workload.notes[0]


def test_a_number_is_a_fixed_length() -> None:
    fixed = {"distribution": "fixed", "value": 300}
    assert experiment(prefix(10, 300)).resolved() == experiment(prefix(10, fixed)).resolved()


def test_a_prompt_is_its_prefix_and_then_its_own_text() -> None:
    workload = built(prefix(3, 300), CACHING)
    for request, (number, tokens) in zip(workload, workload.table[["prefix_id", "prefix_tokens"]].values, strict=True):
        assert request.shared_text == ((("prefix", number), tokens),)
        assert request.own_text is None


@pytest.mark.parametrize("shared", [prefix(3, 300), repeats(0.5), {"workload.conversations": {"turns": 2}}])
def test_common_text_without_a_prefix_cache_is_noted(shared: dict[str, Any]) -> None:
    assert "enable_prefix_caching is off" in built(shared, {"engine.enable_prefix_caching": False}).notes[-1]
    assert not built(shared, CACHING).notes


# ---- repeated prompts -----------------------------------------------------------------------------------------------


def test_a_repeat_is_of_any_different_prompt_so_far() -> None:
    originals = draw_originals(0.4, 50_000, seed=1)
    own = originals == np.arange(len(originals))
    assert own[0]
    assert np.mean(~own) == pytest.approx(0.4, abs=0.01)
    assert own[originals].all()  # what is repeated is no repetition itself
    seen_before = np.cumsum(own) - own
    rank = (np.cumsum(own) - 1)[originals]
    level = (rank[~own] + 0.5) / seen_before[~own]
    assert stats.kstest(level[1000:], "uniform").pvalue > 0.01


@given(st.floats(0, 1), st.integers(1, 200), st.integers(0, 2**32))
@settings(max_examples=200)
def test_an_original_stands_before_its_repeats(probability: float, count: int, seed: int) -> None:
    originals = draw_originals(probability, count, seed)
    assert (originals <= np.arange(count)).all()
    assert (originals[originals] == originals).all()
    if probability in (0, 1):
        assert originals.tolist() == ([0] * count if probability else list(range(count)))


def test_repeating_leaves_arrivals_and_answers_as_they_were() -> None:
    plain, repeating = built().table, built(repeats(0.4)).table
    assert repeating["arrival_s"].equals(plain["arrival_s"])
    assert repeating["output_tokens"].equals(plain["output_tokens"])
    assert (repeating["prompt_tokens"] == plain["prompt_tokens"].to_numpy()[repeating["prompt_id"]]).all()


def test_a_repeat_has_the_prefix_and_the_text_of_its_original() -> None:
    workload = built(prefix(5, {"distribution": "uniform", "low": 10, "high": 90}), repeats(0.5), CACHING)
    requests = list(workload)
    for request, original in zip(requests, workload.table["prompt_id"], strict=True):
        assert request.shared_text == requests[original].shared_text
        assert request.prompt_tokens == sum(tokens for _, tokens in request.shared_text)
    assert len({request.shared_text for request in requests}) == workload.table["prompt_id"].nunique()


def test_an_answer_that_does_not_fit_a_repeated_prompt_is_cut_and_noted() -> None:
    one = {"distribution": "uniform", "low": 1, "high": 300}
    workload = built(repeats(0.9), {"workload.lengths": {"prompt": one, "output": one}, "engine.max_model_len": 350})
    assert (workload.table["prompt_tokens"] + workload.table["output_tokens"]).max() == 350
    assert workload.table["output_tokens"].min() >= 1
    assert any("outputs were cut where a repeated prompt" in note for note in workload.notes)


def test_the_same_seed_gives_the_same_requests_and_another_others() -> None:
    shared = (prefix(5, 40, zipf_exponent=1.0), repeats(0.5))
    assert built(*shared).table.equals(built(*shared).table)
    other = built(*shared, {"seed": 4}).table
    assert not built(*shared).table["prefix_id"].equals(other["prefix_id"])
