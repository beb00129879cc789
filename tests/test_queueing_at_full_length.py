"""The program itself, on so many requests that its own intervals are narrow, where everyday tests go by a recursion.

Minutes a case; run by `pytest -m deep`.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from oracles.cases import Case, cases_of
from oracles.experiments import experiment_of
from oracles.gates import Means, assert_agrees
from oracles.measures import COOL_DOWN, WARM_UP, long_replications, measured, on_all_cores, steady_part

import sim
from sim.serving.simulation import simulate
from sim.workload.source import build_workload

pytestmark = pytest.mark.deep

MEANS: dict[str, str] = {
    "M/D/1": "Wq E2E P_wait0",
    "M/M/1": "Wq E2E P_wait",
    "M/Geo/1": "Wq E2E TTFT",
    "M/G/1-lognormal": "Wq E2E",
    "Gamma/M/1": "Wq E2E sigma",
    "M/M/c": "Wq E2E",
    "M/D/c": "Wq E2E",
    "bulk-M/D[1,b]/1": "Wq E2E mean_batch",
    "dynamic-batching-Inoue": "E2E mean_batch",
    "static-full-batch-M/D[b,b]/1": "Wq E2E mean_batch utilisation steps_per_s",
    "static-batching-geometric": "Wq utilisation",
}
"""What is measured, by model."""

REPLICATIONS = {
    "M/D/1-1": 12, "M/D/1-2": 30, "M/D/1-3": 20, "M/M/1-1": 18, "M/M/1-2": 60, "M/M/1-3": 30,
    "M/Geo/1-1": 16, "M/Geo/1-2": 50, "M/Geo/1-3": 30, "M/G/1-lognormal-1": 140, "M/G/1-lognormal-2": 320,
    "M/G/1-lognormal-3": 90, "Gamma/M/1-1": 20, "Gamma/M/1-2": 50, "Gamma/M/1-3": 90,
    "M/M/c-1": 50, "M/M/c-2": 30, "M/M/c-3": 50, "M/D/c-1": 36, "M/D/c-2": 20, "M/D/c-3": 40,
    "bulk-M/D[1,b]/1-2": 14, "bulk-M/D[1,b]/1-4": 18, "dynamic-batching-Inoue-2": 12, "dynamic-batching-Inoue-3": 12,
}  # fmt: skip
"""Runs of 100,000 requests, where ten do not suffice."""

SHORTER = {
    "bulk-M/D[1,b]/1-1": 20_000, "bulk-M/D[1,b]/1-3": 20_000, "bulk-M/D[1,b]/1-5": 20_000, "bulk-M/D[1,b]/1-6": 40_000,
    "dynamic-batching-Inoue-1": 40_000, "static-full-batch-M/D[b,b]/1-1": 40_000,
    "static-full-batch-M/D[b,b]/1-2": 40_000, "static-full-batch-M/D[b,b]/1-3": 40_000,
    "static-batching-geometric-1": 80_000, "static-batching-geometric-2": 40_000, "static-batching-geometric-3": 40_000,
}  # fmt: skip
"""Requests in a run, where fewer suffice."""


def each_of(values: dict[str, str]) -> pytest.MarkDecorator:
    """Cases of these models, each with these of its values."""
    found = [case.only(names.split()) for model, names in values.items() for case in cases_of(model)]
    return pytest.mark.parametrize("case", found, ids=str)


@each_of(MEANS)
def test_the_program_has_the_oracle_means(case: Case) -> None:
    assert_agrees(case, long_replications(case, REPLICATIONS.get(case.id, 10), SHORTER.get(case.id, 100_000)))


@pytest.mark.parametrize(("release", "name"), [("batch_end", "E2E_hold"), ("on_finish", "E2E_own")])
@pytest.mark.parametrize("case", cases_of("static-batching-geometric"), ids=str)
def test_answers_of_static_batches_are_held_or_streamed(case: Case, release: str, name: str) -> None:
    streamed = Case(case.id, case.model, case.params, {"E2E": case.expected[name]})
    found = long_replications(streamed, 10, 40_000, release=release)
    assert_agrees(case.only([name]), [{name: means["E2E"]} for means in found])


# ---- who is lost ----------------------------------------------------------------------------------------------------

LOST = {"Erlang-A": "P_abandon Lq Wq_all throughput", "loss-M/M/c/K": "P_block throughput E2E_admitted"}
LOST_REPLICATIONS = {"Erlang-A-1": 30, "loss-M/M/c/K-2": 50}


def lost_means(case: Case, num_requests: int, seed: int) -> Means:
    """Of requests that came in the steady part, whatever became of them."""
    experiment = experiment_of(case, num_requests, seed)
    workload = build_workload(experiment)
    recorder = simulate(experiment, workload).recorder
    times, unserved = recorder.requests.arrays(), recorder.unserved.arrays()
    arrival_s = workload.table["arrival_s"].to_numpy()
    waits_s, sojourns_s = (np.full(num_requests, np.nan) for _ in range(2))
    known = min(num_requests, len(times["finish_s"]))  # but for last ones who are refused
    waits_s[:known] = times["scheduled_s"][:known] - arrival_s[:known]
    sojourns_s[:known] = times["finish_s"][:known] - arrival_s[:known]
    waits_s[unserved["request_id"]] = unserved["left_s"] - unserved["arrival_s"]
    part = slice(int(num_requests * WARM_UP), num_requests - int(num_requests * COOL_DOWN))
    seconds, served = np.ptp(arrival_s[part]), ~np.isnan(sojourns_s[part])
    share_lost = 1 - served.mean()
    found = {
        "P_abandon": share_lost,
        "P_block": share_lost,
        "Wq_all": waits_s[part].mean(),
        "Lq": waits_s[part].sum() / seconds,
        "throughput": served.sum() / seconds,
        "E2E_admitted": sojourns_s[part][served].mean(),
    }
    return {name: float(found[name]) for name in case.expected}


@each_of(LOST)
def test_the_program_loses_as_many_clients_as_it_should(case: Case) -> None:
    assert_agrees(case, on_all_cores(partial(lost_means, case, 80_000), case, LOST_REPLICATIONS.get(case.id, 14)))


# ---- other orders of service ----------------------------------------------------------------------------------------


def class_means(case: Case, num_requests: int, seed: int) -> Means:
    """Mean waits by priority."""
    requests = steady_part(sim.run(experiment_of(case, num_requests, seed, order="priority"))).requests
    return {f"Wq {priority}": wait_s for priority, wait_s in requests.groupby("priority")["queue_s"].mean().items()}


@pytest.mark.parametrize("case", cases_of("priority-nonpreemptive-Cobham"), ids=str)
def test_the_program_has_urgent_requests_wait_as_cobham_says(case: Case) -> None:
    waits = {f"Wq {place}": wait_s for place, wait_s in enumerate(case.expected["Wq"])}
    by_class = Case(case.id, case.model, case.params, waits)
    assert_agrees(by_class, on_all_cores(partial(class_means, by_class, 100_000), case, 64))


def shortest_means(case: Case, num_requests: int, seed: int) -> Means:
    of_case = Case(case.id, case.model, case.params, {"E2E": 0.0})
    result = sim.run(experiment_of(case, num_requests, seed, order="shortest_predicted"))
    return {"E2E_SJF": measured(result, of_case)["E2E"]}


@pytest.mark.parametrize("case", cases_of("SRPT-SJF-M/M/1"), ids=str)
def test_the_program_serves_the_shortest_first_as_theory_says(case: Case) -> None:
    count = 10 if case.params["rho"] < 0.8 else 40
    assert_agrees(case.only(["E2E_SJF"]), on_all_cores(partial(shortest_means, case, 80_000), case, count))
