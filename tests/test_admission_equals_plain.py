"""Refusals at a limit and lost patience, in runs of iterations and one by one, equal those of the plain engine.

On the random scenarios of test_fast_equals_plain.py, to which a limit or patience is added.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import hypothesis
import numpy as np
import pandas as pd
import pytest
from equality import assert_equal_decisions, assert_equal_iterations, close
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from oracles.plain_admission import PlainAdmission
from oracles.plain_engine import Iteration
from scenarios import COSTS, make_engine, scenarios
from test_fast_equals_plain import ANY

from sim.cost import cost_model
from sim.serving.simulation import RunLog, simulate
from sim.specs.experiment import Experiment
from sim.workload.workload import Workload

CASES = settings(max_examples=150, suppress_health_check=list(HealthCheck))
EVERYDAY, DEEP = range(2), range(2, 42)
SEEDS = [*EVERYDAY, *(pytest.param(seed, marks=pytest.mark.deep) for seed in DEEP)]
PATIENCE_S = st.integers(1, 3000).map(lambda count: count * math.sqrt(2) * 1e-4) | st.sampled_from([0.01, 0.02, 0.05])

Selective = tuple[Experiment, Workload]


@st.composite
def selective(draw: st.DrawFn) -> Selective:
    """Requests by the clock, close together, at an engine with a limit, with patience, or with both."""
    scenario = draw(scenarios())
    workload = scenario.workload
    assume(workload.users is None and workload.turn_taking is None)
    table = workload.table.assign(arrival_s=workload.table["arrival_s"] / draw(st.sampled_from([1, 5, 30])))
    count, limit = len(table), draw(st.none() | st.integers(1, 6))
    if limit is None or draw(st.booleans()):
        table["patience_s"] = draw(st.lists(PATIENCE_S, min_size=count, max_size=count))
    engine = scenario.engine.model_copy(update={"max_concurrent_requests": limit, "formation_timeout_s": 0.0})
    return ANY.model_copy(update={"engine": engine, "cost": scenario.cost}), replace(workload, table=table)


@st.composite
def blocked(draw: st.DrawFn) -> Selective:
    """Somebody decodes for long and leaves few blocks: large prompts at the head keep small ones waiting, and leave."""
    count = draw(st.integers(3, 6))
    engine = make_engine(
        max_model_len=60,
        num_gpu_blocks=16,
        max_num_seqs=draw(st.sampled_from([3, 8])),
        async_scheduling=draw(st.booleans()),
        order=draw(st.sampled_from(["fcfs", "fcfs", "priority"])),
        max_concurrent_requests=draw(st.none() | st.integers(2, 5)),
    )
    others = {
        "arrival_s": draw(st.lists(st.integers(1, 150_000).map(lambda us: us / 1e6), min_size=count, max_size=count)),
        "prompt_tokens": draw(st.lists(st.sampled_from([1, 4, 8, 30, 50]), min_size=count, max_size=count)),
        "output_tokens": draw(st.lists(st.integers(1, 8), min_size=count, max_size=count)),
        "priority": draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)),
        "patience_s": draw(st.lists(PATIENCE_S, min_size=count, max_size=count)),
    }
    first = {"arrival_s": 0.0, "prompt_tokens": 20, "output_tokens": 35, "priority": 0, "patience_s": 1.0}
    table = pd.DataFrame({name: [first[name], *values] for name, values in others.items()})
    table = table.sort_values("arrival_s", kind="stable", ignore_index=True)
    cost = draw(st.sampled_from(COSTS))
    return ANY.model_copy(update={"engine": engine, "cost": cost}), Workload(table)


def serve_plainly(case: Experiment, workload: Workload) -> PlainAdmission:
    plain = PlainAdmission(case.engine, cost_model(case), workload)
    plain.serve()
    return plain


@pytest.mark.parametrize("seed", SEEDS)
def test_admission_equals_the_plain_one(seed: int) -> None:
    hypothesis.seed(seed)(CASES(given(selective() if seed % 2 else blocked())(assert_equal)))()


def assert_equal(scenario: Selective) -> None:
    """In runs of iterations and one by one."""
    case, workload = scenario
    plain = serve_plainly(case, workload)
    records: list[dict[str, Any]] = []
    for on_record in (None, records.append):
        log = simulate(case, workload, on_record)
        assert_equal_served(log, plain)
        assert_equal_unserved(log, plain)
        if plain.log:
            assert_equal_iterations(log, plain)
    assert_equal_decisions(records, plain)


def assert_equal_served(log: RunLog, plain: PlainAdmission) -> None:
    ids = [state.request.request_id for state in plain.states]
    ours = log.recorder.requests.arrays()
    assert np.flatnonzero(~np.isnan(ours["finish_s"])).tolist() == ids
    for name in ("queued_s", "scheduled_s", "finish_s"):
        close(ours[name][ids], [getattr(state, name) for state in plain.states], name)
    close(ours["first_token_s"][ids], [state.token_times_s[0] for state in plain.states], "first token")


def assert_equal_unserved(log: RunLog, plain: PlainAdmission) -> None:
    """Who was refused, who left and when, and for how long they stood in the queue that the engine knew of."""
    totals, unserved = log.recorder.totals, log.recorder.unserved.arrays()
    assert (totals.refused, totals.abandoned) == (len(plain.refused), len(plain.left_s))
    left = unserved["left_s"] > unserved["arrival_s"]
    assert sorted(unserved["request_id"][~left].tolist()) == plain.refused
    theirs = sorted(plain.left_s.items())
    order = np.argsort(unserved["request_id"][left])
    assert unserved["request_id"][left][order].tolist() == [request_id for request_id, _ in theirs]
    close(unserved["left_s"][left][order], [left_s for _, left_s in theirs], "left")
    queued = ~np.isnan(log.recorder.requests.arrays()["queued_s"])
    read = {*plain.left_s, *(state.request.request_id for state in plain.states)} - plain.unread
    assert set(np.flatnonzero(queued).tolist()) == read


def joining(iteration: Iteration) -> bool:
    return any(part.how == "new" for part in iteration.parts)


EVENTS = {
    "somebody is refused and somebody leaves": lambda plain: plain.refused and plain.left_s,
    "somebody leaves unread": lambda plain: plain.unread,
    "somebody leaves the queue in the middle of a decode": lambda plain: (
        plain.left_s.keys() - plain.unread and len(plain.log) > 50
    ),
    "preempted requests stay": lambda plain: plain.left_s and any(state.preemptions for state in plain.states),
    "the first of the waiting leaves, and a smaller one that it kept waiting starts": lambda plain: any(
        after.waiting[:1] != before.waiting[:1]
        and before.waiting[0].request.request_id in plain.left_s
        and joining(after)
        for before, after in pairwise(plain.log)
        if before.waiting and not before.finished
    ),
}


@pytest.mark.parametrize("event", EVENTS)
def test_scenarios_meet_what_is_hard(event: str) -> None:
    generating = settings(CASES, max_examples=20_000, phases=[Phase.generate])
    hypothesis.find(
        selective() | blocked(), lambda scenario: bool(EVENTS[event](serve_plainly(*scenario))), settings=generating
    )
