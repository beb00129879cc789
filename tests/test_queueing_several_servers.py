"""Several servers that know nothing of each other: chosen by lot or by turns, or one after the other.

Where nobody looks at the servers before sending a request to one, each is a run of its own, and so is the second of two
in a row: the first one's answers are its arrivals. What needs a router that does look is not expressible yet
(`NOT_EXPRESSIBLE`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from oracles.cases import Case, cases_of, holds
from oracles.experiments import build, constant, exponential, per_request, single_server
from oracles.gates import Means, assert_recursion_agrees
from oracles.measures import seeds, steady
from oracles.recursions import lindley_waits

import sim
from sim.metrics.tables import requests_table
from sim.serving.simulation import simulate
from sim.workload.source import build_workload
from sim.workload.workload import Workload

Floats = np.ndarray

EXPONENTIAL_SERVER = single_server(1.0, per_request(exponential(1.0)))
"""Its rates do not matter where requests bring their arrivals and services."""


def of_requests(settings: dict, requests: pd.DataFrame) -> pd.DataFrame:
    """The requests table of a server to whom these requests come."""
    experiment, workload = build(settings, len(requests), seed=0), Workload(requests.reset_index(drop=True))
    return requests_table(simulate(experiment, workload), workload)


def exponential_requests(lam: float, count: int, seed: int, mean_s: float, second_mean_s: float = 1.0) -> pd.DataFrame:
    """Poisson arrivals with exponential services, `service_s`, and `second_s` at a second server."""
    random = np.random.default_rng(seed)
    columns = {"arrival_s": np.cumsum(random.exponential(1 / lam, count)), "prompt_tokens": 1, "output_tokens": 1}
    services = {"service_s": random.exponential(mean_s, count), "second_s": random.exponential(second_mean_s, count)}
    return pd.DataFrame(columns | services)


def split(requests: pd.DataFrame, count: int, how: str, seed: int) -> list[pd.DataFrame]:
    """Who comes to which of so many servers, by lot or by turns, whatever the servers do meanwhile."""
    by_lot = np.random.default_rng(seed + 1_000_000).integers(count, size=len(requests))
    chosen = by_lot if how == "random" else np.arange(len(requests)) % count
    return [requests[chosen == server] for server in range(count)]


@pytest.mark.parametrize("how", ["random", "round_robin"])
@pytest.mark.parametrize("case", cases_of("random-split"), ids=str)
def test_every_wait_at_servers_chosen_blindly_follows_lindley(case: Case, how: str) -> None:
    requests = exponential_requests(case.params["lam"], 4000, 1, 1 / case.params["mu"])
    for own in split(requests, case.params["c"], how, 1):
        waits = of_requests(EXPONENTIAL_SERVER, own)["queue_s"]
        np.testing.assert_allclose(waits, lindley_waits(own["arrival_s"], own["service_s"]), rtol=0, atol=1e-9)


def split_means(case: Case, seed: int) -> Means:
    """The case's means at servers chosen by lot and by turns."""
    mu = case.params["mu"]
    requests = exponential_requests(case.params["lam"], 200_000, seed, 1 / mu)
    means = {}
    for how in ("random", "round_robin"):
        servers = split(requests, case.params["c"], how, seed)
        waits = np.concatenate([steady(lindley_waits(own["arrival_s"], own["service_s"])) for own in servers])
        means |= {f"Wq_{how}": waits.mean(), f"P_wait_{how}": (waits > 1e-9).mean()}
    means |= {"rr_sigma": means["P_wait_round_robin"], "E2E_random": means["Wq_random"] + 1 / mu}
    return {name: means[name] for name in case.expected}


@holds("random-split", "Wq_random rr_sigma Wq_round_robin", deep=[2, 3])
def test_servers_chosen_blindly_have_the_oracle_means(case: Case) -> None:
    assert_recursion_agrees(case, [split_means(case, seed) for seed in seeds(case, 30)])


@holds("JSQ-2-replicas", "E2E_random", deep=[2, 3])
def test_two_servers_chosen_by_lot_have_the_oracle_means(case: Case) -> None:
    assert_recursion_agrees(case, [split_means(case, seed) for seed in seeds(case, 30)])


