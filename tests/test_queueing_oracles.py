"""The simulator, configured so that it is a textbook queue, against the exact answers of queueing theory.

Means are compared by 99 % Student intervals of independent replications with the warm-up cut off: the oracle must lie
inside, and the interval must be narrow (2 %, and 5 % at 90 % load). A narrow interval of a heavily loaded server takes
millions of requests. The everyday tests therefore go in two steps that together are as strong: the engine equals a
recursion request by request, and the recursion, which is fast, has the oracle's mean. `pytest -m deep` runs the engine
itself at full length.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
import pytest
from oracles.cases import Case, experiment_of, first_cases
from oracles.intervals import steady_mean, student_interval
from oracles.recursions import lindley_waits, static_batches

import sim
from sim.metrics.tables import requests_table
from sim.serving.simulation import simulate
from sim.workload.source import build_workload
from sim.workload.workload import Workload

SINGLE_SERVERS = [*first_cases("M/D/1"), *first_cases("M/M/1")]
STATIC_GEOMETRIC = first_cases("static-batching-geometric", 1)[0]

Means = dict[str, float]


# ---- the bar --------------------------------------------------------------------------------------------------------


def assert_agrees(case: Case, replications: list[Means]) -> None:
    """Every mean that the replications measured has the oracle's value inside a narrow interval."""
    assert len(replications) >= 10
    allowed = 0.05 if case.params.get("rho", 0) >= 0.9 else 0.02
    for name in replications[0]:
        interval = student_interval([means[name] for means in replications])
        assert interval.relative_half_width <= allowed, f"{case} {name}: {interval} is too wide"
        assert case.expected[name] in interval, f"{case} {name}: {case.expected[name]} is not within {interval}"


def measure(case: Case, num_requests: int, seed: int, **engine: str) -> Means:
    """The means of one run of the simulator, under the oracle's names where it has them."""
    requests = sim.run(experiment_of(case, num_requests, seed, **engine)).requests
    columns = {"Wq": "queue_s", "wait_to_first_step": "queue_s", "TTFT": "ttft_s", "E2E": "e2e_s"}
    return {name: steady_mean(requests[column]) for name, column in columns.items() if name in case.expected}


# ---- single servers -------------------------------------------------------------------------------------------------


def services_of(case: Case, workload: Workload) -> np.ndarray:
    if "service_s" in workload.table:
        return workload.table["service_s"].to_numpy()
    return np.full(len(workload), case.params["S"])


def test_the_lindley_recursion_gives_the_waits_worked_out_by_hand() -> None:
    (case,) = first_cases("Lindley", 1)
    waits = lindley_waits(np.cumsum(case.params["interarrival"]), case.params["service"])
    np.testing.assert_allclose(waits, case.expected["wait"], atol=1e-12)


def test_a_single_seat_gives_the_waits_worked_out_by_hand() -> None:
    (case,) = first_cases("Lindley", 1)
    arrivals, services = np.cumsum(case.params["interarrival"]), np.array(case.params["service"])
    columns = {"arrival_s": arrivals, "prompt_tokens": 1, "output_tokens": 1, "service_s": services}
    workload = Workload(pd.DataFrame(columns))
    log = simulate(experiment_of(SINGLE_SERVERS[-1], num_requests=1, seed=0), workload)
    requests = requests_table(log, workload)
    np.testing.assert_allclose(requests["queue_s"], case.expected["wait"], atol=1e-12)
    np.testing.assert_allclose(requests["finish_s"], case.expected["completion"], atol=1e-12)


