"""Conversations as drawn: which turns there are, how prompts grow, where they end, and that nothing else shifts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import experiment

from sim.workload.source import build_workload
from sim.workload.turns import deal
from sim.workload.workload import Workload

MANY: dict[str, Any] = {
    "workload.num_requests": 5000,
    "engine.max_model_len": 20_000,
    "engine.num_gpu_blocks": 9000,
    "engine.enable_prefix_caching": True,
}
TURNS = {"distribution": "geometric", "mean": 4.0}


def built(*changes: dict[str, Any], turns: Any = TURNS, think_s: float | None = 3.0) -> Workload:
    think = {} if think_s is None else {"think_time_s": {"distribution": "exponential", "mean": think_s}}
    return build_workload(experiment(MANY, {"workload.conversations": {"turns": turns, **think}}, *changes))


def closed(users: int, think_s: float | None = None) -> dict[str, Any]:
    think = {"think_time_s": {"distribution": "fixed", "value": think_s}} if think_s else {}
    return {"workload.arrivals": {"process": "closed_loop", "users": users, **think}}


# ---- dealing out pairs of lengths ------------------------------------------------------------------------------------


def plainly(pairs: list[tuple[int, int]], most_turns: list[int], rooms: list[int], count: int) -> list[tuple[int, ...]]:
    """(conversation, turn, prompt, output) of each request, one after another, and who ended early as the last row."""
    dealt: list[tuple[int, ...]] = []
    left = iter(pairs)
    ended_early = 0
    for conversation, (most, room) in enumerate(zip(most_turns, rooms, strict=True)):
        said = 0
        for turn in range(1, most + 1):
            if len(dealt) == count:
                break
            prompt, output = next(left)
            if said + prompt + output > room:
                ended_early += 1
                break
            dealt.append((conversation, turn, said + prompt, output))
            said += prompt + output
    return [*dealt, (ended_early,)]


LENGTHS = st.integers(1, 10)


@given(st.data(), st.integers(1, 25))
@settings(max_examples=500)
def test_pairs_are_dealt_as_one_by_one(data: st.DataObject, count: int) -> None:
    pairs = data.draw(st.lists(st.tuples(LENGTHS, LENGTHS), min_size=2 * count, max_size=2 * count))
    most_turns = data.draw(st.lists(st.integers(1, 8) | st.just(10**9), min_size=count, max_size=count))
    rooms = data.draw(st.lists(st.integers(20, 60), min_size=count, max_size=count))
    prompts, outputs = np.array(pairs).T
    turns = deal(prompts, outputs, np.array(most_turns), np.array(rooms), count)
    assert turns is not None
    rows = zip(turns.conversation, turns.turn, turns.prompt_tokens, turns.output_tokens, strict=True)
    assert [*rows, (turns.ended_early,)] == plainly(pairs, most_turns, rooms, count)
    fewer = deal(prompts[:count], outputs[:count], np.array(most_turns), np.array(rooms), count)
    assert (fewer is None) == (turns.ended_early > 0)


# ---- conversations --------------------------------------------------------------------------------------------------


def test_a_prompt_is_all_that_was_said_and_a_new_message() -> None:
    workload = built({"workload.shared_prefix": {"num_prefixes": 4, "tokens": 100}})
    plain = build_workload(experiment(MANY)).table
    table = workload.table
    assert len(table) == 5000
    before = (table["prompt_tokens"] + table["output_tokens"]).shift(fill_value=0).where(table["turn"] > 1, 100)
    assert not workload.notes
    assert (table["prompt_tokens"] - before).to_list() == plain["prompt_tokens"].to_list()
    assert table["output_tokens"].equals(plain["output_tokens"])
    assert (table.groupby("session_id")["prefix_id"].nunique() == 1).all()


def test_conversations_have_the_drawn_turns_and_begin_at_the_drawn_times() -> None:
    table = built().table
    lengths = table.groupby("session_id")["turn"].agg(["size", "max"])
    assert lengths["size"].equals(lengths["max"])
    assert lengths["size"].iloc[:-1].mean() == pytest.approx(4.0, rel=0.1)
    plain = build_workload(experiment(MANY)).table["arrival_s"]
    begun = table.loc[table["turn"] == 1, "arrival_s"]
    assert begun.tolist() == plain.iloc[: len(begun)].tolist()
    assert table.loc[table["turn"] > 1, "arrival_s"].isna().all()


def test_a_conversation_ends_where_the_next_turn_would_not_fit() -> None:
    workload = built({"engine.max_model_len": 600}, turns=10**6)
    table = workload.table
    said = table["prompt_tokens"] + table["output_tokens"]
    assert said.max() <= 600
    last = table.groupby("session_id").tail(1).index[:-1]
    assert said[last].min() > 600 - 260  # the longest message and answer
    assert len(table) == 5000
    ended = f"{len(last)} of {len(last) + 1} conversations ended early"
    (note,) = workload.notes
    assert note.startswith(ended)
    assert "engine.max_model_len 600" in note


def test_num_requests_counts_turns_and_ends_the_last_conversation() -> None:
    table = built({"workload.num_requests": 7}, turns=3).table
    assert table["turn"].tolist() == [1, 2, 3, 1, 2, 3, 1]
    assert table["session_id"].tolist() == [0, 0, 0, 1, 1, 1, 2]


def test_pauses_are_the_configured_ones() -> None:
    workload = built(closed(5, 8.0))
    assert workload.turn_taking is not None
    is_first = (workload.table["turn"] == 1).to_numpy()
    assert (workload.turn_taking.pause_s[is_first] == 8.0).all()
    assert workload.turn_taking.pause_s[~is_first].mean() == pytest.approx(3.0, rel=0.05)
    assert workload.turn_taking.users == 5
    assert "arrival_s" not in workload.table


def test_nobody_thinks_unless_told_to() -> None:
    workload = built(closed(5), think_s=None)
    assert workload.turn_taking is not None
    assert not workload.turn_taking.pause_s.any()


def test_all_turns_have_the_tenant_and_the_priority_of_their_conversation() -> None:
    shares = {"workload.tenants": {"a": 3.0, "b": 1.0}, "workload.priorities": {0: 1.0, 1: 1.0}}
    table = built(shares).table
    for column in ("tenant", "priority"):
        assert (table.groupby("session_id")[column].nunique() == 1).all()
        assert table[column].nunique() == 2


def test_texts_grow_under_the_name_of_their_conversation() -> None:
    workload = built({"workload.shared_prefix": {"num_prefixes": 4, "tokens": 100}, "workload.num_requests": 9000})
    for request, prefix in zip(workload, workload.table["prefix_id"], strict=True):
        assert request.own_text == ("conversation", request.session_id)
        assert request.shared_text == ((("prefix", prefix), 100),)


def test_streams_do_not_shift_one_another() -> None:
    def said(workload: Workload) -> pd.DataFrame:
        return workload.table[["prompt_tokens", "output_tokens", "session_id", "turn"]]

    one = built()
    assert said(one).equals(said(built(think_s=9.0)))
    assert said(one).equals(said(built(closed(3))))
    assert said(one).equals(said(built({"workload.arrivals.rate": 3})))
    other = built(turns=2)
    assert other.turn_taking is not None
    assert one.turn_taking is not None
    both = (one.table["turn"] > 1).to_numpy() & (other.table["turn"] > 1).to_numpy()
    assert np.array_equal(one.turn_taking.pause_s[both], other.turn_taking.pause_s[both])
    assert not said(one).equals(said(built({"seed": 4})))


def test_a_limit_on_answers_holds_in_every_turn() -> None:
    workload = built({"workload.max_new_tokens": 20})
    assert workload.table["output_tokens"].max() == 20
    assert "outputs end at max_new_tokens" in workload.notes[-1]


def test_no_single_rate_is_offered() -> None:
    talk = experiment({"workload.conversations": {"turns": 2}}).workload
    assert (experiment().workload.offered_rate, talk.offered_rate) == (8, None)
