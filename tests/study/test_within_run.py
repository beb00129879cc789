"""Intervals from a single run: by batch means where it is long, steady and stable, else a reason."""

from __future__ import annotations

import pytest
from interrupts import interrupt_at
from small_runs import CONSTANT, run

from sim.stats.batch_means import batch_mean_interval, batch_quantile_interval
from sim.study.replicate import kept_of
from sim.study.start_up import cool_down
from sim.study.within_run import NAMES, certainty

SERVICE = {"kind": "per_request", "service_s": {"distribution": "fixed", "value": 0.05}}
LONG = {"engine.max_num_seqs": 1, "cost": SERVICE, "workload.num_requests": 8000, "workload.arrivals.rate": 11}
"""A single server at 55 % load."""


@pytest.fixture(scope="module")
def long():
    return run(LONG)


def test_a_long_run_has_the_intervals_of_its_batches(long):
    found = certainty(long, 0.9)
    last = len(long.requests) - cool_down([kept_of(long)])
    values = long.requests.sort_values("arrival_s")["e2e_s"].to_numpy()[800:last]
    assert found.intervals["mean_e2e"] == batch_mean_interval(values, 0.9)
    assert found.intervals["p50_e2e"] == batch_quantile_interval(values, 0.5, 0.9)
    assert found.intervals["mean_e2e"].level == 0.9


def test_what_a_run_is_too_short_for_is_refused_with_what_it_takes(long):
    found = certainty(long)
    assert set(found.intervals) | set(found.refused) == set(NAMES)
    assert "P99 takes 100 observations beyond it in each of 20 parts" in found.refused["p99_e2e"]
    assert "needs about 200,000 observations" in found.refused["p99_e2e"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"workload.num_requests": 60}, "the stability of the queue is unknown: 60 requests are too few to tell"),
        (
            LONG | {"workload.arrivals": {"process": "poisson", "rate": 40}, "workload.num_requests": 900},
            "the stability of the queue is unstable: the number in the system grows by",
        ),
        (CONSTANT | {"workload.arrivals": {"process": "all_at_once"}}, "all requests arrive at once"),
        (
            CONSTANT | {"workload.arrivals": {"process": "piecewise", "rates": [{"until_s": 9, "rate": 8}]}},
            "the arrival rate changes over time",
        ),
    ],
)
def test_a_run_without_a_steady_state_has_none(changes, reason):
    found = certainty(run(changes))
    assert not found.intervals
    assert all(why.startswith(reason) for why in found.refused.values())


def test_an_interrupted_run_has_none(monkeypatch):
    interrupt_at(monkeypatch, 20.0)
    found = certainty(run(LONG))
    assert (found.intervals, set(found.refused.values())) == ({}, {"the run was interrupted"})
