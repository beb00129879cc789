"""Closed-loop users against exact answers: each waits for an answer before the next request."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles.cases import Case, first_cases
from oracles.intervals import student_interval
from small_runs import STATIC, experiment, run

import sim
from sim.study.run import RunResult

EXPONENTIAL = "exponential"


def closed(users: int, num_requests: int, think_s: float = 0.0, **changes: Any) -> dict[str, Any]:
    think = {"think_time_s": {"distribution": EXPONENTIAL, "mean": think_s}} if think_s else {}
    arrivals = {"process": "closed_loop", "users": users, **think}
    return {"workload.arrivals": arrivals, "workload.num_requests": num_requests, **changes}


def queue_of(case: Case, num_requests: int, seed: int) -> RunResult:
    """A run of the closed queue that `case` describes, one prompt token a request."""
    p = case.params
    lengths = {"prompt": {"distribution": "fixed", "value": 1}, "output": {"distribution": "fixed", "value": 1}}
    if "k" in p:
        lengths["output"]["value"] = p["k"]
        cost = {"kind": "affine", "per_step_s": p["alpha"], "per_sequence_s": p["beta"]}
        engine = {"engine.max_num_seqs": 1024, "engine.num_gpu_blocks": 100_000}
    else:
        cost = {"kind": "per_request", "service_s": {"distribution": EXPONENTIAL, "mean": p["S"]}}
        engine = {"engine.max_num_seqs": 1}
    changes = {"workload.lengths": lengths, "cost": cost, "seed": seed, **engine}
    return run(closed(p["N"], num_requests, float(p["Z"]), **changes))


def steady_rates(result: RunResult) -> tuple[float, float]:
    """(requests answered per second, mean response in seconds) without the first tenth and the last few percent."""
    by_finish = result.requests.sort_values("finish_s")
    steady = by_finish.iloc[len(by_finish) // 10 : -len(by_finish) // 20]
    finish_s = steady["finish_s"].to_numpy()
    return (len(steady) - 1) / (finish_s[-1] - finish_s[0]), float(steady["e2e_s"].mean())


@pytest.mark.parametrize("case", first_cases("closed-machine-repair-M/M/1//N"), ids=str)
def test_users_of_one_seat_are_machines_and_a_repairman(case: Case) -> None:
    rates, responses = zip(*(steady_rates(queue_of(case, 6000, seed)) for seed in range(15)), strict=True)
    for expected, interval in (("X", student_interval(rates)), ("R", student_interval(responses))):
        assert interval.relative_half_width <= 0.02, f"{expected}: {interval}"
        assert case.expected[expected] in interval, f"{expected}: {interval}"


@pytest.mark.parametrize("case", first_cases("closed-zero-think"), ids=str)
def test_users_who_never_think_run_in_lock_step(case: Case) -> None:
    users = case.params["N"]
    result = queue_of(case, users * 5, seed=0)
    np.testing.assert_allclose(result.requests["e2e_s"], case.expected["R"], rtol=1e-9)
    assert result.summary["request_throughput"] == pytest.approx(case.expected["X"], rel=1e-9)
    assert result.summary["max_concurrency"] == users


@pytest.mark.parametrize("case", first_cases("closed-affine-PS"), ids=str)
def test_continuous_batching_is_processor_sharing_to_its_users(case: Case) -> None:
    """A fluid limit: within 1 % on throughput and 2 % on response, as the oracle's own step-level simulation is."""
    rates, responses = zip(*(steady_rates(queue_of(case, 2500, seed)) for seed in range(3)), strict=True)
    assert np.mean(rates) == pytest.approx(case.expected["X"], rel=0.01)
    assert np.mean(responses) == pytest.approx(case.expected["R"], rel=0.02)


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
