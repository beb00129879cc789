"""The self-audit passes for every engine, and fails when any one account of the run is falsified."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from small_runs import CONSTANT, ONE_TOKEN_EACH, ORCA, PREEMPTING, STATIC, experiment, run

from sim.errors import AuditError
from sim.metrics.audit import audit
from sim.metrics.finished_run import FinishedRun
from sim.serving.simulation import simulate
from sim.workload.source import build_workload


def finished_run(*changes: dict[str, Any]) -> FinishedRun:
    small = experiment({"workload.num_requests": 30}, *changes)
    workload = build_workload(small)
    return FinishedRun(small, workload, simulate(small, workload))


@pytest.fixture
def finished() -> FinishedRun:
    return finished_run(PREEMPTING)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        PREEMPTING,
        PREEMPTING | {"engine.gate": "first_chunk", "engine.max_num_batched_tokens": 64},
        PREEMPTING | {"engine.order": "priority", "workload.priorities": {0: 1.0, 1: 2.0}},
        {"engine.watermark": 0.1, "engine.prefill_schedule_interval": 3, "engine.long_prefill_token_threshold": 32},
        {"engine.async_scheduling": True},
        PREEMPTING | {"engine.async_scheduling": True},
        {"workload.arrivals.rate": 1e-6} | ONE_TOKEN_EACH,
        {"workload.arrivals": {"process": "gamma", "rate": 100, "cv": 10}} | ONE_TOKEN_EACH,
        {
            "engine.preset": "lightllm",
            "engine.num_gpu_blocks": 9600,
            "workload.patience_s": 0.01,
            "workload.arrivals.rate": 50,
        },
        ORCA,
        STATIC,
        STATIC | {"engine.long_prefill_token_threshold": 32, "engine.enable_chunked_prefill": True},
        STATIC | {"engine.async_scheduling": True, "engine.release": "on_finish"},
        STATIC | {"engine.formation_timeout_s": 0.5, "engine.kv_allocation": "paged", "engine.release": "on_finish"},
        STATIC | {"engine.release": "on_finish", "engine.formation_timeout_s": float("inf")},
        CONSTANT,
        ONE_TOKEN_EACH,
        {
            "engine.max_num_seqs": 1,
            "cost": {"kind": "per_request", "service_s": {"distribution": "fixed", "value": 0.1}},
        },
        {"workload.num_requests": 1},
    ],
)
def test_runs_pass(changes):
    report = run(changes).summary["sim"]["audit"]
    assert report["violations"] == 0
    assert report["laws_checked"] > 0


def shift(table: pd.DataFrame, column: str, by: float) -> None:
    """Falsify one value in the middle of a table."""
    table.loc[len(table) // 2, column] += by


def shift_iteration(run: FinishedRun, column: str, by: float) -> None:
    """Falsify one run of iterations in the middle of the record."""
    values = run.runs[column]
    values[len(values) // 2] += by


def shift_gap(run: FinishedRun) -> None:
    run.gaps.on_time.repeats[-1] += 1


def lose_a_request(run: FinishedRun) -> None:
    vars(run)["requests"] = run.requests.iloc[:-1]


FALSIFIED = {
    "requests in the workload": lambda run: setattr(run.log.recorder.totals, "arrivals", 29),
    "requests finished": lose_a_request,
    "nobody is left": lambda run: run.log.core.running.update({None: None}),
    "output tokens asked for": lambda run: shift(run.requests, "output_tokens", 1),
    "tokens emitted": lambda run: setattr(run.log.recorder.totals, "emitted_tokens", 1),
    "gaps between tokens": shift_gap,
    "tokens computed": lambda run: vars(run.log.core).update(dropped_tokens=run.log.core.dropped_tokens + 1),
    "prompts - cached": lambda run: shift(run.requests, "cached_tokens", 1),
    "tokens computed = prompts": lambda run: shift_iteration(run, "padding_tokens", 1),
    "blocks allocated": lambda run: vars(run.log.core.pool).update(allocated=run.log.core.pool.allocated + 1),
    "all blocks are free": lambda run: vars(run.log.core.pool).update(free_blocks=1),
    "no token is stored": lambda run: vars(run.log.core).update(stored_tokens=1),
    "nothing is served before it arrived": lambda run: shift(run.requests, "scheduled_s", -1e4),
    "first token, finish": lambda run: shift(run.requests, "first_token_s", 1e4),
    "iterations do not overlap": lambda run: shift_iteration(run, "start_s", -1e-4),
    "busy time <= simulated time": lambda run: vars(run.log.recorder).update(end_s=0.01),
    "time by operation group": lambda run: shift_iteration(run, "first_step_s", -1e-6),
    "operation group = busy time": lambda run: shift_iteration(run, "decode_context_tokens", 1000),
    "Little": lambda run: setattr(run.log.recorder.totals, "in_system_request_s", 1.0),
    "sum of sojourns": lambda run: shift(run.requests, "e2e_s", 1e-3),
    "in the queue": lambda run: setattr(run.log.recorder.totals, "waiting_request_s", 1.0),
    "in the running set": lambda run: shift_iteration(run, "running", 1),
}


def test_the_run_to_be_falsified_passes(finished):
    assert audit(finished) >= 16


@pytest.mark.parametrize(("law", "falsify"), FALSIFIED.items(), ids=FALSIFIED)
def test_a_falsified_account_is_found(finished, law, falsify):
    falsify(finished)
    with pytest.raises(AuditError, match=f"self-audit: .*{law}.*; this is a defect of servesim"):
        audit(finished)


def test_a_long_run_that_is_never_idle_may_round_its_busy_time_up():
    long = {"cost": {"kind": "constant", "step_s": 100.0}, "workload.arrivals": {"process": "all_at_once"}}
    finished = finished_run(long)
    vars(finished.log.recorder).update(end_s=finished.busy_s * (1 - 1e-12))
    assert finished.busy_s - finished.log.recorder.end_s > 1e-9
    assert audit(finished) >= 16


def test_a_closed_loop_whose_users_do_not_add_up_is_found():
    finished = finished_run({"workload.arrivals": {"process": "closed_loop", "users": 4}})
    assert audit(finished) > audit(finished_run())
    finished.workload.think_s[3] += 1.0
    with pytest.raises(AuditError, match="self-audit: closed loop: users' time"):
        audit(finished)


@pytest.mark.parametrize("time", ["arrival", "queued", "scheduled", "first_token", "finish", "e2e"])
def test_a_time_of_a_request_that_is_missing_is_found(finished, time):
    shift(finished.requests, f"{time}_s", float("nan"))
    with pytest.raises(AuditError):
        audit(finished)


@pytest.mark.parametrize("time", ["start_s", "first_step_s", "step_increment_s"])
def test_a_time_of_an_iteration_that_is_missing_is_found(finished, time):
    shift_iteration(finished, time, float("nan"))
    with pytest.raises(AuditError):
        audit(finished)


def test_a_total_that_is_no_number_is_found(finished):
    finished.log.recorder.totals.in_system_request_s = float("nan")
    with pytest.raises(AuditError):
        audit(finished)


def test_the_message_holds_both_accounts(finished):
    shift(finished.requests, "cached_tokens", 3)
    computed = int(finished.requests[["prompt_tokens", "output_tokens"]].sum().sum()) - 30
    computed += finished.log.core.dropped_tokens
    with pytest.raises(AuditError, match=f"{computed} is not {computed - 3}"):
        audit(finished)
