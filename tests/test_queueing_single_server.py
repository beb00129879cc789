"""One seat is one server: M/D/1, M/M/1, M/Geo/1, M/G/1 and GI/M/1, other orders of service, servers in a row.

A narrow interval of a heavily loaded server takes millions of requests. The everyday tests therefore go in two steps
that together are as strong: the program equals a recursion request by request, and the recursion, which is fast, has
the oracle's values on the program's own workloads. test_queueing_at_full_length.py runs the program itself.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from oracles.cases import Case, cases_of, holds
from oracles.experiments import experiment_of
from oracles.gates import Means, assert_bound, assert_equals, assert_recursion_agrees
from oracles.measures import Waits, seeds, steady
from oracles.recursions import lindley_waits, ordered_waits
from oracles.table import RECURSION
from scipy import stats

import sim
from sim.metrics.tables import requests_table
from sim.serving.simulation import simulate
from sim.workload.source import build_workload
from sim.workload.workload import Workload

FIFO_MODELS = ("M/D/1", "M/M/1", "M/Geo/1", "M/G/1-lognormal", "Gamma/M/1")
FIFO_CASES = [case for model in FIFO_MODELS for case in cases_of(model)]

Floats = np.ndarray


def services_of(experiment: sim.Experiment, workload: Workload) -> Floats:
    """Seconds each request is served: what it brought, or a step a token."""
    if "service_s" in workload.table:
        return workload.table["service_s"].to_numpy()
    return workload.table["output_tokens"].to_numpy() * experiment.cost.step_s


def fifo(experiment: sim.Experiment) -> tuple[Floats, Floats]:
    """(waits, services) of the experiment's requests, by Lindley's recursion."""
    workload = build_workload(experiment)
    services = services_of(experiment, workload)
    return lindley_waits(workload.table["arrival_s"], services), services


# ---- first come, first served ---------------------------------------------------------------------------------------


def test_the_lindley_recursion_gives_the_waits_worked_out_by_hand() -> None:
    (case,) = cases_of("Lindley")
    waits = lindley_waits(np.cumsum(case.params["interarrival"]), case.params["service"])
    np.testing.assert_allclose(waits, case.expected["wait"], atol=1e-12)


@holds("Lindley", "wait completion")
def test_a_single_seat_gives_the_waits_worked_out_by_hand(case: Case) -> None:
    arrivals, services = np.cumsum(case.params["interarrival"]), np.array(case.params["service"])
    columns = {"arrival_s": arrivals, "prompt_tokens": 1, "output_tokens": 1, "service_s": services}
    workload = Workload(pd.DataFrame(columns))
    log = simulate(experiment_of(cases_of("M/M/1")[0], num_requests=1, seed=0), workload)
    requests = requests_table(log, workload)
    found = {"wait": requests["queue_s"].to_numpy(), "completion": requests["finish_s"].to_numpy()}
    assert_equals(case, found, rel=0, absolute=1e-12)


@pytest.mark.parametrize("case", FIFO_CASES, ids=str)
def test_every_wait_of_a_single_seat_follows_lindley(case: Case) -> None:
    experiment = experiment_of(case, num_requests=10_000, seed=1)
    requests, (waits, services) = sim.run(experiment).requests, fifo(experiment)
    np.testing.assert_allclose(requests["queue_s"], waits, rtol=0, atol=1e-9)
    np.testing.assert_allclose(requests["e2e_s"], waits + services, rtol=0, atol=1e-9)
    first_steps = services / requests["output_tokens"]
    np.testing.assert_allclose(requests["ttft_s"], waits + first_steps, rtol=0, atol=1e-9)


def fifo_means(case: Case, replications: int) -> list[Means]:
    """What Lindley's recursion says on so many of the program's workloads of 200,000 requests."""

    def means(seed: int) -> Means:
        waits, services = fifo(experiment_of(case, 200_000, seed))
        return Waits(steady(waits), steady(waits + services), case.params["lam"]).means(list(case.expected))

    return [means(seed) for seed in seeds(case, replications)]


MANY = {"M/G/1-lognormal-1": 60, "M/G/1-lognormal-2": 150, "M/G/1-lognormal-3": 60}
"""Replications for means, where thirty do not suffice."""
TAILS = {"M/D/1-2": 110, "M/D/1-3": 60, "M/M/1-2": 180, "M/M/1-3": 120}
"""Replications for variances and tails, where thirty do not suffice."""


@holds("M/D/1", "Wq E2E P_wait0 Lq")
def test_fixed_services_have_the_oracle_means(case: Case) -> None:
    assert_recursion_agrees(case, fifo_means(case, 30))


@holds("M/M/1", "Wq E2E P_wait Lq L")
def test_exponential_services_have_the_oracle_means(case: Case) -> None:
    assert_recursion_agrees(case, fifo_means(case, 30))


@holds("Gamma/M/1", "Wq E2E P_wait sigma")
def test_bursty_and_smooth_arrivals_have_the_oracle_means(case: Case) -> None:
    assert_recursion_agrees(case, fifo_means(case, 30))


@holds("Gamma/M/1", "kingman_upper")
def test_waits_of_gamma_arrivals_are_below_kingmans_bound(case: Case) -> None:
    waits, _ = fifo(experiment_of(case, 200_000, 1))
    assert_bound(case, "kingman_upper", steady(waits).mean(), by=RECURSION)


@holds("M/Geo/1", "Wq E2E TTFT ES ES2")
def test_services_of_a_geometric_number_of_tokens_have_the_oracle_means(case: Case) -> None:
    def means(seed: int) -> Means:
        waits, services = fifo(experiment_of(case, 200_000, seed))
        service = {"ES": services.mean(), "ES2": (services**2).mean()}
        sojourns = {"Wq": steady(waits).mean(), "E2E": steady(waits + services).mean()}
        return sojourns | service | {"TTFT": steady(waits).mean() + case.params["step"]}

    assert_recursion_agrees(case, [means(seed) for seed in seeds(case, 30)])


@holds("M/G/1-lognormal", "Wq E2E", deep=[2])
def test_services_that_vary_much_have_the_oracle_means(case: Case) -> None:
    assert_recursion_agrees(case, fifo_means(case, MANY[case.id]))


@holds("M/D/1", "var_Wq Wq_p50 Wq_p95 Wq_p99", deep=True)
def test_fixed_services_have_the_oracle_tails(case: Case) -> None:
    assert_recursion_agrees(case, fifo_means(case, TAILS.get(case.id, 30)))


@holds("M/M/1", "var_E2E Wq_p50 Wq_p95 Wq_p99 E2E_p99", deep=True)
def test_exponential_services_have_the_oracle_tails(case: Case) -> None:
    assert_recursion_agrees(case, fifo_means(case, TAILS.get(case.id, 30)))


@pytest.mark.parametrize("case", cases_of("M/M/1"), ids=str)
def test_sojourns_of_exponential_services_are_exponential(case: Case) -> None:
    """Kolmogorov and Smirnov, on requests so far apart that they hardly know of each other."""
    rate, spaced = case.params["mu"] - case.params["lam"], slice(None, None, 400)
    sojourns = [np.add(*fifo(experiment_of(case, 200_000, seed)))[spaced][20:] for seed in range(5)]
    assert stats.kstest(np.concatenate(sojourns), stats.expon(scale=1 / rate).cdf).pvalue > 0.01


# ---- other orders of service ----------------------------------------------------------------------------------------

ORDERED_CASES = [*cases_of("priority-nonpreemptive-Cobham"), *cases_of("SRPT-SJF-M/M/1")]
RANKS = {"priority": "priority", "shortest_predicted": "output_tokens"}


def ordered(case: Case, num_requests: int, seed: int, order: str) -> tuple[sim.Experiment, pd.DataFrame]:
    """An experiment, and its requests with the recursion's `wait_s` and `service_s`."""
    experiment = experiment_of(case, num_requests, seed, order=order)
    workload = build_workload(experiment)
    services = services_of(experiment, workload)
    waits = ordered_waits(workload.table["arrival_s"], services, workload.table[RANKS[order]])
    return experiment, workload.table.assign(wait_s=waits, service_s=services)


