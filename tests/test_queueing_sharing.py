"""Seats for all: servers without end (M/G/∞), a server that is shared (processor sharing), and users in a closed loop.

Where a step's cost grows with the batch, requests share what the engine can do. The formulas are limits of ever shorter
steps: at a hundred tokens a request they are off by a percent or so, and `finer` experiments, of the same services in
more and shorter steps, come as close as anybody wants.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
from oracles.cases import Case, all_cases, cases_of, holds
from oracles.chain_boundaries import continuous_batching
from oracles.experiments import FINE, build, experiment_of, fixed, geometric, shared_server
from oracles.gates import Means, assert_agrees, assert_close, assert_equals
from oracles.measures import occupancy, replications, seeds, steady_part
from oracles.table import FORMULA

import sim
from sim.study.run import RunResult

PS, AFFINE, CLOSED, ZERO = "M/G/1-PS", "affine-step-PS", "closed-affine-PS", "closed-zero-think"
REPAIR = "closed-machine-repair-M/M/1//N"


def finer(case: Case, num_requests: int, seed: int, law: str = "fixed") -> sim.Experiment:
    """The services of a processor-sharing case in FINE steps each."""
    p = case.params
    tokens = p.get("k", 1)
    alpha, beta = p.get("alpha", 0.0) * tokens / FINE, p.get("beta", p.get("S")) * tokens / FINE
    output = fixed(FINE) if law == "fixed" else geometric(FINE)
    return build(shared_server(p["lam"], output, alpha, beta), num_requests, seed)


def present_means(case: Case, experiment_for: Any, num_requests: int, seed: int) -> Means:
    """The case's values of the number in the system, by the share of the time that it was each, and of sojourns."""
    result = sim.run(experiment_for(case, num_requests, seed))
    run = steady_part(result)
    shares = occupancy(result.requests, run.begin_s, run.end_s)
    numbers = np.arange(len(shares))
    steps_a_token = run.requests["output_tokens"].mean() / case.params.get("k", 1)
    found = {
        "N": shares @ numbers,
        "var_N": shares @ (numbers - case.expected.get("N", 0.0)) ** 2,  # a run's own mean would make it too small
        "P0": shares[0],
        "E2E": run.requests["e2e_s"].mean(),
        "TPOT": run.requests["tpot_s"].mean() * steps_a_token,
        "slowdown": run.requests["e2e_s"].mean() / case.params.get("S", 1.0),
    }
    return {name: float(found[name]) for name in case.expected}


def long_present_means(case: Case, experiment_for: Any, count: int, num_requests: int) -> list[Means]:
    with ProcessPoolExecutor() as pool:
        return list(pool.map(partial(present_means, case, experiment_for, num_requests), seeds(case, count)))


# ---- servers without end --------------------------------------------------------------------------------------------


@holds("M/G/inf", "E2E")
def test_services_without_end_do_not_wait(case: Case) -> None:
    assert_agrees(case, replications(case, 12, 3000))


@holds("M/G/inf", "N var_N P0 E2E", deep=True)
def test_the_number_in_service_is_poisson(case: Case) -> None:
    count = 400 if "P0" in case.expected and case.params["a"] == 5.0 else 120
    assert_agrees(case, long_present_means(case, experiment_of, count, 20_000))


@holds("M/G/inf", "N_p99", deep=True)
def test_the_number_in_service_has_the_percentile_of_poisson(case: Case) -> None:
    """Of all replications together: the least number that is exceeded in at most a hundredth of the time."""
    beyond = {case.expected["N_p99"] + more: [] for more in (-1, 0)}
    for seed in seeds(case, 40):
        result = sim.run(experiment_of(case, 20_000, seed))
        run = steady_part(result)
        up_to = np.cumsum(occupancy(result.requests, run.begin_s, run.end_s))
        for number, found in beyond.items():
            found.append(1 - up_to[min(number, len(up_to) - 1)])
    least, one_less = beyond[case.expected["N_p99"]], beyond[case.expected["N_p99"] - 1]
    assert np.mean(least) <= 0.01 < np.mean(one_less)


# ---- a shared server ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [*cases_of(PS), *cases_of(AFFINE)], ids=str)
def test_the_exact_chain_of_geometric_answers_is_near_processor_sharing(case: Case) -> None:
    """At a hundred tokens a request, but for the wait of half a step; ten times finer, ten times nearer."""
    p = case.params
    for factor, tolerance in ((1, 0.02), (10, 0.002)):
        tokens = p.get("k", 100) * factor
        alpha, beta = p.get("alpha", 0.0) / factor, p.get("beta", p.get("S", 0.0) / 100) / factor
        chain = continuous_batching(p["lam"], alpha, beta, 1 / tokens, 350, 350)
        assert chain["beyond"] < 1e-9
        assert chain["E2E"] == pytest.approx(case.expected["E2E"], rel=tolerance)


@holds(AFFINE, "E2E TPOT", only=[1])
def test_a_step_that_grows_with_its_batch_is_a_shared_server(case: Case) -> None:
    assert_close(case, replications(case, 12, 2000), tolerance=0.02)


@holds(AFFINE, "E2E TPOT N", deep=True)
def test_a_step_that_grows_with_its_batch_is_a_shared_server_at_full_length(case: Case) -> None:
    assert_close(case, long_present_means(case, experiment_of, *LONG[case.params["rho"]]), tolerance=0.02)


