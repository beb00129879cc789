"""What holds after every call of the scheduler core, for any engine and any workload that fits into it.

The core is driven by call, without a clock. Engines are random values of all axes; half of them have hardly more blocks
than the longest request needs, so that they preempt again and again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from core_helpers import make_engine
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.scheduling.core import SchedulerCore
from sim.scheduling.plan import Plan
from sim.scheduling.state import RequestState
from sim.specs.engine import EngineSpec
from sim.specs.request import Request


class Arrival(NamedTuple):
    """A request that is queued just before call `step`."""

    step: int
    request: Request


Scenario = tuple[EngineSpec, list[Arrival]]


# ---- random engines and workloads -----------------------------------------------------------------------------------


@st.composite
def engines(draw: st.DrawFn, scarce: bool) -> EngineSpec:
    """Any values that may stand together; `scarce` engines have seats for many and hardly blocks for two."""
    formation = draw(st.sampled_from(["continuous", "continuous", "drain_then_fill"]))
    allocation = "paged" if scarce else draw(st.sampled_from(["paged", "reserved"]))
    gate = "slot" if allocation == "reserved" else draw(st.sampled_from(["whole_prompt", "first_chunk"]))
    batch_end = formation == "drain_then_fill" and allocation == "reserved" and draw(st.booleans())
    block_size = draw(st.sampled_from([1, 2, 4, 16]))
    model_len = draw(st.integers(12 if scarce else 2, 50))
    blocks_of_one = -(-model_len // block_size)
    spare_blocks = draw(st.integers(0, blocks_of_one if scarce else 4 * blocks_of_one))
    chunking = draw(st.booleans())
    return make_engine(
        draw(st.sampled_from(["vllm-v1", "orca", "static"])),
        formation=formation,
        kv_allocation=allocation,
        gate=gate,
        release="batch_end" if batch_end else "on_finish",
        block_size=block_size,
        max_model_len=model_len,
        num_gpu_blocks=blocks_of_one + spare_blocks + 1,
        max_num_seqs=16 if scarce else draw(st.integers(1, 8)),
        max_num_active_seqs=draw(st.none() | st.integers(3 if scarce else 1, 16)),
        max_num_batched_tokens=draw(st.none() | st.integers(1 if chunking else model_len, 70)),
        enable_chunked_prefill=chunking,
        order=draw(st.sampled_from(["fcfs", "priority", "shortest_predicted"])),
        watermark=0.0 if scarce else draw(st.sampled_from([0.0, 0.05, 0.3, 0.9])),
        long_prefill_token_threshold=draw(st.sampled_from([0, 0, 1, 3, 10])),
        long_prefill_token_threshold_adaptive=draw(st.booleans()),
        prefill_schedule_interval=draw(st.sampled_from([1, 1, 2, 5])),
    )


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """An engine, and requests from one token to the longest that fits: alone, tied, in bursts, some cut at the end."""
    scarce = draw(st.booleans())
    engine = draw(engines(scarce))
    longest, arrivals, step = engine.longest_sequence_tokens, [], 0
    for request_id in range(draw(st.sampled_from([1, 5, 10, 15]))):
        step += draw(st.sampled_from([0, 0, 0, 1, 2, 7, 40]))
        prompt = draw(st.integers(1, longest // 4 if scarce else longest - 1))
        most_output = longest - prompt
        output = draw(st.integers(1, most_output) | st.sampled_from([1, most_output, most_output, most_output + 5]))
        seen = {
            "priority": draw(st.integers(0, 2)),
            "predicted_output_tokens": draw(st.integers(1, 20)),
            "max_new_tokens": draw(st.none() | st.integers(1, output + 2)),
        }
        arrivals.append(Arrival(step, Request(request_id, 0.0, prompt, output, **seen)))
    return engine, arrivals


# ---- the properties -------------------------------------------------------------------------------------------------


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(scenarios())
def test_the_laws_hold_after_every_call_and_everybody_is_served(scenario: Scenario) -> None:
    engine, arrivals = scenario
    core = SchedulerCore(engine)
    first_admitted: list[int] = []
    emitted: list[int] = []
    finished: list[int] = []
    computed_tokens = 0
    for calls_so_far in _calls(core, arrivals):
        assert calls_so_far < _most_calls(engine, arrivals), "livelock"
        running_before = list(core.running)
        plan = core.schedule()
        _check_accounts(core)
        _check_plan(core, plan)
        _check_victims(core, plan, running_before)
        _check_nobody_idles_without_reason(core, plan)
        first_admitted += _ids(part.state for part in plan.scheduled if part.how == "new")
        computed_tokens += plan.total_tokens
        at_the_end_of_what_is_known = [part.state for part in plan.scheduled if part.state.wanted_tokens == 0]
        outcome = core.apply(plan)
        _check_accounts(core)
        assert outcome.emitted == at_the_end_of_what_is_known
        emitted += _ids(outcome.emitted)
        finished += _ids(outcome.finished)
    outputs = {a.request.request_id: _expected_output_tokens(a.request, engine) for a in arrivals}
    assert sorted(finished) == sorted(outputs)
    assert {request_id: emitted.count(request_id) for request_id in outputs} == outputs
    prompt_tokens = sum(a.request.prompt_tokens for a in arrivals)
    assert computed_tokens == prompt_tokens + len(emitted) - len(arrivals) + core.dropped_tokens
    assert core.pool.free_blocks == core.pool.total_blocks
    assert core.stored_tokens == 0
    if engine.order == "fcfs":
        assert first_admitted == sorted(outputs), "order of first admission is order of arrival"


def _calls(core: SchedulerCore, arrivals: Sequence[Arrival]) -> Iterator[int]:
    """Queue what arrives before each call and yield the calls made so far; idle steps are jumped over."""
    pending, step, calls = list(arrivals), 0, 0
    while pending or core.has_work:
        if not core.has_work:
            step = max(step, pending[0].step)
        while pending and pending[0].step <= step:
            core.enqueue(pending.pop(0).request)
        yield calls
        step, calls = step + 1, calls + 1


def _most_calls(engine: EngineSpec, arrivals: Sequence[Arrival]) -> int:
    """More than can be needed: the most urgent running request is never preempted, and moves on in every call that is
    not held by the cadence, which is at least one in `prefill_schedule_interval`."""
    tokens = sum(a.request.prompt_tokens + a.request.output_tokens for a in arrivals)
    return 2 * engine.prefill_schedule_interval * tokens * len(arrivals)


def _expected_output_tokens(request: Request, engine: EngineSpec) -> int:
    limit = request.output_tokens if request.max_new_tokens is None else request.max_new_tokens
    return min(request.output_tokens, limit, engine.resolved_max_model_len - request.prompt_tokens)


def _ids(states: Iterator[RequestState] | Sequence[RequestState]) -> list[int]:
    return [state.request.request_id for state in states]


# ---- the laws -------------------------------------------------------------------------------------------------------


def _seats(engine: EngineSpec) -> int:
    return min(engine.max_num_seqs, engine.max_num_active_seqs or engine.max_num_seqs)


def _check_accounts(core: SchedulerCore) -> None:
    """Blocks, seats and stored tokens add up; nobody is in two places."""
    engine, running, waiting = core.engine, core.running, list(core.waiting)
    assert core.pool.free_blocks + sum(state.held_blocks for state in running) == core.pool.total_blocks
    for state in running:
        reserved = engine.kv_allocation == "reserved"
        assert state.held_blocks == (engine.slot_blocks if reserved else engine.blocks_for(state.computed_tokens))
    for state in waiting:
        assert state.held_blocks == state.computed_tokens == 0
        assert not state.is_done
    everybody = _ids([*running, *waiting])
    assert len(everybody) == len(set(everybody))
    assert len(running) <= _seats(engine)
    assert core.stored_tokens == sum(state.computed_tokens for state in running)


def _check_plan(core: SchedulerCore, plan: Plan) -> None:
    """A plan does something, keeps the budget, runs each request once and in order, and admits only if it may."""
    engine = core.engine
    assert plan.scheduled or plan.preempted, "nothing can run"
    assert plan.total_tokens <= (engine.max_num_batched_tokens or plan.total_tokens)
    planned = [part.state for part in plan.scheduled]
    assert planned == [state for state in core.running if state in planned]
    admitted = [part for part in plan.scheduled if part.how != "running"]
    assert not (plan.preempted and admitted), "a call that preempted admits nobody"
    if engine.formation == "drain_then_fill" and admitted:
        assert admitted == plan.scheduled, "nobody joins before the batch is over"
    for part in plan.scheduled:
        assert part.tokens >= 1
        assert part.start + part.tokens == part.state.computed_tokens <= part.state.known_tokens
        assert (part.how == "resumed") <= (part.state.preemptions > 0)
    if not engine.enable_chunked_prefill and not engine.long_prefill_token_threshold:
        assert all(part.state.wanted_tokens == 0 for part in plan.scheduled), "prompts run whole"


def _check_victims(core: SchedulerCore, plan: Plan, running_before: list[RequestState]) -> None:
    """Victims are the last admitted, or under an order by key the last by key, the worst of them first."""
    victims = plan.preempted
    if core.engine.order == "fcfs":
        assert victims[::-1] == running_before[len(running_before) - len(victims) :]
        assert list(core.waiting)[: len(victims)] == victims[::-1], "they wait in front of everybody, in order"
    else:
        field = {"priority": "priority", "shortest_predicted": "predicted_output_tokens"}[core.engine.order]
        by_key = sorted(running_before, key=lambda state: (getattr(state.request, field), state.arrival_rank))
        assert victims[::-1] == by_key[len(by_key) - len(victims) :]


def _check_nobody_idles_without_reason(core: SchedulerCore, plan: Plan) -> None:
    """Every active request runs while budget is left, and what `blocked_by` says of the head of the queue is true."""
    engine = core.engine
    budget_left = (engine.max_num_batched_tokens or 10**9) - plan.total_tokens
    if engine.prefill_schedule_interval == 1 and budget_left:
        assert [part.state for part in plan.scheduled] == [s for s in core.running if s not in plan.padding_rows]
    assert (plan.blocked_by is None) == (not len(core.waiting))
    if plan.blocked_by is None:
        return
    head = core.waiting.head()
    match plan.blocked_by:
        case "seats":
            assert len(core.running) == _seats(engine)
        case "kv blocks":
            gate_tokens = {
                "slot": engine.max_model_len,
                "whole_prompt": head.known_tokens,
                "first_chunk": min(head.known_tokens, budget_left),
            }
            watermark_blocks = int(engine.watermark * engine.num_gpu_blocks)
            assert core.running, "an empty engine always has room"
            assert engine.blocks_for(gate_tokens[engine.gate]) + watermark_blocks > core.pool.free_blocks
        case "token budget":
            assert head.known_tokens > budget_left
            assert not (engine.enable_chunked_prefill and budget_left)
        case "preemption":
            assert plan.preempted
        case "batch not over":
            assert engine.formation == "drain_then_fill"
            assert all(part.how == "running" for part in plan.scheduled)
        case "prefill cadence":
            assert engine.prefill_schedule_interval > 1
            assert head.known_tokens > 1
