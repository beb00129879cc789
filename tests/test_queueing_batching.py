"""Batches against exact answers: continuous batching of geometric outputs above all, bulk service, static batching.

Where an interval would take too long a run, the everyday test goes in two steps: the program equals a recursion request
by request, and the recursion has the oracle's values on many more of the program's workloads.
"""

from __future__ import annotations

import numpy as np
import pytest
from oracles.cases import Case, cases_of, holds
from oracles.chain_boundaries import continuous_batching, static_batching
from oracles.experiments import affine, build, constant, experiment_of, geometric, poisson, static
from oracles.gates import Means, assert_agrees, assert_equals, assert_recursion_agrees
from oracles.measures import long_replications, measured, replications, seeds, steady
from oracles.recursions import Batches, batches, full_batches
from oracles.table import FORMULA

import sim
from sim.workload.source import build_workload

GEOMETRIC, BULK = "geometric-continuous-batching", "bulk-M/D[1,b]/1"
INOUE, STATIC, FULL = "dynamic-batching-Inoue", "static-batching-geometric", "static-full-batch-M/D[b,b]/1"
ANY_SIZE = 250
"""More than ever wait in `dynamic-batching-Inoue`."""


# ---- the exact chains -----------------------------------------------------------------------------------------------


def chain_of(case: Case) -> dict[str, float]:
    p = case.params
    if case.model == STATIC:
        return static_batching(p["lam"], p["D"], p["p"], p["b"])
    if case.model == INOUE:
        return continuous_batching(p["lam"], p["tau0"], p["alpha"], 1.0, ANY_SIZE, ANY_SIZE)
    return continuous_batching(p["lam"], p["alpha"], p["beta"], p.get("p", 1.0), p.get("m") or p["b"], p.get("K", 600))


@pytest.mark.parametrize("case", [case for model in (GEOMETRIC, BULK, INOUE) for case in cases_of(model)], ids=str)
def test_the_chain_of_continuous_batching_gives_the_file_s_values(case: Case) -> None:
    """To 1e-9 of a sojourn, which is the precision that sums of such terms have in the file."""
    chain = chain_of(case)
    assert chain["beyond"] < 1e-12
    for name in chain.keys() & case.expected.keys():
        assert chain[name] == pytest.approx(case.expected[name], rel=1e-9, abs=1e-9 * case.expected["E2E"]), name


@pytest.mark.parametrize("case", cases_of(STATIC), ids=str)
def test_the_chain_of_static_batching_gives_the_file_s_values(case: Case) -> None:
    """To 2e-8: the file's own chain cut the law of the longest output there."""
    chain = chain_of(case)
    assert chain["beyond"] < 1e-12
    for name, expected in case.expected.items():
        assert chain[name] == pytest.approx(expected, rel=2e-8), name


# ---- continuous batching --------------------------------------------------------------------------------------------


@holds(GEOMETRIC, "E2E wait_to_first_step TTFT utilisation mean_first_step", only=[1, 2, 3, 4])
def test_continuous_batching_of_geometric_outputs(case: Case) -> None:
    """The principal oracle: the whole loop, its alignment to step boundaries and its queueing."""
    assert_agrees(case, replications(case, 24, 2500 if case.params["p"] < 0.1 else 5000))


@holds(GEOMETRIC, "utilisation mean_first_step", only=[5])
def test_continuous_batching_near_its_seats(case: Case) -> None:
    assert_agrees(case, replications(case, 12, 2500))


LENGTHS = {f"{GEOMETRIC}-5": 150}
"""Runs of 100,000 requests, where twelve do not suffice: few requests wait for a seat, but those wait long."""


@holds(
    GEOMETRIC,
    "E2E N wait_to_first_step TTFT mean_batch_per_step utilisation tokens_per_s mean_first_step",
    deep=True,
)
def test_continuous_batching_of_geometric_outputs_at_full_length(case: Case) -> None:
    assert_agrees(case, long_replications(case, LENGTHS.get(case.id, 12), 100_000))


def any_point(number: int) -> Case:
    """Continuous batching at random parameters, at up to 85 % of what its seats can do."""
    random = np.random.default_rng([7, number])
    seats, p = int(random.integers(2, 40)), float(random.choice([1.0, 0.5, 0.2, 0.1, 0.05]))
    alpha, beta = float(random.uniform(0.005, 0.05)), float(random.choice([0.0, 1.0])) * float(random.uniform(0, 0.005))
    lam = float(random.uniform(0.2, 0.85)) * seats * p / (alpha + beta * seats)
    params = {"lam": lam, "alpha": alpha, "beta": beta, "p": p, "m": seats}
    chain = continuous_batching(**{"seats": seats} | {name: params[name] for name in ("lam", "alpha", "beta", "p")})
    assert chain["beyond"] < 1e-12
    names = ("E2E", "Wq", "TTFT", "utilisation", "mean_batch")
    return Case(f"any-point-{number}", GEOMETRIC, params, {name: chain[name] for name in names})


