"""Requests refused at a limit, and clients who lose patience, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_runs import CONSTANT, STATIC, experiment, run

import sim
from sim.metrics.tables import requests_table
from sim.serving.simulation import RunLog, simulate
from sim.workload.source import build_workload
from sim.workload.workload import Workload

EXPONENTIAL = {"distribution": "exponential", "mean": 0.3}
BUSY = {"workload.arrivals": {"process": "poisson", "rate": 60}, "workload.num_requests": 300}
ONE_SEAT = {"engine.max_num_seqs": 1, **CONSTANT}


def serve(columns: dict[str, Any], *changes: dict[str, Any]) -> tuple[RunLog, pd.DataFrame]:
    """Requests of one prompt token at an engine of constant steps of 0.01 s."""
    workload = Workload(pd.DataFrame({"prompt_tokens": 1} | columns))
    log = simulate(experiment(CONSTANT, *changes), workload)
    return log, requests_table(log, workload)


def unserved(log: RunLog) -> dict[int, float]:
    """When each request left that was not served."""
    table = log.recorder.unserved.arrays()
    return dict(zip(table["request_id"].tolist(), table["left_s"].tolist(), strict=True))


# ---- a limit --------------------------------------------------------------------------------------------------------


def test_who_finds_the_system_full_is_refused_at_once() -> None:
    """Two are there until 0.05 s; who comes just when one of them is answered finds room."""
    columns = {"arrival_s": [0.0, 0.01, 0.02, 0.049, 0.05, 0.051], "output_tokens": 5}
    log, requests = serve(columns, ONE_SEAT, {"engine.max_concurrent_requests": 2})
    assert requests["request_id"].tolist() == [0, 1, 4]
    np.testing.assert_allclose(requests["scheduled_s"], [0.0, 0.05, 0.1], atol=1e-12)
    assert unserved(log) == {2: 0.02, 3: 0.049, 5: 0.051}
    assert (log.recorder.totals.refused, log.recorder.totals.abandoned) == (3, 0)


def test_a_limit_above_the_crowd_changes_nothing() -> None:
    free, limited = run(BUSY), run(BUSY, {"engine.max_concurrent_requests": 300})
    pd.testing.assert_frame_equal(free.requests, limited.requests)


# ---- patience -------------------------------------------------------------------------------------------------------


def test_who_is_not_scheduled_within_his_patience_leaves() -> None:
    """The seat is taken until 0.05 s. Patience that ends at a boundary has ended there; who is served stays."""
    columns = {"arrival_s": [0.0, 0.01, 0.012, 0.02], "output_tokens": 5, "patience_s": [0.03, 0.02, 0.5, 0.03]}
    log, requests = serve(columns, ONE_SEAT)
    assert requests["request_id"].tolist() == [0, 2]
    np.testing.assert_allclose(requests["scheduled_s"], [0.0, 0.05], atol=1e-12)
    assert unserved(log) == pytest.approx({1: 0.03, 3: 0.05})
    totals = log.recorder.totals
    assert totals.waiting_request_s == pytest.approx((0.03 - 0.01) + (0.05 - 0.02) + (0.05 - 0.02), abs=1e-12)
    assert totals.abandoned_request_s == pytest.approx(0.02 + 0.03)


def test_who_leaves_lets_a_smaller_one_pass_in_the_middle_of_a_decode() -> None:
    """Of ten blocks the first has some; the second needs all ten and keeps the third waiting until it leaves."""
    columns = {"arrival_s": [0.0, 0.001, 0.002], "prompt_tokens": [8, 150, 8], "output_tokens": [60, 5, 5]}
    memory = {"engine.num_gpu_blocks": 11, "engine.block_size": 16, "engine.max_model_len": 160}
    log, requests = serve(columns | {"patience_s": [1.0, 0.204, 1.0]}, memory)
    assert unserved(log) == pytest.approx({1: 0.205})
    np.testing.assert_allclose(requests["scheduled_s"], [0.0, 0.21], atol=1e-12)


def test_a_forming_batch_loses_members() -> None:
    """Its timer runs from the first who is still there; when all have left it waits for another."""
    columns = {"arrival_s": [0.0, 0.1, 1.0], "output_tokens": 2, "patience_s": [0.05, 0.12, 2.0]}
    forming = {"engine.formation_timeout_s": 0.3, "engine.max_num_seqs": 3}
    log, requests = serve(columns, STATIC, forming)
    assert unserved(log) == pytest.approx({0: 0.05, 1: 0.22})
    np.testing.assert_allclose(requests["scheduled_s"], [1.3], atol=1e-12)


def test_a_batch_that_fills_again_after_somebody_has_left() -> None:
    columns = {"arrival_s": [0.0, 0.1, 0.2], "output_tokens": 2, "patience_s": [0.05, 9.0, 9.0]}
    log, requests = serve(columns, STATIC, {"engine.formation_timeout_s": 5.0, "engine.max_num_seqs": 2})
    assert unserved(log) == pytest.approx({0: 0.05})
    np.testing.assert_allclose(requests["scheduled_s"], [0.2, 0.2], atol=1e-12)


def test_whoever_was_scheduled_once_stays_when_preempted() -> None:
    scarce = {"engine.num_gpu_blocks": 50, "workload.arrivals": {"process": "all_at_once"}}
    result = run(scarce, {"workload.patience_s": {"distribution": "fixed", "value": 0.2}})
    assert result.requests["preemptions"].sum() > 0
    assert result.requests["queue_s"].max() < 0.2
    assert result.summary["sim"]["failed"]["abandoned"] > 0


# ---- whole runs -----------------------------------------------------------------------------------------------------

BOTH = {"engine.max_concurrent_requests": 20, "workload.patience_s": EXPONENTIAL, "engine.max_num_seqs": 4}


@pytest.mark.parametrize("changes", [{}, STATIC, {"engine.async_scheduling": True}, {"engine.order": "priority"}])
def test_counts_of_a_run_add_up(changes: dict[str, Any]) -> None:
    summary = run(BUSY, BOTH, changes).summary
    failed = summary["sim"]["failed"]
    assert failed["refused"] > 0
    assert failed["abandoned"] > 0
    assert summary["failed"] == failed["refused"] + failed["abandoned"]
    assert summary["num_prompts"] == 300 == summary["completed"] + summary["failed"]
    assert summary["sim"]["audit"]["violations"] == 0


def test_rates_and_shares_count_the_lost_ones_too() -> None:
    """Patience ends while the seat is taken: of three requests one is answered, within its limit."""
    more = {"slo": {"p99_ttft": 1.0}, "workload.arrivals": {"process": "deterministic", "rate": 100}}
    few = {"workload.num_requests": 3, "workload.lengths.output": {"distribution": "fixed", "value": 5}}
    lost = {"workload.patience_s": {"distribution": "fixed", "value": 0.01}}
    summary = run(ONE_SEAT, more, few, lost).summary
    assert (summary["completed"], summary["failed"], summary["num_prompts"]) == (1, 2, 3)
    assert summary["sim"]["throughput"]["offered_request_rate"] == pytest.approx(100)
    assert summary["sim"]["slo"]["good_request_fraction"] == pytest.approx(1 / 3)


def test_a_run_in_which_nobody_is_answered() -> None:
    """A static batch forms for so long that all have left."""
    forming = {"engine.formation_timeout_s": 5.0, "workload.patience_s": {"distribution": "fixed", "value": 0.01}}
    summary = run(STATIC, forming).summary
    assert (summary["completed"], summary["failed"]) == (0, 60)


def test_patience_is_drawn_from_a_stream_of_its_own() -> None:
    plain, impatient = (
        build_workload(experiment(BUSY, more)).table for more in ({}, {"workload.patience_s": EXPONENTIAL})
    )
    assert impatient.drop(columns="patience_s").equals(plain)
    assert impatient["patience_s"].mean() == pytest.approx(0.3, rel=0.2)


def test_a_run_that_is_stopped_counts_who_is_left() -> None:
    log, _ = serve({"arrival_s": [0.0, 0.001], "output_tokens": 5, "patience_s": 1.0}, ONE_SEAT)
    assert log.recorder.totals.in_system_request_s == pytest.approx(0.05 + 0.099)


# ---- what does not go together --------------------------------------------------------------------------------------

CLOSED = {"workload.arrivals": {"process": "closed_loop", "users": 8}}
TALKS = {"workload.conversations": {"turns": 3}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (CLOSED | {"workload.patience_s": EXPONENTIAL}, r"patience_s and arrivals.process closed_loop.*drop one"),
        (TALKS | {"workload.patience_s": EXPONENTIAL}, r"patience_s and conversations.*drop one"),
        (TALKS | {"engine.max_concurrent_requests": 9}, r"max_concurrent_requests: got 9.*conversations.*drop one"),
        (CLOSED | {"engine.max_concurrent_requests": 7}, r"max_concurrent_requests: got 7.*users 8.*raise it"),
        (
            STATIC | {"engine.formation_timeout_s": float("inf"), "engine.max_concurrent_requests": 7},
            r"max_concurrent_requests: got 7.*formation_timeout_s is inf.*waits for 16 requests.*raise it",
        ),
        ({"engine.max_concurrent_requests": 0}, r"engine.max_concurrent_requests: got 0"),
        ({"workload.patience_s": {"distribution": "fixed", "value": 0.0}}, r"workload.patience_s.*value: got 0"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(sim.InputError, match=message):
        run(changes)


def test_a_limit_for_as_many_users_as_there_are_never_refuses() -> None:
    summary = run(CLOSED, {"engine.max_concurrent_requests": 8}).summary
    assert summary["failed"] == 0