@holds("power-of-two-choices", "random", deep=[2, 3])
def test_many_servers_chosen_by_lot_are_single_servers(case: Case) -> None:
    """Each of them sees Poisson arrivals of its own."""

    def means(seed: int) -> Means:
        requests = exponential_requests(case.params["rho"], 200_000, seed, 1.0)
        waits = lindley_waits(requests["arrival_s"], requests["service_s"])
        return {"random": steady(waits + requests["service_s"]).mean()}

    assert_recursion_agrees(case, [means(seed) for seed in seeds(case, 30 if case.params["rho"] < 0.95 else 90)])


@pytest.mark.parametrize("case", cases_of("tandem-Jackson"), ids=str)
def test_every_request_at_servers_in_a_row_follows_lindley_twice(case: Case) -> None:
    """The first server's answers are the second one's arrivals."""
    requests = two_stages(case, 4000, 1)
    first = of_requests(EXPONENTIAL_SERVER, requests)
    second = of_requests(EXPONENTIAL_SERVER, first.assign(arrival_s=first["finish_s"], service_s=requests["second_s"]))
    done_s, gone_s = in_a_row(requests["arrival_s"], requests["service_s"], requests["second_s"])
    np.testing.assert_allclose(first["finish_s"], done_s, rtol=0, atol=1e-9)
    np.testing.assert_allclose(second["finish_s"], gone_s, rtol=0, atol=1e-9)


def two_stages(case: Case, count: int, seed: int) -> pd.DataFrame:
    return exponential_requests(case.params["lam"], count, seed, 1 / case.params["mu1"], 1 / case.params["mu2"])


def in_a_row(arrival_s: Floats, first_s: Floats, second_s: Floats) -> tuple[Floats, Floats]:
    """When requests leave the first of two servers, and the second."""
    done_s = arrival_s + lindley_waits(arrival_s, first_s) + first_s
    return done_s, done_s + lindley_waits(done_s, second_s) + second_s


@holds("tandem-Jackson", "E2E TTFT")
def test_servers_in_a_row_have_the_oracle_means(case: Case) -> None:
    def means(seed: int) -> Means:
        requests = two_stages(case, 200_000, seed)
        arrival_s = requests["arrival_s"]
        done_s, gone_s = in_a_row(arrival_s, requests["service_s"], requests["second_s"])
        return {"TTFT": steady(done_s - arrival_s).mean(), "E2E": steady(gone_s - arrival_s).mean()}

    assert_recursion_agrees(case, [means(seed) for seed in seeds(case, 30)])


# ---- a prefill instance ---------------------------------------------------------------------------------------------


def prefill_ways(case: Case) -> dict[str, tuple[float, float]]:
    """Seconds of a prompt in a first and a second stage, by way of dividing it among GPUs."""
    whole_s = case.params["D"]
    ways = {"single": (whole_s, 0.0), "inter_op_2": (whole_s / 2, whole_s / 2)}
    return ways | {f"intra_op_K{factor}": (whole_s / factor, 0.0) for factor in (1.5, 1.8)}


@pytest.mark.parametrize("case", cases_of("prefill-only-TTFT-DistServe"), ids=str)
def test_every_prompt_of_a_prefill_instance_follows_lindley(case: Case) -> None:
    """A pipeline of two is two engines in a row, the second fed by the first."""
    for first_s, second_s in prefill_ways(case).values():
        experiment = build(single_server(case.params["R"], constant(first_s)), 3000, 1)
        prompts = sim.run(experiment).requests
        done_s, gone_s = in_a_row(prompts["arrival_s"], np.full(3000, first_s), np.full(3000, second_s))
        np.testing.assert_allclose(prompts["first_token_s"], done_s, rtol=0, atol=1e-9)
        if second_s:
            second = of_requests(single_server(1.0, constant(second_s)), prompts.assign(arrival_s=prompts["finish_s"]))
            np.testing.assert_allclose(second["first_token_s"], gone_s, rtol=0, atol=1e-9)


@holds("prefill-only-TTFT-DistServe", "single inter_op_2 intra_op_K1.5 intra_op_K1.8")
def test_prefill_instances_have_the_oracle_means(case: Case) -> None:
    def means(seed: int) -> Means:
        arrival_s = build_workload(build(single_server(case.params["R"], constant(1.0)), 200_000, seed)).table[
            "arrival_s"
        ]
        gone = {
            way: in_a_row(arrival_s, *(np.full(200_000, each) for each in stages))[1] for way, stages in ways.items()
        }
        return {way: steady(gone_s - arrival_s).mean() for way, gone_s in gone.items()}

    ways = prefill_ways(case)
    assert_recursion_agrees(case, [means(seed) for seed in seeds(case, 18)])