@pytest.mark.parametrize("number", [*range(4), *(pytest.param(each, marks=pytest.mark.deep) for each in range(4, 24))])
def test_continuous_batching_at_any_point_is_as_its_chain_says(number: int) -> None:
    """Of so many points, one value in ten thousand may be outside its interval.

    A wait may be a small part of a sojourn, and a rare one: it is known as well as the sojourn that it is in.
    """
    case = any_point(number)
    output = {"output": geometric(1 / case.params["p"])} if case.params["p"] < 1 else {}
    settings = {"arrivals": poisson(case.params["lam"]), "cost": affine(case.params), **output}
    length = 6000 if number < 4 else 18_000
    runs = (sim.run(build(settings, length, seed, max_num_seqs=case.params["m"])) for seed in seeds(case, 20))
    found = [measured(run, case) for run in runs]
    for name, expected in case.expected.items():
        whole = case.expected["E2E"] if name in ("Wq", "TTFT") else expected
        of_name = [{name: means[name]} for means in found]
        assert_agrees(case.only([name]), of_name, allowed=0.05 * whole / expected, rare=never_idle(case), level=0.9999)


# ---- constant steps without limits ----------------------------------------------------------------------------------


@holds("constant-step-infinite-batch", "busy_fraction TTFT E2E TPOT N mean_batch_per_step")
def test_unlimited_batching_at_constant_step(case: Case) -> None:
    assert_agrees(case, replications(case, 24, 2000))


@holds("constant-step-infinite-batch", "mean_steps_per_busy_run", deep=True)
def test_busy_runs_of_unlimited_batching_at_constant_step(case: Case) -> None:
    assert_agrees(case, long_replications(case, 48, 60_000))


# ---- bulk service ---------------------------------------------------------------------------------------------------


def bulk(case: Case, arrival_s: np.ndarray) -> Batches:
    """The recursion of single-token requests in batches of up to b, or of any size."""
    p = case.params
    if case.model == INOUE:
        return batches(arrival_s, 1, p["tau0"], ANY_SIZE, p["alpha"])
    return batches(arrival_s, 1, p["alpha"], p["b"], p["beta"])


BULK_CASES = [*cases_of(BULK), *cases_of(INOUE)]


@pytest.mark.parametrize("case", BULK_CASES, ids=str)
def test_every_single_token_request_follows_the_batch_recursion(case: Case) -> None:
    requests = sim.run(experiment_of(case, 8000, 1)).requests
    expected = bulk(case, requests["arrival_s"].to_numpy())
    np.testing.assert_allclose(requests["scheduled_s"], expected.start_s, rtol=0, atol=1e-9)
    np.testing.assert_allclose(requests["finish_s"], expected.end_s, rtol=0, atol=1e-9)


def never_idle(case: Case) -> list[str]:
    """The utilisation, where no interval can tell it from 1."""
    return ["utilisation"] if case.expected["utilisation"] > 0.9999 else []


def batch_means(case: Case, arrival_s: np.ndarray, log: Batches) -> list[Means]:
    """The case's values in each replication, a row of arrivals and what the recursion says of them."""
    kept = steady(arrival_s)
    begin_s, end_s = kept[:, :1], kept[:, -1:]
    members = (log.start_s >= begin_s) & (log.start_s < end_s)
    first = members & (np.diff(log.start_s, prepend=-np.inf) > 0)
    count, seconds = first.sum(axis=1), (end_s - begin_s)[:, 0]
    of_batch_s = log.end_s.clip(begin_s, end_s) - log.start_s.clip(begin_s, end_s)
    busy_s = np.where(np.diff(log.start_s, prepend=-np.inf) > 0, of_batch_s, 0.0).sum(axis=1)
    found = {
        "Wq": steady(log.start_s - arrival_s).mean(axis=1),
        "E2E": steady(log.end_s - arrival_s).mean(axis=1),
        "mean_batch": members.sum(axis=1) / count,
        "utilisation": busy_s / seconds,
        "steps_per_s": count / seconds,
    }
    return [{name: float(found[name][row]) for name in case.expected} for row in range(len(arrival_s))]


def poisson_rows(case: Case, rows: int, count: int) -> np.ndarray:
    gaps_s = np.random.default_rng(seeds(case, 1)).exponential(1 / case.params["lam"], (rows, count))
    return np.cumsum(gaps_s, axis=1)


@holds(BULK, "Wq E2E mean_batch utilisation steps_per_s")
def test_single_token_requests_in_batches_of_up_to_b(case: Case) -> None:
    """An engine that idles once in ten thousand steps is busy always in most runs, and constant steps come as often."""
    arrival_s = poisson_rows(case, 150, 12_000)
    rare = never_idle(case)
    if not case.params["beta"]:
        rare += ["steps_per_s" for _ in rare]
    assert_recursion_agrees(case, batch_means(case, arrival_s, bulk(case, arrival_s)), rare=rare)


