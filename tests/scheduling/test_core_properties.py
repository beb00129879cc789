"""What holds after every call of the scheduler core, for any engine and any workload that fits into it.

The core is driven by call, without a clock. Engines are random values of all axes; half of them have hardly more blocks
than the longest request needs, so that they preempt again and again. Under asynchronous scheduling a call is made
before the outcome of the one before it is applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from itertools import pairwise
from random import Random
from typing import NamedTuple

from core_helpers import answer_tokens, computed_tokens, emitted_tokens
from hypothesis import given, settings
from hypothesis import strategies as st
from scenarios import SHORT, descriptions, engines, seats_of

from sim.scheduling.core import SchedulerCore
from sim.scheduling.plan import Plan
from sim.scheduling.schedule_log import decision_record
from sim.scheduling.state import RequestState
from sim.specs.engine import EngineSpec
from sim.specs.request import Request


class Arrival(NamedTuple):
    """A request that is queued just before iteration `step`."""

    step: int
    request: Request


Scenario = tuple[EngineSpec, list[Arrival]]


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """An engine, and requests: alone, tied, in bursts."""
    scarce = draw(st.booleans())
    engine = draw(engines(scarce))
    count = draw(st.sampled_from([1, 5, 10, 15] if engine.resolved_max_model_len <= SHORT else [1, 4]))
    columns = draw(descriptions(engine, scarce, count))
    arrivals, step = [], 0
    for request_id in range(count):
        step += draw(st.sampled_from([0, 0, 0, 1, 2, 7, 40]))
        described = {name: column[request_id] for name, column in columns.items()}
        arrivals.append(Arrival(step, Request(request_id, 0.0, **described)))
    return engine, arrivals


class Drive:
    """A core, call by call; `step` counts the iterations. What is `in_flight` is applied after the next call."""

    def __init__(self, engine: EngineSpec, arrivals: Sequence[Arrival]) -> None:
        self.core = SchedulerCore(engine)
        self.pending = list(arrivals)
        self.step = 0
        self.in_flight: Plan | None = None

    @property
    def has_work(self) -> bool:
        return bool(self.pending or self.core.running or self.core.waiting)

    def enqueue_arrivals(self) -> None:
        """Idle steps are jumped over."""
        if not self.core.running and not self.core.waiting:
            self.step = max(self.step, self.pending[0].step)
        while self.pending and self.pending[0].step <= self.step:
            self.core.enqueue(self.pending.pop(0).request)

    def apply(self, plan: Plan) -> list[RequestState]:
        """The outcome that is known after deciding `plan`: its own or, asynchronously, that of the plan before it."""
        self.step += plan.iterations
        executed: Plan | None = plan
        if self.core.engine.async_scheduling:
            executed, self.in_flight = self.in_flight, None if plan.is_empty else plan
        return self.core.apply(executed) if executed else []


# ---- the properties -------------------------------------------------------------------------------------------------


@settings(max_examples=1500)
@given(scenarios())
def test_the_laws_hold_after_every_call_and_everybody_is_served(scenario: Scenario) -> None:
    engine, arrivals = scenario
    drive = Drive(engine, arrivals)
    core, calls, done_tokens = drive.core, 0, 0
    first_admitted: list[int] = []
    outputs: dict[int, int] = {}
    while drive.has_work:
        assert calls < most_calls(engine, arrivals), "livelock"
        drive.enqueue_arrivals()
        before, running_before = progress(core), list(core.running)
        plan = core.schedule()
        assert drive.in_flight or not plan.is_empty, "nothing can run"
        check_accounts(core)
        check_decode_group(core)
        check_plan(core, plan, before)
        check_victims(core, plan, running_before)
        check_nobody_idles_without_reason(core, plan, before)
        first_admitted += ids(chunk.state for chunk in plan.chunks if chunk.how == "new")
        done_tokens += plan.decode_requests + plan.prefill_tokens
        outputs |= {state.request.request_id: state.emitted_tokens for state in drive.apply(plan)}
        check_accounts(core)
        check_decode_group(core)
        assert not any(state.is_done for state in core.waiting)
        calls += 1
    assert outputs == {a.request.request_id: expected_output_tokens(a.request, engine) for a in arrivals}
    prompt_tokens = sum(a.request.prompt_tokens for a in arrivals)
    assert done_tokens == prompt_tokens + sum(outputs.values()) - len(arrivals) + core.dropped_tokens
    assert (core.pool.free_blocks, core.stored_tokens) == (core.pool.total_blocks, 0)
    if engine.order == "fcfs":
        assert first_admitted == sorted(outputs), "order of first admission is order of arrival"


@settings(max_examples=500)
@given(scenarios(), st.integers(0, 2**32))
def test_repeating_a_plan_is_the_same_as_asking_again(scenario: Scenario, seed: int) -> None:
    """As often as the horizon says, or less."""
    engine, arrivals = scenario
    drive, random = Drive(engine.model_copy(update={"async_scheduling": False}), arrivals), Random(seed)
    core = drive.core
    while drive.has_work:
        drive.enqueue_arrivals()
        plan = core.schedule()
        iterations = random.randint(1, core.horizon(plan))
        if iterations > 1:
            asked, decided = asked_again(core, plan, iterations)
            for again in decided:
                assert (again.decode_requests, again.chunks) == (plan.decode_requests, [])
                assert not again.preempted
                assert not again.paused
            assert not any(again.finishing for again in decided[:-1])
            used_blocks = [plan.used_blocks, *(again.used_blocks for again in decided)]
            core.repeat(plan, iterations)
            grown = [after - before for before, after in pairwise(used_blocks)]
            assert plan.grown_blocks == sum(grown)
            assert grown == ((list(plan.growth) or [0]) * iterations)[: len(grown)]
            assert ids(plan.finishing) == ids(decided[-1].finishing)
            assert by_id(progress(core)) == by_id(progress(asked))
            check_accounts(core)
            check_decode_group(core)
        drive.apply(plan)
        check_accounts(core)


def asked_again(core: SchedulerCore, plan: Plan, iterations: int) -> tuple[SchedulerCore, list[Plan]]:
    """A copy of the core that decided `iterations` times, and what it decided after `plan`."""
    asked, again = deepcopy((core, plan))
    decided = []
    for _ in range(iterations - 1):
        asked.apply(again)
        again = asked.schedule()
        decided.append(again)
    return asked, decided


def most_calls(engine: EngineSpec, arrivals: Sequence[Arrival]) -> int:
    """More than can be needed: the most urgent running request is never preempted, and moves on in every call that is
    not held by the cadence, which is at least one in `prefill_schedule_interval`."""
    tokens = sum(a.request.prompt_tokens + a.request.output_tokens for a in arrivals)
    return 2 * engine.prefill_schedule_interval * tokens * len(arrivals)


def expected_output_tokens(request: Request, engine: EngineSpec) -> int:
    limit = request.output_tokens if request.max_new_tokens is None else request.max_new_tokens
    return min(request.output_tokens, limit, engine.resolved_max_model_len - request.prompt_tokens)


def ids(states: Iterable[RequestState]) -> list[int]:
    return [state.request.request_id for state in states]


class Progress(NamedTuple):
    """How far a request has come."""

    computed_tokens: int = 0
    emitted_tokens: int = 0


def progress(core: SchedulerCore) -> dict[RequestState, Progress]:
    """Of everybody in the engine."""
    everybody = [*core.running, *core.waiting]
    return {state: Progress(computed_tokens(core, state), emitted_tokens(core, state)) for state in everybody}


def by_id(progress_: dict[RequestState, Progress]) -> dict[int, Progress]:
    return {state.request.request_id: reached for state, reached in progress_.items()}


# ---- the laws -------------------------------------------------------------------------------------------------------


def check_accounts(core: SchedulerCore) -> None:
    """Blocks, seats and stored tokens add up; nobody is in two places."""
    running, waiting = list(core.running), list(core.waiting)
    computed = [computed_tokens(core, state) for state in running]
    assert core.pool.used_blocks == sum(map(core.blocks_held, running, computed))
    assert core.stored_tokens == sum(computed)
    assert all(state.computed_tokens == 0 and not state.decoding for state in waiting)
    everybody = ids([*running, *waiting])
    assert len(everybody) == len(set(everybody))
    assert len(running) <= seats_of(core.engine)
    assert set(core.prefilling) == {state for state in running if not state.decoding and not state.is_done}


def check_decode_group(core: SchedulerCore) -> None:
    """Its sums and wheels are what walking its members gives."""
    decodes, members = core.decodes, [state for state in core.running if state.decoding]
    computed = [computed_tokens(core, state) for state in members]
    assert (decodes.count, decodes.context_tokens) == (len(members), sum(computed))
    later = [[tokens + tick * decodes.grows for tokens in computed] for tick in range(20)]
    held = [sum(core.blocks_held(*each) for each in zip(members, grown, strict=True)) for grown in later]
    growth = [after - before for before, after in pairwise(held)]
    assert [decodes.growth(ticks)[0] for ticks in range(20)] == [sum(growth[:ticks]) for ticks in range(20)]
    assert not decodes.grows or (decodes.next_lap() * 20)[:19] == growth
    assert decodes.blocks_in_next_tick() == growth[0]
    if members:
        fitting = [sum(after <= held[0] + blocks for after in held[1:]) for blocks in range(20)]
        assert [decodes.ticks_with(blocks, 19) for blocks in range(20)] == fitting
        assert decodes.ticks_to_finish() == min(answer_tokens(state) - emitted_tokens(core, state) for state in members)


def check_plan(core: SchedulerCore, plan: Plan, before: dict[RequestState, Progress]) -> None:
    """Everybody moved by what the plan says, in order; it keeps the budget and admits only whom it may."""
    engine, after = core.engine, progress(core)
    chunks = {chunk.state: chunk for chunk in plan.chunks}
    moved = {s: after[s].computed_tokens - before[s].computed_tokens for s in core.running}
    ran = [state for state in core.running if moved[state]]
    emitting = [state for state in ran if after[state].emitted_tokens > before[state].emitted_tokens]
    decoding = [state for state in ran if state not in chunks]
    scheduled = decision_record(0, [], plan, core)["scheduled"]
    assert [(part["id"], part["tokens"]) for part in scheduled] == [(s.request.request_id, moved[s]) for s in ran]
    assert [part["id"] for part in scheduled if part["samples"]] == ids(emitting)
    assert all(after[s].emitted_tokens == before[s].emitted_tokens + (s in emitting) for s in after)
    assert plan.decode_requests == len(decoding)
    assert plan.decode_context_tokens == sum(after[state].computed_tokens for state in decoding)
    assert list(chunks) == [state for state in ran if state in chunks]
    assert set(plan.finishing) == {s for s in emitting if after[s].emitted_tokens == answer_tokens(s)}
    assert sum(moved.values()) <= (engine.max_num_batched_tokens or sum(moved.values()))
    assert (plan.running, plan.waiting) == (len(core.running), len(core.waiting))
    assert (plan.used_blocks, plan.stored_tokens) == (core.pool.used_blocks, core.stored_tokens)
    admitted = [chunk for chunk in plan.chunks if chunk.how != "running"]
    assert not (plan.preempted and admitted), "a call that preempted admits nobody"
    if engine.formation == "drain_then_fill" and admitted:
        assert len(admitted) == len(ran), "nobody joins before the batch is over"
    assert all((chunk.how == "resumed") <= (chunk.state.preemptions > 0) for chunk in plan.chunks)
    if not engine.enable_chunked_prefill and not engine.long_prefill_token_threshold:
        assert all(chunk.completes for chunk in plan.chunks), "prompts run whole"


def check_victims(core: SchedulerCore, plan: Plan, running_before: list[RequestState]) -> None:
    """Victims are the last admitted, or under an order by key the last by key, the worst of them first."""
    victims = list(plan.preempted)
    if core.engine.order == "fcfs":
        assert victims[::-1] == running_before[len(running_before) - len(victims) :]
        assert list(core.waiting)[: len(victims)] == victims[::-1], "they wait in front of everybody, in order"
    else:
        field = {"priority": "priority", "shortest_predicted": "predicted_output_tokens"}[core.engine.order]
        by_key = sorted(running_before, key=lambda state: (getattr(state.request, field), state.arrival_rank))
        assert victims[::-1] == by_key[len(by_key) - len(victims) :]


def check_nobody_idles_without_reason(core: SchedulerCore, plan: Plan, before: dict[RequestState, Progress]) -> None:
    """Every active request runs while budget is left, and what `blocked_by` says of the head of the queue is true."""
    engine = core.engine
    budget_left = (engine.max_num_batched_tokens or 10**9) - plan.decode_requests - plan.prefill_tokens
    if engine.prefill_schedule_interval == 1 and budget_left:
        active = [state for state in core.running if before[state].emitted_tokens < answer_tokens(state)]
        assert plan.decode_requests + len(plan.chunks) == len(active)
    assert (plan.blocked_by is None) == (not len(core.waiting))
    if plan.blocked_by is None:
        return
    head = core.waiting.head()
    match plan.blocked_by:
        case "seats":
            assert len(core.running) == seats_of(engine)
        case "kv blocks":
            gate_tokens = {
                "slot": engine.resolved_max_model_len,
                "whole_prompt": head.known_tokens,
                "first_chunk": min(head.known_tokens, budget_left),
            }
            watermark_blocks = int(engine.watermark * (engine.num_gpu_blocks or 0))
            assert core.running, "an empty engine always has room"
            assert engine.blocks_for(gate_tokens[engine.gate]) + watermark_blocks > core.pool.free_blocks
        case "token budget":
            assert head.known_tokens > budget_left
            assert not (engine.enable_chunked_prefill and budget_left)
        case "preemption":
            assert plan.preempted
        case "batch not over":
            assert engine.formation == "drain_then_fill"
            assert all(chunk.how == "running" for chunk in plan.chunks)
        case "prefill cadence":
            assert engine.prefill_schedule_interval > 1
            assert head.known_tokens > 1