@holds(PS, "E2E N slowdown", deep=True)
def test_a_step_proportional_to_its_batch_is_processor_sharing(case: Case) -> None:
    assert_close(case, long_present_means(case, experiment_of, *LONG[case.params["rho"]]), tolerance=0.03)


LONG = {0.4: (60, 40_000), 0.5: (40, 40_000), 0.7: (80, 40_000), 0.8: (100, 40_000), 0.9: (100, 80_000)}
"""Replications and requests in each, by load."""


@holds(PS, "E2E N slowdown", deep=True)
def test_many_short_steps_are_processor_sharing_exactly(case: Case) -> None:
    assert_agrees(case, long_present_means(case, finer, *LONG[case.params["rho"]]))


@holds(AFFINE, "E2E TPOT N var_N P0", deep=True)
def test_many_short_steps_are_a_shared_server_exactly(case: Case) -> None:
    count, num_requests = LONG[case.params["rho"]]
    times = 3 if case.params["rho"] == 0.4 else 2  # an empty system is rare there, and yet not too rare to see
    assert_agrees(case, long_present_means(case, finer, times * count, num_requests), allowed=0.03)


@holds("SRPT-SJF-M/M/1", "E2E_PS", deep=True)
def test_exponential_services_that_share_take_as_long_as_in_order(case: Case) -> None:
    p = case.params
    of_server = Case(case.id, PS, p | {"S": 1 / p["mu"]}, {"E2E": case.expected["E2E_PS"]})
    for_law = partial(finer, law="geometric")
    assert_close(of_server, long_present_means(of_server, for_law, *LONG[p["rho"]]), tolerance=0.02)


# ---- users in a closed loop -----------------------------------------------------------------------------------------


def closed_means(case: Case, num_requests: int, seed: int) -> Means:
    """Rates, responses and the rest, without the beginning and the end of the run."""
    result = sim.run(experiment_of(case, num_requests, seed))
    by_finish = result.requests.sort_values("finish_s")
    answered = by_finish.iloc[len(by_finish) // 10 : -len(by_finish) // 20]
    finish_s = answered["finish_s"].to_numpy()
    run, p = steady_part(result)._replace(begin_s=finish_s[0], end_s=finish_s[-1]), case.params
    rate, response_s = (len(answered) - 1) / (finish_s[-1] - finish_s[0]), float(answered["e2e_s"].mean())
    found = {
        "X": rate,
        "R": response_s,
        "law_N": rate * (response_s + mean_think_s(result)),
        "mean_in_service": run.present,
        "utilisation": run.busy_s / run.seconds,
        "tok_per_s": rate * p.get("k", 1),
    }
    return {name: found[name] for name in case.expected}


def mean_think_s(result: RunResult) -> float:
    return result.summary["sim"]["closed_loop"]["mean_think_s"]


@holds(REPAIR, "X R utilisation", deep=[2])
def test_users_of_one_seat_are_machines_and_a_repairman(case: Case) -> None:
    count = 40 if case.params["N"] == 10 else 24
    assert_agrees(case, [closed_means(case, 6000, seed) for seed in seeds(case, count)])


@holds(REPAIR, "law_N asymptote_X N_star")
def test_users_of_one_seat_obey_the_laws_of_operation(case: Case) -> None:
    """N = X(R + Z); and X is below the rate of the server, and below what users without waits would send."""
    p, law = case.params, case.only(["law_N"])
    assert_close(law, [closed_means(law, 6000, seed) for seed in seeds(case, 3)], tolerance=0.01, least=3)
    unloaded_s = p["Z"] + p["S"]
    bounds = {"asymptote_X": min(1 / p["S"], p["N"] / unloaded_s), "N_star": unloaded_s / p["S"]}
    assert_equals(case, bounds, by=FORMULA)
    assert all_cases()[case.id].expected["X"] < bounds["asymptote_X"]


@holds(CLOSED, "X R mean_in_service law_N")
def test_continuous_batching_is_processor_sharing_to_its_users(case: Case) -> None:
    """A fluid limit: within 1 % on throughput and 2 % on response, as the oracle's own step-level simulation is."""
    replications = [closed_means(case, 2500, seed) for seed in seeds(case, 20 if case.params["N"] < 10 else 4)]
    assert_close(case, replications, {"X": 0.01, "R": 0.02, "mean_in_service": 0.02, "law_N": 0.01}, least=4)


@holds(ZERO, "X R tok_per_s")
def test_users_who_never_think_run_in_lock_step(case: Case) -> None:
    users, tokens = case.params["N"], case.params["k"]
    result = sim.run(experiment_of(case, 5 * users, seed=0))
    np.testing.assert_allclose(result.requests["e2e_s"], case.expected["R"], rtol=1e-9)
    rates = {"X": "request_throughput", "tok_per_s": "output_throughput"}
    found = {name: result.summary[key] for name, key in rates.items()}
    assert_equals(case, found | {"R": result.requests["e2e_s"].mean()})
    assert found["X"] * tokens == pytest.approx(found["tok_per_s"], rel=1e-9)
    assert result.summary["max_concurrency"] == users
