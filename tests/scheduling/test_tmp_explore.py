"""What holds after every call of the scheduler core, for any engine and any workload that fits into it."""

from __future__ import annotations

from typing import NamedTuple

from core_helpers import make_engine
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.scheduling.core import SchedulerCore
from sim.scheduling.plan import Outcome, Plan
from sim.specs.engine import EngineSpec
from sim.specs.request import Request


class Arrival(NamedTuple):
    """A request that is queued just before call `step`."""

    step: int
    request: Request


# ---- random engines and workloads -----------------------------------------------------------------------------------


@st.composite
def engines(draw: st.DrawFn) -> EngineSpec:
    """Any values of the axes that may stand together, with hardly more blocks than the longest request needs."""
    preset = draw(st.sampled_from(["vllm-v1", "orca", "static"]))
    formation = draw(st.sampled_from(["continuous", "drain_then_fill"]))
    allocation = draw(st.sampled_from(["paged", "paged", "reserved"]))
    gate = "slot" if allocation == "reserved" else draw(st.sampled_from(["whole_prompt", "first_chunk"]))
    holds_members = formation == "drain_then_fill" and allocation == "reserved" and draw(st.booleans())
    block_size = draw(st.sampled_from([1, 2, 4, 16]))
    model_len = draw(st.integers(2, 50))
    blocks_of_one = -(-model_len // block_size)
    chunking = draw(st.booleans())
    least_budget = 1 if chunking else model_len
    return make_engine(
        preset,
        formation=formation,
        kv_allocation=allocation,
        gate=gate,
        release="batch_end" if holds_members else "on_finish",
        block_size=block_size,
        max_model_len=model_len,
        num_gpu_blocks=draw(st.integers(blocks_of_one + 1, 3 * blocks_of_one + 8)),
        max_num_seqs=draw(st.integers(1, 8)),
        max_num_active_seqs=draw(st.none() | st.integers(1, 8)),
        max_num_batched_tokens=draw(st.none() | st.integers(least_budget, 70)),
        enable_chunked_prefill=chunking,
        order=draw(st.sampled_from(["fcfs", "priority"])),
        watermark=draw(st.sampled_from([0.0, 0.05, 0.3, 0.9])),
        long_prefill_token_threshold=draw(st.sampled_from([0, 0, 1, 3, 10])),
        long_prefill_token_threshold_adaptive=draw(st.booleans()),
        prefill_schedule_interval=1 if holds_members else draw(st.sampled_from([1, 1, 2, 5])),
    )


@st.composite
def workloads(draw: st.DrawFn, engine: EngineSpec) -> list[Arrival]:
    """Requests from one token to the longest that fits, alone, tied and in bursts, some cut by the model length."""
    arrivals, step = [], 0
    for request_id in range(draw(st.integers(1, 12))):
        step += draw(st.sampled_from([0, 0, 0, 1, 2, 7, 40]))
        prompt = draw(st.integers(1, engine.longest_sequence_tokens - 1))
        most_output = engine.longest_sequence_tokens - prompt
        output = draw(st.integers(1, most_output) | st.sampled_from([1, most_output, most_output + 5]))
        arrivals.append(Arrival(step, Request(request_id, 0.0, prompt, output, draw(st.integers(0, 2)))))
    return arrivals


@st.composite
def scenarios(draw: st.DrawFn) -> tuple[EngineSpec, list[Arrival]]:
    engine = draw(engines())
    return engine, draw(workloads(engine))


# ---- the properties -------------------------------------------------------------------------------------------------


@settings(max_examples=8000, deadline=None, derandomize=True)
@given(scenarios())
def test_laws_hold_after_every_call_and_everybody_is_served(scenario: tuple[EngineSpec, list[Arrival]]) -> None:
    engine, arrivals = scenario
    core = SchedulerCore(engine)
    first_admissions: list[int] = []
    emitted = dict.fromkeys(range(len(arrivals)), 0)
    finished: list[int] = []
    computed_tokens = 0
    for calls, now in enumerate(_calls(core, arrivals)):
        assert calls <= _most_calls(engine, arrivals), "livelock"
        plan = core.schedule()
        _check_state(core)
        _check_plan(core, plan)
        computed_tokens += plan.total_tokens
        first_admissions += [part.state.request.request_id for part in plan.scheduled if part.how == "new"]
        reach_the_end = [part.state for part in plan.scheduled if part.emits]
        outcome = core.apply(plan)
        _check_state(core)
        assert outcome.emitted == reach_the_end
        for state in outcome.emitted:
            emitted[state.request.request_id] += 1
        finished += [state.request.request_id for state in outcome.finished]
        del now
    outputs = {a.request.request_id: _output_tokens(a.request, engine) for a in arrivals}
    prompts = sum(a.request.prompt_tokens for a in arrivals)
    assert sorted(finished) == sorted(outputs)
    assert emitted == outputs
    assert core.pool.free_blocks == core.pool.total_blocks
    assert core.stored_tokens == 0
    assert computed_tokens == prompts + sum(outputs.values()) - len(arrivals) + core.dropped_tokens
    if engine.order == "fcfs":
        assert first_admissions == sorted(first_admissions)


def _calls(core, arrivals):
    """Queue what arrives before each call, jump over idle time, and end when everybody has left."""
    pending, step = list(arrivals), 0
    while pending or core.has_work:
        if not core.has_work:
            step = max(step, pending[0].step)
        while pending and pending[0].step <= step:
            core.enqueue(pending.pop(0).request)
        yield step
        step += 1


def _output_tokens(request: Request, engine: EngineSpec) -> int:
    return min(request.output_tokens, engine.max_model_len - request.prompt_tokens)


def _most_calls(engine: EngineSpec, arrivals: list[Arrival]) -> int:
    return (
        2
        * engine.prefill_schedule_interval
        * len(arrivals)
        * sum(a.request.prompt_tokens + a.request.output_tokens for a in arrivals)
    )


def _check_state(core: SchedulerCore) -> None:
    engine, running, waiting = core.engine, core.running, list(core.waiting)
    assert core.pool.free_blocks + sum(state.held_blocks for state in running) == core.pool.total_blocks
    for state in running:
        rule = engine.slot_blocks if engine.kv_allocation == "reserved" else engine.blocks_for(state.computed_tokens)
        assert state.held_blocks == rule
    for state in waiting:
        assert state.held_blocks == state.computed_tokens == 0
        assert not state.is_done
    everybody = [state.request.request_id for state in [*running, *waiting]]
    assert len(everybody) == len(set(everybody))
    assert len(running) <= min(engine.max_num_seqs, engine.max_num_active_seqs or engine.max_num_seqs)
    assert core.stored_tokens == sum(state.computed_tokens for state in running)


def _check_plan(core: SchedulerCore, plan: Plan) -> None:
    engine = core.engine
    assert plan.scheduled
    assert plan.total_tokens <= (engine.max_num_batched_tokens or plan.total_tokens)
    states = [part.state for part in plan.scheduled]
    assert len(states) == len({id(state) for state in states})
    admitted = [part for part in plan.scheduled if part.how != "running"]
    assert not (plan.preempted and admitted)
    for part in plan.scheduled:
        assert part.tokens >= 1
        assert part.state in core.running
        assert part.start + part.tokens == part.state.computed_tokens <= part.state.known_tokens
    if not engine.enable_chunked_prefill and not engine.long_prefill_token_threshold:
        assert all(part.emits for part in plan.scheduled)
