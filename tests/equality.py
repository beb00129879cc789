"""What it means that a run of the simulator equals one of the plain engine."""

from __future__ import annotations

from typing import Any

import numpy as np
from oracles.plain_engine import PlainEngine
from oracles.plain_scheduler import Part, PlainRequest

from sim.cost.batch import COUNTED
from sim.metrics.longest_gaps import longest_gaps_s
from sim.metrics.runs import asked_for_decodes, each_iteration
from sim.metrics.token_gaps import token_gaps
from sim.serving.simulation import RunLog


def close(ours: Any, theirs: Any, what: str) -> None:
    """To a nanosecond."""
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9, err_msg=what)


def assert_equal_runs(log: RunLog, plain: PlainEngine) -> None:
    """Requests, tokens, iterations and totals."""
    assert_equal_requests(log, plain)
    assert_equal_token_times(log, plain)
    assert_equal_iterations(log, plain)
    assert_equal_totals(log, plain)


def assert_equal_requests(log: RunLog, plain: PlainEngine) -> None:
    theirs = plain.states
    ours = {name: column[: len(theirs)] for name, column in log.recorder.requests.arrays().items()}
    assert [state.request.request_id for state in theirs] == list(range(len(plain.workload)))
    close(ours["arrival_s"], [state.request.arrival_s for state in theirs], "arrival")
    close(ours["queued_s"], [state.queued_s for state in theirs], "queued")
    close(ours["scheduled_s"], [state.scheduled_s for state in theirs], "scheduled")
    close(ours["first_token_s"], [state.token_times_s[0] for state in theirs], "first token")
    close(ours["finish_s"], [state.finish_s for state in theirs], "finish")
    assert ours["output_tokens"].tolist() == [len(state.token_times_s) for state in theirs]
    assert ours["preemptions"].tolist() == [state.preemptions for state in theirs]
    assert ours["cached_tokens"].tolist() == [state.cached_tokens for state in theirs]


def assert_equal_token_times(log: RunLog, plain: PlainEngine) -> None:
    """The gaps between successive tokens of a request, of all requests together, and when they ended."""
    table = token_gaps(log.recorder.iterations.arrays(), log.recorder.gaps.arrays()).table()
    times_s = [state.token_times_s for state in plain.states]
    for column, theirs in {
        "gap_s": [np.diff(times) for times in times_s],
        "end_s": [times[1:] for times in times_s],
    }.items():
        ours = np.repeat(table[column], table["tokens"])
        close(np.sort(ours), np.sort(np.concatenate(theirs)), column)
    longest_s = [np.diff(times).max(initial=0.0) if len(times) > 1 else np.nan for times in times_s]
    close(longest_gaps_s(log, np.arange(len(times_s))), longest_s, "longest gap")


def assert_equal_iterations(log: RunLog, plain: PlainEngine) -> None:
    """The executed batch of every single iteration, its time, and what the engine held meanwhile."""
    runs = log.recorder.iterations.arrays()
    run = np.repeat(np.arange(len(runs["iterations"])), runs["iterations"])
    before = np.concatenate([np.arange(count) for count in runs["iterations"]])
    every = each_iteration(runs)
    close(every.end_s, [iteration.end_s for iteration in plain.log], "end of iteration")
    close(every.end_s - every.step_s, [iteration.start_s for iteration in plain.log], "start of iteration")
    theirs = np.array([iteration.batch[: len(COUNTED)] for iteration in plain.log])
    for name, column in zip(COUNTED, theirs.T, strict=True):
        grown = asked_for_decodes(runs)[run] * before if name == "decode_context_tokens" else 0
        np.testing.assert_array_equal(runs[name][run] + grown, column, name)
    np.testing.assert_array_equal(runs["running"][run], [iteration.present for iteration in plain.log])
    used_blocks = np.array([iteration.used_blocks for iteration in plain.log])
    first, last = before == 0, np.append(before[1:] == 0, True)
    np.testing.assert_array_equal(runs["kv_stored_tokens"], [it.stored_tokens for it in np.array(plain.log)[first]])
    np.testing.assert_array_equal(runs["kv_used_blocks"], used_blocks[first])
    np.testing.assert_array_equal(runs["kv_used_blocks"] + runs["kv_grown_blocks"], used_blocks[last])


def assert_equal_decisions(records: list[dict[str, Any]], plain: PlainEngine) -> None:
    """Every line of the schedule log: what a call decided, and what came of it."""
    outcomes = {record["output_of_step"]: record for record in records if "output_of_step" in record}
    decisions = [record for record in records if record["scheduled"] or record["preempted"]]
    for ours, theirs in zip(decisions, plain.log, strict=True):
        keys = ("id", "how", "start", "tokens", "new_blocks", "samples", "hit_tokens")
        assert [tuple(part.get(key) for key in keys) for part in ours["scheduled"]] == [
            (part.state.request.request_id, part.how, part.start, part.tokens, part.new_blocks, part.emits, hit(part))
            for part in theirs.parts
        ]
        for key in ("preempted", "running", "waiting"):
            assert ours[key] == ids(getattr(theirs, key)), key
        assert ours["free_blocks"] == theirs.free_blocks
        outcome = outcomes[ours["step"]]
        assert outcome["finished"] == ids(theirs.finished)
        assert outcome["free_blocks_after_update"] == theirs.free_blocks_after


def assert_equal_totals(log: RunLog, plain: PlainEngine) -> None:
    """Tokens that came out and that were computed again; and nothing is left."""
    core, totals = log.core, log.recorder.totals
    outputs = sum(len(state.token_times_s) for state in plain.states)
    found = sum(state.cached_tokens for state in plain.states)
    wanted = sum(state.request.prompt_tokens for state in plain.states) - found + outputs - len(plain.states)
    assert totals.emitted_tokens == outputs
    parts = [part for iteration in plain.log for part in iteration.parts]
    in_vain = sum(1 + part.draft_tokens for part in parts if part.emits) - outputs
    assert core.dropped_tokens == sum(part.tokens for part in parts) - in_vain - wanted
    assert (core.pool.free_blocks, core.stored_tokens) == (core.pool.total_blocks, 0)
    assert (len(core.running), len(core.waiting), len(core.prefilling), core.decodes.count) == (0, 0, 0, 0)


def hit(part: Part) -> int | None:
    """What a request that starts, or starts again, found of its text."""
    return None if part.how == "running" else part.start


def ids(states: list[PlainRequest]) -> list[int]:
    return [state.request.request_id for state in states]
