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
from equality import assert_equal_decisions, assert_equal_runs
from hypothesis import HealthCheck, Phase, given, settings
from oracles.plain_engine import PlainEngine
from oracles.plain_scheduler import Iteration, Part, PlainRequest
from scenarios import Scenario, scenarios
from small_runs import experiment

from sim.cost import cost_model
from sim.serving.simulation import simulate
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
        assert_equal_runs(log, plain)
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
