"""Seats as servers: a constant step does not grow with the batch, so requests do not slow each other down.

In steps as short as a four thousandth of a service, `max_num_seqs` seats are as many servers with one queue. The
everyday tests go in two steps: the program equals the recursion of Kiefer and Wolfowitz, on the grid of its own steps,
request by request; and that recursion has the oracle's values on millions of requests. So it is where clients leave the
queue (Erlang-A) or are refused at a limit (loss systems).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from oracles.cases import Case, cases_of, holds
from oracles.experiments import FINE, build, constant, experiment_of, fixed, geometric
from oracles.gates import Means, assert_recursion_agrees
from oracles.measures import seeds, steady
from oracles.recursions import Served, seats

import sim
from sim.metrics.tables import requests_table
from sim.serving.simulation import simulate
from sim.workload.source import build_workload

SEVERAL = [*cases_of("M/M/c"), *cases_of("M/D/c")]
SELECTIVE = [*cases_of("Erlang-A"), *cases_of("loss-M/M/c/K")]


def recursion_of(experiment: sim.Experiment) -> Served:
    """What the recursion says of an engine of few seats and constant steps."""
    table, step_s, engine = build_workload(experiment).table, experiment.cost.step_s, experiment.engine
    services, patience_s = table["output_tokens"] * step_s, table.get("patience_s", np.inf)
    return seats(table["arrival_s"], services, engine.max_num_seqs, step_s, patience_s, engine.max_concurrent_requests)


@pytest.mark.parametrize("case", SEVERAL, ids=str)
def test_every_request_at_several_seats_follows_kiefer_and_wolfowitz(case: Case) -> None:
    assert_follows_recursion(experiment_of(case, 3000, 1))


@pytest.mark.parametrize("mean_tokens", [1, 3, 20])
def test_so_it_does_in_steps_as_long_as_services(mean_tokens: int) -> None:
    output = geometric(mean_tokens) if mean_tokens > 1 else fixed(1)
    engine = {"max_num_seqs": 3}
    settings = {"lam": 2.0, "engine": engine, "cost": constant(1.2 / mean_tokens), "output": output}
    assert_follows_recursion(build(settings, 3000, 1))


def assert_follows_recursion(experiment: sim.Experiment) -> None:
    requests, served = sim.run(experiment).requests, recursion_of(experiment)
    np.testing.assert_allclose(requests["scheduled_s"], served.start_s[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(requests["finish_s"], served.end_s[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", SELECTIVE, ids=str)
def test_every_request_that_may_leave_or_be_refused_follows_the_recursion(case: Case) -> None:
    """Who is served and when, who is refused, and who leaves and when."""
    experiment = experiment_of(case, 5000, 1)
    workload, expected = build_workload(experiment), recursion_of(experiment)
    log = simulate(experiment, workload)
    requests, unserved = requests_table(log, workload), pd.DataFrame(log.recorder.unserved.arrays())
    assert requests["request_id"].tolist() == np.flatnonzero(expected.served[0]).tolist()
    np.testing.assert_allclose(requests["scheduled_s"], expected.start_s[expected.served], rtol=0, atol=1e-9)
    np.testing.assert_allclose(requests["finish_s"], expected.end_s[expected.served], rtol=0, atol=1e-9)
    lost = unserved.sort_values("request_id")
    assert lost["request_id"].tolist() == np.flatnonzero(~expected.served[0]).tolist()
    left_s = expected.end_s[~expected.served] if case.model == "Erlang-A" else lost["arrival_s"]
    np.testing.assert_allclose(lost["left_s"], left_s, rtol=0, atol=1e-9)


def seat_means(
    case: Case, rows: int, columns: int, lam: float, mean_s: float, is_fixed: bool = False, **more: Any
) -> list[Means]:
    """The case's values in so many replications of so many requests, by the recursion on a fine grid."""
    random, step_s = np.random.default_rng(seeds(case, 1)), mean_s / FINE
    arrivals = np.cumsum(random.exponential(1 / lam, (rows, columns)), axis=1)
    services = step_s * (np.full_like(arrivals, FINE) if is_fixed else random.geometric(1 / FINE, arrivals.shape))
    if "theta" in case.params:
        more["patience_s"] = random.exponential(1 / case.params["theta"], arrivals.shape)
    log = seats(arrivals, services, case.params["c"], step_s, **more)
    waits, sojourns, served = steady(log.start_s - arrivals), steady(log.end_s - arrivals), steady(log.served)
    seconds = np.ptp(steady(arrivals), axis=1)
    unserved = 1 - served.mean(axis=1)
    found = {
        "P_wait": 1 - steady(log.at_once).mean(axis=1),
        "Wq": waits.mean(axis=1),
        "Wq_all": waits.mean(axis=1),
        "Lq": waits.sum(axis=1) / seconds,
        "E2E": sojourns.mean(axis=1),
        "E2E_central_queue": sojourns.mean(axis=1),
        "E2E_admitted": (sojourns * served).sum(axis=1) / served.sum(axis=1),
        "P_abandon": unserved,
        "P_block": unserved,
        "erlang_B": unserved,
        "throughput": served.sum(axis=1) / seconds,
        "Wq_p95": np.quantile(waits, 0.95, axis=1),
        "Wq_p99": np.quantile(waits, 0.99, axis=1),
    }
    return [{name: float(found[name][row]) for name in case.expected} for row in range(rows)]


@holds("M/M/c", "P_wait Wq E2E")
def test_servers_with_exponential_services_have_the_oracle_means(case: Case) -> None:
    assert_recursion_agrees(case, seat_means(case, 300, 20_000, case.params["lam"], 1 / case.params["mu"]))


@holds("M/D/c", "P_wait Wq E2E")
def test_servers_with_fixed_services_have_the_oracle_means(case: Case) -> None:
    assert_recursion_agrees(case, seat_means(case, 200, 20_000, case.params["lam"], case.params["S"], is_fixed=True))


@holds("M/M/c", "erlang_B")
def test_servers_without_a_queue_refuse_what_erlang_says(case: Case) -> None:
    p = case.params
    assert_recursion_agrees(case, seat_means(case, 100, 20_000, p["lam"], 1 / p["mu"], limit=p["c"]), allowed=0.02)


@holds("Erlang-A", "P_abandon Lq Wq_all P_wait throughput")
def test_clients_who_leave_the_queue_have_the_oracle_means(case: Case) -> None:
    assert_recursion_agrees(case, seat_means(case, 200, 15_000, case.params["lam"], 1 / case.params["mu"]))


@holds("loss-M/M/c/K", "P_block throughput E2E_admitted")
def test_clients_who_are_refused_at_a_limit_have_the_oracle_means(case: Case) -> None:
    p = case.params
    assert_recursion_agrees(case, seat_means(case, 200, 15_000, p["lam"], 1 / p["mu"], limit=p["K"]))


@holds("JSQ-2-replicas", "E2E_central_queue", deep=[2, 3])
def test_two_servers_with_one_queue_have_the_oracle_mean(case: Case) -> None:
    assert_recursion_agrees(case, seat_means(case, 200, 20_000, case.params["lam"], 1 / case.params["mu"]))


@holds("M/M/c", "Wq_p95 Wq_p99", deep=True)
def test_servers_with_exponential_services_have_the_oracle_tails(case: Case) -> None:
    assert_recursion_agrees(case, seat_means(case, 1000, 50_000, case.params["lam"], 1 / case.params["mu"]))
