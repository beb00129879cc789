"""SimPy events, which are what simulating costs: they follow requests, or not even those, and never tokens."""

from __future__ import annotations

from typing import Any

import pytest
from small_runs import ORCA, STATIC, run

from sim.study.run import RunResult

ASYNC = {"engine.async_scheduling": True}
CACHING = {"engine.enable_prefix_caching": True}
ENGINES = {"synchronous": {}, "asynchronous": ASYNC, "caching": CACHING, "orca": ORCA, "static": STATIC}
ROOMY = {"engine.max_model_len": 4000, "engine.num_gpu_blocks": 20_000}
FLOOD = {"workload.arrivals": {"process": "all_at_once"}}
THINKING = {"distribution": "exponential", "mean": 1.0}


def serve(requests: int, most_outputs: int, *changes: dict[str, Any]) -> RunResult:
    lengths = {
        "prompt": {"distribution": "uniform", "low": 1, "high": 100},
        "output": {"distribution": "uniform", "low": 1, "high": most_outputs},
    }
    return run(ROOMY, {"workload.lengths": lengths, "workload.num_requests": requests}, *changes)


def events(result: RunResult) -> int:
    count = result.summary["sim"]["performance"]["simpy_events"]
    assert isinstance(count, int)
    return count


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_a_flood_is_served_in_one_event(engine: dict[str, Any]) -> None:
    """Nothing has to be waited for."""
    for requests, most_outputs in ((1, 1), (50, 10), (50, 1000), (500, 10)):
        assert events(serve(requests, most_outputs, engine, FLOOD)) == 1


@pytest.mark.parametrize("most_outputs", [1, 10, 100, 1000])
@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_arrivals_by_the_clock_need_an_event_only_where_the_engine_idles(
    engine: dict[str, Any], most_outputs: int
) -> None:
    result = serve(100, most_outputs, engine)
    iterations = result.iterations
    ends_s = iterations["start_s"] + iterations["iterations"] * (
        iterations["first_step_s"] + (iterations["iterations"] - 1) / 2 * iterations["step_increment_s"]
    )
    idle_periods = 1 + int((iterations["start_s"] > ends_s.shift() + 1e-9).sum())
    assert events(result) == idle_periods + 1


LOOPS: dict[str, tuple[dict[str, Any], float]] = {
    "users": ({"workload.arrivals": {"process": "closed_loop", "users": 8}}, 5),
    "thinking users": (
        {"workload.arrivals": {"process": "closed_loop", "users": 8, "think_time_s": THINKING}},
        8,
    ),
    "conversations": ({"workload.conversations": {"turns": 4}}, 5),
    "thinking in conversations": ({"workload.conversations": {"turns": 4, "think_time_s": THINKING}}, 8),
}
"""Loops, and events a request at most: it is sent, wakes the engine or cuts a run, is answered, and thought about."""


@pytest.mark.parametrize("most_outputs", [1, 10, 1000])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_whoever_waits_for_answers_needs_some_events_a_request(
    engine: dict[str, Any], loop: str, most_outputs: int
) -> None:
    traffic, most_events = LOOPS[loop]
    for requests in (50, 200):
        assert events(serve(requests, most_outputs, engine, traffic)) <= most_events * requests
