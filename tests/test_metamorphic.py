"""What must follow when an experiment is changed, whatever its numbers are: no oracle needed but the other run.

Both runs serve the same requests, since streams of random numbers have names.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from oracles.experiments import (
    affine,
    at_once,
    build,
    constant,
    exponential,
    fixed,
    geometric,
    per_request,
    poisson,
    single_server,
)
from scenarios import preset_entry

import sim
from sim.metrics.tables import requests_table
from sim.serving.simulation import simulate
from sim.study.run import RunResult
from sim.workload.source import build_workload
from sim.workload.workload import Workload

BATCHING = {"alpha": 0.02, "beta": 0.002, "lam": 6.0, "prompt": 100.0, "output": 20.0, "bp": 2e-5}
"""Continuous batching, first come, first served, at 80 % of what 16 seats do."""


def batching(seed: int, **changes: float) -> RunResult:
    p = BATCHING | changes
    settings = {
        "lam": p["lam"],
        "engine": {"max_num_seqs": 16},
        "cost": affine({name: p[name] for name in ("alpha", "beta", "bp")}),
        "prompt": geometric(p["prompt"]),
        "output": geometric(p["output"]),
    }
    return sim.run(build(settings, 1500, seed))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("name", "factor"), [(name, factor) for name in BATCHING for factor in (0.9, 0.5)])
def test_less_of_anything_is_served_sooner(name: str, factor: float, seed: int) -> None:
    """Arrivals, costs of a step, of a sequence and of a prompt token, and lengths: E2E falls with each of them."""
    more, less = batching(seed), batching(seed, **{name: BATCHING[name] * factor})
    assert less.requests["e2e_s"].mean() < more.requests["e2e_s"].mean()


@pytest.mark.parametrize("preset", ["vllm-v1", "orca", "static"])
@pytest.mark.parametrize("factor", [2.0, 0.25, 1 / 3])
def test_slower_clocks_show_the_same_in_other_units(preset: str, factor: float) -> None:
    """Where all that takes time takes so many times longer, so do waits, gaps and answers; counts stay."""

    def run(unit_s: float) -> RunResult:
        costs = {"alpha": 0.02, "beta": 0.002, "bp": 2e-5, "bd": 1e-5}
        slowed = affine({name: cost_s * unit_s for name, cost_s in costs.items()})
        settings = {"lam": 3.0 / unit_s, "cost": slowed, "prompt": geometric(100), "output": geometric(20)}
        forming = {"formation_timeout_s": 0.3 * unit_s} if preset == "static" else {}
        asynchronous = {"async_scheduling": preset == "vllm-v1"}
        longest = {"max_model_len": 4096, "max_num_seqs": 8, "preset": preset}
        return sim.run(build(settings, 800, 1, **longest, **forming, **asynchronous))

    one, other = run(1.0).requests, run(factor).requests
    for column in one.columns:
        times = factor if column.endswith("_s") else 1 / factor if column == "tps_per_user" else 1
        np.testing.assert_allclose(other[column], one[column] * times, rtol=1e-7, atol=1e-7 * factor, err_msg=column)


def test_the_shortest_first_is_no_slower_than_in_order() -> None:
    """In mean; and where all are of one priority they are served in order."""
    settings = single_server(9.0, constant(0.005), output=geometric(20), workload={"output_predictor": {"error_cv": 0}})
    runs = {order: sim.run(build(settings, 3000, 1, order=order)).requests for order in ("fcfs", "shortest_predicted")}
    assert runs["shortest_predicted"]["e2e_s"].mean() < runs["fcfs"]["e2e_s"].mean()
    same = {"workload": {"priorities": {0: 1.0}}}
    by_priority = sim.run(build(settings | same, 3000, 1, order="priority")).requests
    np.testing.assert_array_equal(by_priority["e2e_s"], runs["fcfs"]["e2e_s"])


@pytest.mark.parametrize("seed", range(3))
def test_one_queue_for_all_servers_is_no_slower_than_choosing_by_lot(seed: int) -> None:
    """Two seats of one engine, against two engines of a seat each."""
    settings = {"lam": 1.0, "engine": {"max_num_seqs": 2}, "cost": constant(0.01), "output": geometric(160)}
    experiment = build(settings, 4000, seed)
    table = build_workload(experiment).table
    by_lot = np.random.default_rng(seed).integers(2, size=len(table))
    single = build(settings, 1, seed, max_num_seqs=1)
    alone = [Workload(table[by_lot == server].reset_index(drop=True)) for server in (0, 1)]
    chosen = pd.concat([requests_table(simulate(single, each), each) for each in alone])
    assert sim.run(experiment).requests["e2e_s"].mean() < chosen["e2e_s"].mean()


@pytest.mark.parametrize("preset", ["vllm-v1", "orca", "static"])
def test_more_seats_never_serve_a_crowd_more_slowly(preset: str) -> None:
    """Throughput of a hundred requests that are all there, while there is memory for all."""

    def throughput(count: int) -> float:
        settings = {"arrivals": at_once(), "cost": affine(BATCHING), "prompt": fixed(64), "output": fixed(20)}
        engine: dict[str, Any] = {"preset": preset, "max_num_seqs": count, "max_model_len": 128}
        if "max_num_batched_tokens" not in preset_entry(preset).get("without", {}):
            engine["max_num_batched_tokens"] = 16_384
        return sim.run(build(settings, 120, 0, **engine)).summary["request_throughput"]

    rates = [throughput(count) for count in (1, 2, 4, 8, 20, 40, 120)]
    assert all(later >= earlier * (1 - 1e-12) for earlier, later in pairwise(rates)), rates


@pytest.mark.parametrize("rates", [(0.5, 50.0)])
def test_without_a_cost_per_sequence_load_adds_only_the_wait_for_the_step_under_way(rates: tuple[float, float]) -> None:
    """From an idle engine a request takes its steps alone; a busy one is met in the middle of a step on average."""
    step_s, tokens = 0.05, 10
    for lam in rates:
        settings = {"lam": lam, "engine": {"max_num_seqs": 4096}, "cost": constant(step_s), "output": fixed(tokens)}
        requests = sim.run(build(settings, 4000, 1)).requests
        waits = requests["queue_s"]
        np.testing.assert_allclose(requests["e2e_s"] - waits, step_s * tokens, rtol=1e-9)
        assert waits.max() <= step_s + 1e-9
        busy = (waits > 1e-12).mean()
        assert waits.mean() == pytest.approx(busy * step_s / 2, rel=0.05)


def test_services_twice_as_long_at_half_the_rate_wait_twice_as_long() -> None:
    settings = [single_server(9.0 / k, per_request(exponential(0.1 * k)), arrivals=poisson(9.0 / k)) for k in (1, 2)]
    one, two = (sim.run(build(each, 2000, 1)).requests["queue_s"] for each in settings)
    np.testing.assert_allclose(two, 2 * one, rtol=0, atol=1e-9)