def order_of(case: Case) -> str:
    return "priority" if "lams" in case.params else "shortest_predicted"


@pytest.mark.parametrize("case", ORDERED_CASES, ids=str)
def test_every_wait_of_a_single_seat_follows_its_order(case: Case) -> None:
    experiment, requests = ordered(case, 5000, 1, order_of(case))
    np.testing.assert_allclose(sim.run(experiment).requests["queue_s"], requests["wait_s"], rtol=0, atol=1e-9)


@holds("priority-nonpreemptive-Cobham", "Wq conservation conservation_rhs", deep=[1, 2, 3])
def test_urgent_requests_wait_as_cobham_says(case: Case) -> None:
    """By class, and together: the order moves waits from one class to another, and that is all (conservation)."""
    rates, mean_s = case.params["lams"], case.params["S"]
    classes = [f"Wq {place}" for place in range(len(rates))]
    expected = dict(zip(classes, case.expected["Wq"], strict=True))
    expected |= {name: case.expected[name] for name in ("conservation", "conservation_rhs")}

    def means(seed: int) -> Means:
        requests = steady_rows(ordered(case, 200_000, seed, "priority")[1])
        waits = requests.groupby("priority")["wait_s"].mean().tolist()
        work = sum(rate * mean_s * wait for rate, wait in zip(rates, waits, strict=True))
        load, residual = mean_s * sum(rates), sum(rates) * (requests["service_s"] ** 2).mean() / 2
        bound = {"conservation": work, "conservation_rhs": load * residual / (1 - load)}
        return dict(zip(classes, waits, strict=True)) | bound

    exact = Case(case.id, case.model, case.params, expected)
    assert_recursion_agrees(exact, [means(seed) for seed in seeds(case, 30)])


def steady_rows(requests: pd.DataFrame) -> pd.DataFrame:
    return requests.iloc[len(requests) // 10 : -len(requests) // 50]


@holds("SRPT-SJF-M/M/1", "E2E_SJF E2E_FCFS", deep=[2, 3])
def test_the_shortest_job_first_saves_what_theory_says(case: Case) -> None:
    def means(seed: int) -> Means:
        _, shortest = ordered(case, 100_000, seed, "shortest_predicted")
        in_order = lindley_waits(shortest["arrival_s"], shortest["service_s"])
        both = {"E2E_SJF": shortest["wait_s"], "E2E_FCFS": in_order}
        return {name: steady(waits + shortest["service_s"]).mean() for name, waits in both.items()}

    replications = [means(seed) for seed in seeds(case, 10 if case.params["rho"] < 0.8 else 60)]
    assert_recursion_agrees(case, replications)
    assert all(each["E2E_SJF"] < each["E2E_FCFS"] for each in replications)
