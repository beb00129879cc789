"""Closed-loop users: each waits for an answer before the next request; test_queueing_sharing.py has exact answers."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from small_runs import STATIC, experiment, run

import sim

EXPONENTIAL = "exponential"
AFFINE = {"kind": "affine", "per_step_s": 0.01, "per_sequence_s": 0.001}


def closed(users: int, num_requests: int, think_s: float = 0.0, **changes: Any) -> dict[str, Any]:
    think = {"think_time_s": {"distribution": EXPONENTIAL, "mean": think_s}} if think_s else {}
    arrivals = {"process": "closed_loop", "users": users, **think}
    return {"workload.arrivals": arrivals, "workload.num_requests": num_requests, **changes}


def test_64_users_obey_the_interactive_response_time_law() -> None:
    """N = X(R + Z): 64, but for the end of the run, when users leave one after another."""
    result = run(closed(64, 6400, think_s=2.0), {"engine.max_num_seqs": 64})
    law = result.summary["sim"]["closed_loop"]
    product = law["requests_per_s"] * (law["mean_response_s"] + law["mean_think_s"])
    assert law["mean_present_users"] == pytest.approx(product, rel=1e-12)
    assert 0.95 * 64 < product < 64
    assert result.summary["sim"]["audit"]["violations"] == 0
    assert result.summary["sim"]["stability"]["verdict"] == "stable"


def test_nobody_sends_before_being_answered() -> None:
    requests = run(closed(5, 100, think_s=0.3)).requests
    for _, own in requests.sort_values("arrival_s").groupby("session_id"):
        assert (own["arrival_s"].to_numpy()[1:] >= own["finish_s"].to_numpy()[:-1]).all()
    assert requests["session_id"].nunique() == 5
    assert requests["arrival_s"].is_monotonic_increasing


@pytest.mark.parametrize("preset", ["vllm-v0", "vllm-v1", "sglang", "fastgen", "lightllm", "static"])
@pytest.mark.parametrize("cost", [{"kind": "constant", "step_s": 0.02}, AFFINE], ids=["constant", "affine"])
def test_who_asks_at_a_step_boundary_is_in_the_batch_formed_there_however_sums_round(preset: str, cost: Any) -> None:
    """Answers and thinking times are whole steps, so all come at boundaries; a log is written step by step."""
    think = {"workload.arrivals": {"process": "closed_loop", "users": 3, "think_time_s": 0.5}}
    engine = {"engine.preset": preset, "engine.max_num_seqs": 2, "engine.async_scheduling": False}
    case = experiment(engine, think, {"cost": cost, "workload.num_requests": 200})
    at_once, step_by_step = sim.run(case), sim.run(case, on_record=lambda record: None)
    pd.testing.assert_frame_equal(at_once.requests, step_by_step.requests, rtol=1e-9, atol=1e-9)


def test_more_users_than_requests() -> None:
    requests = run(closed(50, 7, think_s=0.3)).requests
    assert len(requests) == 7
    assert requests["session_id"].is_unique


def test_the_thinking_time_is_the_configured_one() -> None:
    law = run(closed(10, 4000, think_s=0.5)).summary["sim"]["closed_loop"]
    assert law["mean_think_s"] == pytest.approx(0.5, rel=0.05)


def test_a_static_batch_of_closed_loop_users_fills_and_drains() -> None:
    result = run(closed(6, 60, think_s=0.2), STATIC, {"engine.max_num_seqs": 4})
    assert result.summary["completed"] == 60


def test_a_batch_that_would_wait_for_more_users_than_there_are_is_refused() -> None:
    endless = {"engine.formation_timeout_s": float("inf"), "engine.max_num_seqs": 8}
    with pytest.raises(sim.InputError, match=r"formation_timeout_s.*8 requests.*users 3"):
        sim.run(experiment(closed(3, 20), STATIC, endless))


def test_an_open_loop_has_no_users() -> None:
    result = run()
    assert result.summary["sim"]["closed_loop"] is None
    assert "session_id" not in result.requests