@pytest.mark.parametrize("case", SINGLE_SERVERS, ids=str)
def test_every_wait_of_a_single_seat_follows_lindley(case: Case) -> None:
    experiment = experiment_of(case, num_requests=20_000, seed=1)
    workload, requests = build_workload(experiment), sim.run(experiment).requests
    services = services_of(case, workload)
    waits = lindley_waits(workload.table["arrival_s"].to_numpy(), services)
    np.testing.assert_allclose(requests["queue_s"], waits, rtol=0, atol=1e-9)
    np.testing.assert_allclose(requests["e2e_s"], waits + services, rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", SINGLE_SERVERS, ids=str)
def test_lindley_on_millions_of_our_requests_has_the_oracle_mean(case: Case) -> None:
    def means(seed: int) -> Means:
        workload = build_workload(experiment_of(case, num_requests=200_000, seed=seed))
        services = services_of(case, workload)
        waits = lindley_waits(workload.table["arrival_s"].to_numpy(), services)
        return {"Wq": steady_mean(waits), "E2E": steady_mean(waits + services)}

    assert_agrees(case, [means(seed) for seed in range(100, 130)])


REPLICATIONS = {"M/D/1-1": 12, "M/D/1-2": 30, "M/D/1-3": 20, "M/M/1-1": 16, "M/M/1-2": 50, "M/M/1-3": 30}
"""Of 100,000 requests each."""


@pytest.mark.deep
@pytest.mark.parametrize("case", SINGLE_SERVERS, ids=str)
def test_the_engine_itself_has_the_oracle_mean_at_full_length(case: Case) -> None:
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        seeds = range(1000, 1000 + REPLICATIONS[case.id])
        assert_agrees(case, list(pool.map(partial(measure, case, 100_000), seeds)))


# ---- continuous batching --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", first_cases("constant-step-infinite-batch"), ids=str)
def test_unlimited_batching_at_constant_step(case: Case) -> None:
    assert_agrees(case, [measure(case, 1000, seed) for seed in range(20)])


@pytest.mark.parametrize("case", first_cases("bulk-M/D[1,b]/1", 1), ids=str)
def test_single_token_requests_in_batches_of_up_to_b(case: Case) -> None:
    assert_agrees(case, [measure(case, 5000, seed) for seed in range(20)])


@pytest.mark.parametrize("case", first_cases("geometric-continuous-batching"), ids=str)
def test_continuous_batching_of_geometric_outputs(case: Case) -> None:
    """The principal oracle: the whole loop, its alignment to step boundaries and its queueing."""
    assert_agrees(case, [measure(case, 1250, seed) for seed in range(40)])


# ---- request-level batching -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", first_cases("static-full-batch-M/D[b,b]/1", 1), ids=str)
def test_batches_that_wait_until_they_are_full(case: Case) -> None:
    assert_agrees(case, [measure(case, 6000, seed) for seed in range(40)])


@pytest.mark.parametrize("release", ["batch_end", "on_finish"])
def test_every_request_of_a_static_batch_follows_the_batch_recursion(release: str) -> None:
    case = STATIC_GEOMETRIC
    experiment = experiment_of(case, num_requests=6000, seed=1, release=release)
    workload, requests = build_workload(experiment), sim.run(experiment).requests
    step_s, seats = case.params["D"], case.params["b"]
    starts, ends = static_batches(
        workload.table["arrival_s"].to_numpy(), workload.table["output_tokens"].to_numpy(), step_s, seats
    )
    own_ends = starts + step_s * workload.table["output_tokens"].to_numpy()
    np.testing.assert_allclose(requests["scheduled_s"], starts, rtol=0, atol=1e-9)
    np.testing.assert_allclose(requests["finish_s"], ends if release == "batch_end" else own_ends, rtol=0, atol=1e-9)


def test_the_batch_recursion_on_our_requests_has_the_oracle_mean() -> None:
    case = STATIC_GEOMETRIC

    def means(seed: int) -> Means:
        workload = build_workload(experiment_of(case, num_requests=20_000, seed=seed))
        step_s, arrivals = case.params["D"], workload.table["arrival_s"].to_numpy()
        starts, ends = static_batches(arrivals, workload.table["output_tokens"].to_numpy(), step_s, case.params["b"])
        own_ends = starts + step_s * workload.table["output_tokens"].to_numpy()
        sojourns = {"Wq": starts - arrivals, "E2E_hold": ends - arrivals, "E2E_own": own_ends - arrivals}
        return {name: steady_mean(values) for name, values in sojourns.items()}

    assert_agrees(case, [means(seed) for seed in range(100, 130)])
