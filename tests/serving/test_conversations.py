"""Whole runs of conversations and of shared prefixes: when turns come, and what the prefix cache finds, exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_runs import CONSTANT, STATIC, experiment, run

import sim
from sim.study.run import RunResult
from sim.workload.source import build_workload

BLOCK = 16
ROOMY: dict[str, Any] = {
    "engine.enable_prefix_caching": True,
    "engine.num_gpu_blocks": 100_000,
    "engine.max_model_len": 4000,
    "engine.max_num_seqs": 200,
    "engine.max_num_batched_tokens": 100_000,
}
"""Nothing is evicted, and every prompt is computed in one iteration."""

SYSTEM_PROMPTS = {
    "workload.shared_prefix": {"num_prefixes": 7, "tokens": {"distribution": "uniform", "low": 9, "high": 90}}
}
SYNC, ASYNC = {"engine.async_scheduling": False}, {"engine.async_scheduling": True}
CLOSED = {"workload.arrivals": {"process": "closed_loop", "users": 4}}
THINKING = {"distribution": "exponential", "mean": 1.5}


def talk(turns: Any = 4, think_time_s: Any = None) -> dict[str, Any]:
    return {"workload.conversations": {"turns": turns, **({"think_time_s": think_time_s} if think_time_s else {})}}


def with_workload(*changes: dict[str, Any]) -> tuple[RunResult, pd.DataFrame]:
    """A run, and its requests with the columns of the workload that they lack."""
    described = experiment(*changes)
    table, result = build_workload(described).table, sim.run(described)
    return result, result.requests.join(table[table.columns.difference(result.requests.columns)], on="request_id")


# ---- when turns come ------------------------------------------------------------------------------------------------

LOOPS = {"open": {}, "all at once": {"workload.arrivals": {"process": "all_at_once"}}, "closed": CLOSED}


@pytest.mark.parametrize("engine", [SYNC, ASYNC, STATIC | {"engine.formation_timeout_s": 0.2}])
@pytest.mark.parametrize("think_time_s", [None, THINKING], ids=["at once", "thinking"])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_turn_comes_its_pause_after_the_answer_before_it(
    loop: str, think_time_s: dict[str, Any] | None, engine: dict[str, Any]
) -> None:
    changes = (LOOPS[loop], talk({"distribution": "geometric", "mean": 3.0}, think_time_s), engine)
    requests = run(*changes).requests
    workload = build_workload(experiment(*changes))
    assert workload.turn_taking is not None
    assert len(requests) == len(workload) == 60
    assert requests["session_id"].tolist() == workload.table["session_id"].tolist()
    is_later = (workload.table["turn"] > 1).to_numpy()
    answered_s = requests["finish_s"].shift().to_numpy()[is_later]
    came_s = requests["arrival_s"].to_numpy()[is_later]
    np.testing.assert_allclose(came_s - answered_s, workload.turn_taking.pause_s[is_later], rtol=0, atol=1e-9)
    if loop != "closed":
        begun = workload.table.loc[~is_later, "arrival_s"]
        np.testing.assert_allclose(requests.loc[~is_later, "arrival_s"], begun, rtol=0, atol=1e-9)


def test_users_hold_one_conversation_after_another() -> None:
    """The pause of the loop comes before a conversation, that of conversations inside one."""
    before = {"distribution": "fixed", "value": 2.0}
    closed = {"workload.arrivals": {"process": "closed_loop", "users": 3, "think_time_s": before}}
    requests = run(closed, talk(4, {"distribution": "fixed", "value": 0.5}), CONSTANT, ROOMY).requests
    held = requests.groupby("session_id").agg(begun_s=("arrival_s", "min"), over_s=("finish_s", "max"))
    assert len(held) == 15
    assert held["begun_s"].iloc[:3].tolist() == [2.0, 2.0, 2.0]
    for begun_s in held["begun_s"].iloc[3:]:
        assert np.isclose(held["over_s"], begun_s - 2.0, rtol=0, atol=1e-9).any()
    for begun_s in held["begun_s"]:  # just after one has begun
        assert ((held["begun_s"] <= begun_s) & (held["over_s"] > begun_s)).sum() <= 3


def test_conversations_of_one_turn_are_single_requests() -> None:
    single = run().requests
    pd.testing.assert_frame_equal(run(talk(1, THINKING)).requests.drop(columns="session_id"), single)


@pytest.mark.parametrize("loop", [{}, CLOSED])
def test_a_batch_that_would_wait_for_turns_that_wait_for_it_is_refused(loop: dict[str, Any]) -> None:
    endless = {"engine.formation_timeout_s": float("inf"), "engine.max_num_seqs": 4}
    with pytest.raises(sim.InputError, match=r"formation_timeout_s: is inf.*4 requests.*conversations.*timeout"):
        sim.run(experiment(loop, talk(), STATIC, endless))


def test_no_law_of_users_and_no_rate_is_claimed_of_conversations() -> None:
    summary = run(CLOSED, talk()).summary
    assert summary["sim"]["closed_loop"] is None
    assert summary["sim"]["stability"]["verdict"] == "stable"
    assert run(talk()).summary["request_rate"] is None


# ---- what the cache finds --------------------------------------------------------------------------------------------


def full(tokens: pd.Series[int]) -> pd.Series[int]:
    """Tokens in full blocks."""
    return tokens // BLOCK * BLOCK


@pytest.mark.parametrize("loop", [{}, CLOSED], ids=["open", "closed"])
@pytest.mark.parametrize("engine", [SYNC, ASYNC], ids=["sync", "async"])
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1000), think_time_s=st.sampled_from([None, THINKING]))
def test_a_turn_finds_what_was_said_but_the_last_token(
    loop: dict[str, Any], engine: dict[str, Any], seed: int, think_time_s: dict[str, Any] | None
) -> None:
    conversations = talk({"distribution": "geometric", "mean": 5.0}, think_time_s)
    result, requests = with_workload(ROOMY, SYSTEM_PROMPTS, loop, conversations, engine, {"seed": seed})
    computed = requests["prompt_tokens"] + requests["output_tokens"] - 1
    is_later = requests["turn"] > 1
    assert requests.loc[is_later, "cached_tokens"].tolist() == full(computed).shift()[is_later].tolist()
    first = requests[~is_later].sort_values("arrival_s", kind="stable")
    expected = full(first["prefix_tokens"]).where(first["prefix_id"].duplicated(), 0)
    assert first["cached_tokens"].tolist() == expected.tolist()
    hits = requests["cached_tokens"].sum() / requests["prompt_tokens"].sum()
    assert result.summary["sim"]["kv_cache"]["hit_fraction"] == pytest.approx(hits)


@pytest.mark.parametrize("prompt", [1, 15, 16, 17, 32])
@pytest.mark.parametrize("output", [1, 2, 15, 16, 17])
def test_the_second_turn_by_hand(prompt: int, output: int) -> None:
    """Blocks of 16 tokens: of the first turn all tokens but the very last are stored, and full blocks are found."""
    lengths = {part: {"distribution": "fixed", "value": n} for part, n in (("prompt", prompt), ("output", output))}
    requests = run(ROOMY, talk(2), {"workload.lengths": lengths, "workload.num_requests": 2}).requests
    assert requests["prompt_tokens"].tolist() == [prompt, 2 * prompt + output]
    assert requests["cached_tokens"].tolist() == [0, (prompt + output - 1) // 16 * 16]


def test_prefixes_are_found_as_often_as_they_come_again() -> None:
    """Uniform: N (1 - (1 - 1/N)^M) different prefixes are expected among M requests; all others find theirs."""
    count, prefixes, tokens = 3000, 400, 160
    shared = {"workload.shared_prefix": {"num_prefixes": prefixes, "tokens": tokens}, "workload.num_requests": count}
    result, requests = with_workload(ROOMY, shared)
    seen = requests["prefix_id"].nunique()
    found = result.summary["sim"]["kv_cache"]["hit_fraction"] * requests["prompt_tokens"].sum()
    assert found == pytest.approx((count - seen) * tokens)
    expected = prefixes * (1 - (1 - 1 / prefixes) ** count)
    mean_prompt = tokens + 110  # uniform from 20 to 200
    fraction = (1 - expected / count) * tokens / mean_prompt
    assert result.summary["sim"]["kv_cache"]["hit_fraction"] == pytest.approx(fraction, rel=0.02)


def test_a_repeated_prompt_is_found_but_for_its_last_token() -> None:
    _, requests = with_workload(ROOMY, SYSTEM_PROMPTS, {"workload.repeat_probability": 0.5})
    again, prefix_again = requests["prompt_id"].duplicated(), requests["prefix_id"].duplicated()
    expected = full(requests["prompt_tokens"] - 1).where(again, full(requests["prefix_tokens"]).where(prefix_again, 0))
    assert requests["cached_tokens"].tolist() == expected.tolist()
    assert again.sum() > 15


def test_a_small_cache_finds_less() -> None:
    conversations = (talk(6, THINKING), {"workload.num_requests": 400, "engine.max_num_batched_tokens": 4000})
    roomy, cramped = (
        run(ROOMY, *conversations, {"engine.num_gpu_blocks": blocks}).summary["sim"]["kv_cache"]
        for blocks in (9000, 300)
    )
    assert cramped["hit_fraction"] < 0.8 * roomy["hit_fraction"]


def test_caching_changes_times_but_not_what_is_said() -> None:
    said = ["request_id", "prompt_tokens", "output_tokens", "session_id"]
    cached, uncached = (
        run(talk(4, THINKING), {"engine.enable_prefix_caching": caching}).requests for caching in (True, False)
    )
    assert cached[said].equals(uncached[said])
    assert cached["cached_tokens"].sum() > 0
    assert (uncached["cached_tokens"] == 0).all()
    assert cached["e2e_s"].mean() < uncached["e2e_s"].mean()


def test_the_same_experiment_gives_the_same_tables() -> None:
    changes = (ROOMY, SYSTEM_PROMPTS, talk(3, THINKING))
    one, other = run(*changes), run(*changes)
    assert one.requests.equals(other.requests)
    assert one.iterations.equals(other.iterations)


def test_the_shipped_conversations_run() -> None:
    path = Path(__file__).parents[2] / "configs" / "chat-conversations.yaml"
    summary = sim.run(sim.load_experiment(path, ["workload.num_requests=300"])).summary
    assert summary["completed"] == 300
    assert 0.7 < summary["sim"]["kv_cache"]["hit_fraction"] < 1
