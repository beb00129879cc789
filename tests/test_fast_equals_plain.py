"""The engine that counts decodes together and runs of iterations at once equals one that does everything one by one.

`oracles/plain_engine.py` is written from scratch and as plainly as can be. On random engines, workloads and costs the
two agree on what happens to every request, token and iteration, and on every decision of the scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from oracles.plain_engine import PlainEngine
from oracles.plain_scheduler import Iteration, Part, PlainRequest
from scenarios import Scenario, scenarios
from small_runs import experiment

from sim.cost import cost_model
from sim.cost.batch import COUNTED
from sim.metrics.longest_gaps import longest_gaps_s
from sim.metrics.runs import asked_for_decodes, each_iteration
from sim.metrics.token_gaps import token_gaps
from sim.serving.simulation import RunLog, simulate
from sim.specs.experiment import Experiment
from sim.workload.workload import Workload

ANY = experiment()
"""Its model and accelerator serve everywhere; engine, cost and workload are replaced."""

CASES = settings(max_examples=250, suppress_health_check=list(HealthCheck))
EVERYDAY, DEEP = range(8), range(8, 88)
SEEDS = [*EVERYDAY, *(pytest.param(seed, marks=pytest.mark.deep) for seed in DEEP)]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_fast_engine_equals_the_plain_one(seed: int) -> None:
    hypothesis.seed(seed)(CASES(given(scenarios())(assert_equal)))()


def assert_equal(scenario: Scenario) -> None:
    """In runs of iterations and one by one."""
    case, workload = prepare(scenario)
    plain = serve_plainly(case, workload)
    records: list[dict[str, Any]] = []
    for on_record in (None, records.append):
        log = simulate(case, workload, on_record)
        assert_equal_requests(log, plain)
        assert_equal_token_times(log, plain)
        assert_equal_iterations(log, plain)
        assert_equal_totals(log, plain)
    assert_equal_decisions(records, plain)


def prepare(scenario: Scenario) -> tuple[Experiment, Workload]:
    """With a tie, the last request comes when so many iterations of the others are over, or the last of them."""
    case = ANY.model_copy(update={"engine": scenario.engine, "cost": scenario.cost})
    if scenario.tie is None or len(scenario.workload) == 1:
        return case, scenario.workload
    table = scenario.workload.table.copy()
    others = replace(scenario.workload, table=table.iloc[:-1])
    boundaries_s = [iteration.end_s for iteration in serve_plainly(case, others).log]
    table.loc[len(others), "arrival_s"] = boundaries_s[min(scenario.tie, len(boundaries_s) - 1)]
    table = table.sort_values("arrival_s", kind="stable", ignore_index=True)
    return case, replace(scenario.workload, table=table)


def serve_plainly(case: Experiment, workload: Workload) -> PlainEngine:
    plain = PlainEngine(case.engine, cost_model(case), workload)
    plain.serve()
    return plain


# ---- what must happen in some of them, or agreement would mean little ------------------------------------------------


def paused(plain: PlainEngine) -> bool:
    """A request was not preempted and yet had no token of an iteration between two of its own."""
    ends_s = np.array([iteration.end_s for iteration in plain.log if iteration.parts])
    for state in plain.states:
        first_s, last_s = state.token_times_s[0], state.token_times_s[-1]
        if not state.preemptions and np.sum((ends_s > first_s) & (ends_s <= last_s)) >= len(state.token_times_s):
            return True
    return False


def found(plain: PlainEngine) -> Iterator[tuple[Iteration, Part]]:
    """Starts of requests of whose text something was found."""
    for iteration in plain.log:
        for part in iteration.parts:
            if part.how != "running" and part.start:
                yield iteration, part


def finds_what_is_being_said(plain: PlainEngine) -> bool:
    """A request started from outputs of one that was still running."""
    for iteration, part in found(plain):
        for speaker in iteration.running:
            own_text = speaker.request.own_text or ("request", speaker.request.request_id)
            if own_text in dict(part.state.request.shared_text) and part.start > speaker.request.prompt_tokens:
                return True
    return False


def forgot_a_turn(plain: PlainEngine) -> bool:
    """A later turn found less than the one before it left."""
    before: dict[int | None, PlainRequest] = {}
    for state in plain.states:
        last = before.get(state.request.session_id)
        if last is not None and state.cached_tokens < last.computed_tokens - plain.engine.block_size:
            return True
        before[state.request.session_id] = state
    return False


EVENTS: dict[str, Callable[[PlainEngine], bool]] = {
    "two victims of one call": lambda plain: any(len(it.preempted) > 1 for it in plain.log),
    "a call that only preempts": lambda plain: any(not it.parts for it in plain.log),
    "a victim whose last token is on its way": lambda plain: any(
        set(before.finished) & set(after.preempted) for before, after in pairwise(plain.log)
    ),
    "a paused decode": paused,
    "a padded batch": lambda plain: any(it.padding for it in plain.log),
    "a request at a boundary of steps that vary": lambda plain: (
        len({it.end_s - it.start_s for it in plain.log}) > 5
        and any(it.end_s == state.request.arrival_s > it.start_s for it in plain.log for state in plain.states)
    ),
    "a hundred iterations": lambda plain: len(plain.log) >= 100,
    "a text found in the call that first scheduled it": lambda plain: any(it is plain.log[0] for it, _ in found(plain)),
    "a prompt found but for its last token": lambda plain: any(
        part.how == "new" and part.start == part.state.request.prompt_tokens - 1 for _, part in found(plain)
    ),
    "outputs found after a preemption": lambda plain: any(
        part.how == "resumed" and part.start > part.state.request.prompt_tokens for _, part in found(plain)
    ),
    "outputs found while they are said": finds_what_is_being_said,
    "a turn of a conversation evicted": forgot_a_turn,
    "users in a closed loop with a queue": lambda plain: (
        plain.workload.users is not None and any(it.waiting for it in plain.log)
    ),
}


@pytest.mark.parametrize("event", EVENTS)
def test_scenarios_meet_what_is_hard(event: str) -> None:
    generating = settings(CASES, max_examples=20_000, phases=[Phase.generate])
    hypothesis.find(scenarios(), lambda scenario: EVENTS[event](serve_plainly(*prepare(scenario))), settings=generating)


# ---- what is equal --------------------------------------------------------------------------------------------------


def close(ours: Any, theirs: Any, what: str) -> None:
    """To a nanosecond."""
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9, err_msg=what)


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
    assert core.dropped_tokens == sum(part.tokens for iteration in plain.log for part in iteration.parts) - wanted
    assert (core.pool.free_blocks, core.stored_tokens) == (core.pool.total_blocks, 0)
    assert (len(core.running), len(core.waiting), len(core.prefilling), core.decodes.count) == (0, 0, 0, 0)


def hit(part: Part) -> int | None:
    """What a request that starts, or starts again, found of its text."""
    return None if part.how == "running" else part.start


def ids(states: list[PlainRequest]) -> list[int]:
    return [state.request.request_id for state in states]