@holds(INOUE, "E2E mean_batch utilisation phi0 phi1 bound bound_holds")
def test_batches_of_any_size_have_the_oracle_means_and_keep_inoue_s_bound(case: Case) -> None:
    arrival_s = poisson_rows(case, 100, 12_000)
    rare = never_idle(case)
    simulated = case.only(["E2E", "mean_batch", "utilisation"])
    assert_recursion_agrees(simulated, batch_means(simulated, arrival_s, bulk(case, arrival_s)), rare=rare)
    exact, bounds = chain_of(case)["E2E"], inoue_bounds(**case.params)
    bound = min(bounds.values())
    assert_equals(case, bounds | {"bound": bound, "bound_holds": exact < bound}, by=FORMULA)


def inoue_bounds(lam: float, alpha: float, tau0: float) -> dict[str, float]:
    """Upper bounds of the mean sojourn (arXiv 1912.06322), for batches of n that take alpha·n + tau0 seconds."""
    load, idle = lam * alpha, lam * tau0
    phi0 = (alpha + tau0) / (2 * (1 - load)) * (1 + 2 * idle + (1 - idle) / (1 + load))
    phi1 = 3 * tau0 / (2 * (1 - load)) + alpha / 2 * (load + 2) / (1 - load**2)
    return {"phi0": phi0, "phi1": phi1}


# ---- static batching ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases_of(FULL), ids=str)
def test_every_request_of_a_full_batch_follows_lindley(case: Case) -> None:
    size = case.params["b"]
    requests = sim.run(experiment_of(case, 500 * size, 1)).requests
    expected = full_batches(requests["arrival_s"], case.params["S"], size)
    np.testing.assert_allclose(requests["scheduled_s"], expected.start_s, rtol=0, atol=1e-9)
    np.testing.assert_allclose(requests["finish_s"], expected.end_s, rtol=0, atol=1e-9)


@holds(FULL, "Wq E2E mean_batch utilisation steps_per_s")
def test_batches_that_wait_until_they_are_full(case: Case) -> None:
    arrival_s = poisson_rows(case, 100, 12_000)
    log = full_batches(arrival_s, case.params["S"], case.params["b"])
    assert_recursion_agrees(case, batch_means(case, arrival_s, log))


@holds(FULL, "fill_wait_at_zero_load")
def test_requests_wait_for_a_batch_to_fill_even_without_load(case: Case) -> None:
    """A service of no time to speak of."""
    size = case.params["b"]
    settings = {"lam": case.params["lam"], "cost": constant(1e-6), "engine": static(size, formation_timeout_s=np.inf)}
    runs = [sim.run(build(settings, 300 * size, seed)) for seed in seeds(case, 24)]
    assert_agrees(case, [{"fill_wait_at_zero_load": steady(run.requests["queue_s"]).mean()} for run in runs])


@holds("static-timeout-ample-servers", "formation_wait mean_batch")
def test_batches_that_start_some_time_after_their_first_request(case: Case) -> None:
    """Ample servers: this one is done within a microsecond."""
    assert_agrees(case, replications(case, 20, 2000))


@pytest.mark.parametrize("release", ["batch_end", "on_finish"])
@pytest.mark.parametrize("case", cases_of(STATIC), ids=str)
def test_every_request_of_a_static_batch_follows_the_batch_recursion(case: Case, release: str) -> None:
    experiment = experiment_of(case, num_requests=4000, seed=1, release=release)
    table, requests = build_workload(experiment).table, sim.run(experiment).requests
    step_s, outputs = case.params["D"], table["output_tokens"].to_numpy()
    log = batches(table["arrival_s"], outputs, step_s, case.params["b"])
    ends = log.end_s if release == "batch_end" else log.start_s + step_s * outputs
    np.testing.assert_allclose(requests["scheduled_s"], log.start_s, rtol=0, atol=1e-9)
    np.testing.assert_allclose(requests["finish_s"], ends, rtol=0, atol=1e-9)


@holds(STATIC, "Wq E2E_hold E2E_own mean_batch utilisation")
def test_static_batches_of_geometric_outputs_have_the_oracle_means(case: Case) -> None:
    arrival_s, step_s = poisson_rows(case, 100, 6000), case.params["D"]
    outputs = np.random.default_rng(seeds(case, 2)).geometric(case.params["p"], arrival_s.shape)
    log = batches(arrival_s, outputs, step_s, case.params["b"])
    of_batches = batch_means(case.only(["Wq", "mean_batch", "utilisation"]), arrival_s, log)
    sojourns = {"E2E_hold": log.end_s - arrival_s, "E2E_own": log.start_s + step_s * outputs - arrival_s}
    of_requests = {name: steady(values).mean(axis=1) for name, values in sojourns.items()}
    found = [
        means | {name: float(of_requests[name][row]) for name in of_requests} for row, means in enumerate(of_batches)
    ]
    assert_recursion_agrees(case, found)
