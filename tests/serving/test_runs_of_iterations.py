"""Runs of iterations taken at once give the numbers of the same iterations taken one by one, but for rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from interrupts import interrupt_at
from small_runs import ORCA, PREEMPTING, STATIC, experiment

import sim
from sim.metrics.runs import durations_s, each_iteration
from sim.study.run import RunResult

LONG = {
    "workload.lengths.output": {"distribution": "uniform", "low": 50, "high": 300},
    "workload.arrivals.rate": 1.5,
}
"""Answers of seconds at a moderate load: most iterations are in long runs."""

BUSY = {"workload.arrivals.rate": 25.0, "workload.num_requests": 150}
ENGINES: dict[str, dict[str, Any]] = {
    "vllm-v1": LONG,
    "busy": BUSY,
    "few seats": LONG | {"engine.max_num_seqs": 3},
    "preempting": PREEMPTING | {"engine.num_gpu_blocks": 80},
    "preempting in chunks": PREEMPTING | {"engine.gate": "first_chunk", "engine.max_num_batched_tokens": 24},
    "a budget below the batch": BUSY | {"engine.max_num_batched_tokens": 8},
    "cadence": BUSY | {"engine.prefill_schedule_interval": 4, "engine.long_prefill_token_threshold": 32},
    "priorities": LONG
    | {"engine.order": "priority", "workload.priorities": {0: 1.0, 1: 2.0}, "engine.max_num_seqs": 4},
    "asynchronous": LONG | {"engine.async_scheduling": True},
    "asynchronous, preempting": PREEMPTING | {"engine.async_scheduling": True},
    "orca": ORCA | LONG,
    "static": STATIC,
    "static in chunks": STATIC | {"engine.enable_chunked_prefill": True, "engine.long_prefill_token_threshold": 32},
    "static, asynchronous": STATIC | LONG | {"engine.async_scheduling": True, "engine.release": "on_finish"},
    "static with a timeout": STATIC | LONG | {"engine.formation_timeout_s": 0.7, "engine.release": "on_finish"},
    "two GPUs": LONG | {"engine.tensor_parallel_size": 2},
    "constant steps": LONG | {"cost": {"kind": "constant", "step_s": 0.0137}},
    "affine steps": BUSY | {"cost": {"kind": "affine", "per_step_s": 0.007, "per_decode_token_s": 1.1e-4}},
    "own service times": {
        "engine.max_num_seqs": 1,
        "cost": {"kind": "per_request", "service_s": {"distribution": "exponential", "mean": 0.1}},
    },
    "closed loop": {
        "workload.arrivals": {
            "process": "closed_loop", "users": 5, "think_time_s": {"distribution": "exponential", "mean": 0.4},
        }
    },
}  # fmt: skip


def both(*changes: dict[str, Any]) -> tuple[RunResult, RunResult]:
    """The same experiment in runs, and one by one, as a run is when somebody watches every iteration."""
    records: list[dict[str, Any]] = []
    return sim.run(experiment(*changes)), sim.run(experiment(*changes), on_record=records.append)


def assert_equal_frames(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(ours, theirs, check_exact=False, rtol=1e-9, atol=1e-9)


def numbers(summary: dict[str, Any]) -> dict[str, Any]:
    """All of a summary by its full names, but for what simulating took and when."""
    simulated = {key: value for key, value in summary["sim"].items() if key != "performance"}
    iterations = {"engine_iterations": summary["sim"]["performance"]["engine_iterations"]}
    return _flat(summary | {"date": None, "sim": simulated | iterations}, "")


def _flat(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    return {key: leaf for inner in value for key, leaf in _flat(value[inner], f"{name}.{inner}").items()}


def assert_equal_summaries(ours: RunResult, theirs: RunResult) -> None:
    one, other = numbers(ours.summary), numbers(theirs.summary)
    assert one.keys() == other.keys()
    for name, value in one.items():
        is_number = isinstance(value, float) and isinstance(other[name], float)
        assert value == (pytest.approx(other[name], rel=1e-9, abs=1e-9) if is_number else other[name]), name


@pytest.mark.parametrize("seed", [3, 11, 12])
@pytest.mark.parametrize("changes", ENGINES.values(), ids=ENGINES)
def test_every_number_is_that_of_single_iterations(changes: dict[str, Any], seed: int) -> None:
    at_once, one_by_one = both(changes, {"seed": seed})
    assert (one_by_one.iterations["iterations"] == 1).all()
    assert len(at_once.iterations) < len(one_by_one.iterations)
    assert_equal_frames(at_once.requests, one_by_one.requests)
    assert_equal_frames(at_once.gaps, one_by_one.gaps)
    assert_equal_summaries(at_once, one_by_one)


@pytest.mark.parametrize("changes", ENGINES.values(), ids=ENGINES)
def test_the_runs_unrolled_are_the_single_iterations(changes: dict[str, Any]) -> None:
    at_once, one_by_one = both(changes)
    runs, single = at_once.iterations, one_by_one.iterations
    unrolled = each_iteration(runs)
    np.testing.assert_allclose(unrolled.step_s, single["first_step_s"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(unrolled.end_s, single["start_s"] + single["first_step_s"], rtol=0, atol=1e-9)
    first = np.cumsum(runs["iterations"]) - runs["iterations"]
    of_the_first = runs.columns.difference(["iterations", "step_increment_s", "kv_grown_blocks", "kv_grown_block_s"])
    starts = single.loc[first, of_the_first].reset_index(drop=True)
    pd.testing.assert_frame_equal(runs[of_the_first], starts, check_exact=False, rtol=0, atol=1e-9)
    last = single["kv_used_blocks"].to_numpy()[first + runs["iterations"] - 1]
    assert (runs["kv_used_blocks"] + runs["kv_grown_blocks"]).tolist() == last.tolist()
    held_s = single["kv_used_blocks"] * single["first_step_s"]
    every_run_s = np.add.reduceat(held_s.to_numpy(), first)
    block_s = runs["kv_used_blocks"] * durations_s(runs) + runs["kv_grown_block_s"]
    np.testing.assert_allclose(block_s, every_run_s, rtol=1e-9)


@pytest.mark.parametrize("last_arrival", [7, 31])
@pytest.mark.parametrize("changes", ENGINES.values(), ids=ENGINES)
def test_an_interruption_in_the_middle_of_a_run_leaves_what_single_iterations_leave(
    changes: dict[str, Any], last_arrival: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrivals = sim.run(experiment(changes)).requests["arrival_s"]
    interrupt_at(monkeypatch, arrivals[last_arrival])
    at_once, one_by_one = both(changes)
    assert at_once.summary["sim"]["interrupted"]
    assert_equal_frames(at_once.requests, one_by_one.requests)
    assert_equal_frames(at_once.gaps, one_by_one.gaps)
    assert_equal_summaries(at_once, one_by_one)
