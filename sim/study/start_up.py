"""The two ends of replications: how many requests of each are left out of its latencies, and why so many.

A run begins with an empty engine. Towards its end, requests whose answers outlast the arrivals have less and less
company, and are quicker than any would be in traffic that goes on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.specs.workload import AllAtOnce, DiurnalArrivals, PiecewiseArrivals, WorkloadSpec
from sim.stats.interval import Refused
from sim.stats.warm_up import LEAST_LENGTH, LEAST_REPLICATIONS, mser5
from sim.study.replicate import FloatArray, Outcome

SHARE = 10
"""Where MSER-5 has too little to look at, one request of so many is left out."""


@dataclass(frozen=True)
class StartUp:
    """The first `requests` of every replication are start-up, its last `cool_down` ones lack company.

    `how` the first were found is for people. `endless` is the reason why no steady state can be told: start-up and
    cool-down leave too little of the runs. Traffic that `begins_and_ends` has neither.
    """

    requests: int
    how: str
    endless: str | None = None
    cool_down: int = 0
    begins_and_ends: bool = False


def start_up(workload: WorkloadSpec, outcomes: Sequence[Outcome]) -> StartUp:
    """By MSER-5 on the E2E times, averaged over replications; nothing where the traffic itself begins and ends."""
    why = changes_over_time(workload)
    if why is not None:
        return StartUp(0, why, begins_and_ends=True)
    shortest, last = min(len(outcome.per_request["e2e"]) for outcome in outcomes), cool_down(outcomes)
    how = f"MSER-5 on the average of {len(outcomes)} replications"
    if len(outcomes) < LEAST_REPLICATIONS or shortest - last < LEAST_LENGTH:
        first: int | Refused = shortest // SHARE
        how = f"a tenth, for MSER-5 takes {LEAST_REPLICATIONS} replications of {LEAST_LENGTH} requests"
    else:
        first = mser5([outcome.per_request["e2e"][: shortest - last] for outcome in outcomes])
    if isinstance(first, Refused):
        return StartUp(0, how, f"{first}; raise workload.num_requests, or lower the load")
    if first + last > shortest / 2:
        return StartUp(0, how, _too_short(first, last, shortest))
    return StartUp(first, how, None, last)


def common_start_up(workloads: Sequence[WorkloadSpec], outcomes: Sequence[Sequence[Outcome]]) -> StartUp:
    """The longest start-up and cool-down that any of several systems has.

    Nothing where one has no steady state in between.
    """
    begun = [start_up(workload, found) for workload, found in zip(workloads, outcomes, strict=True)]
    endless = next((one for one in begun if one.endless), None)
    if endless:
        return endless
    first, last = max(begun, key=lambda one: one.requests), max(one.cool_down for one in begun)
    shortest = min(len(outcome.arrival_s) for found in outcomes for outcome in found)
    if first.requests + last > shortest / 2:
        why = (
            f"the start-up of one, {first.requests:,} requests, and the end of another, {last:,}, leave less than half"
        )
        return StartUp(0, first.how, why)
    return StartUp(first.requests, first.how, None, last)


def cool_down(outcomes: Sequence[Outcome]) -> int:
    """How many requests arrive from the first one on that has no answer when the system begins to empty; the mean."""
    return math.ceil(np.mean([_unanswered_on(outcome) for outcome in outcomes]))


def _unanswered_on(outcome: Outcome) -> int:
    if not len(outcome.arrival_s):
        return 0
    finish_s = outcome.arrival_s + outcome.per_request["e2e"]
    until_s = min(outcome.company_until_s, outcome.arrival_s[-1])
    return len(finish_s) - int(np.argmax(finish_s > until_s))


def _too_short(first: int, last: int, requests: int) -> str:
    return (
        f"of {requests:,} requests the first {first:,} are start-up and the last {last:,} outlast the arrivals, which "
        f"leaves less than half; needs about {3 * (first + last):,} requests; raise workload.num_requests"
    )


def average_e2e_s(outcomes: Sequence[Outcome]) -> FloatArray:
    """The mean over replications of the first, second, third … request's E2E time, as far as all have one."""
    shortest = min(len(outcome.per_request["e2e"]) for outcome in outcomes)
    averages: FloatArray = np.mean([outcome.per_request["e2e"][:shortest] for outcome in outcomes], axis=0)
    return averages


def changes_over_time(workload: WorkloadSpec) -> str | None:
    """Why there is no steady state to speak of, only this traffic from its beginning to its end; else None."""
    if workload.trace is not None:
        return "a recorded trace has its own beginning and end"
    match workload.arrivals:
        case AllAtOnce():
            return "all requests arrive at once"
        case PiecewiseArrivals() | DiurnalArrivals():
            return "the arrival rate changes over time"
    return None
