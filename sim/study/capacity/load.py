"""What is turned to change the load: the arrival rate, a trace's time scale, or the number of users."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from sim.errors import InputError
from sim.specs.experiment import Experiment
from sim.specs.workload import (
    AllAtOnce,
    ClosedLoop,
    DeterministicArrivals,
    DiurnalArrivals,
    GammaArrivals,
    PiecewiseArrivals,
    PoissonArrivals,
)
from sim.workload.source import build_workload

Over = Literal["rate", "users"]
OVER: tuple[Over, ...] = ("rate", "users")
MOST_USERS = 10**6
FLOOD_RATE = 1e6
"""Requests a second that no engine keeps up with: the queue is full from the beginning to the end."""


@dataclass(frozen=True)
class Dial:
    """An experiment whose load can be set: `over` the rate of its arrivals (`unit` requests/s) or its users.

    A `recording` has as many requests as it has, `own_rate` a second at a time scale of 1; `is_fixed` says that no seed
    changes anything in it.
    """

    experiment: Experiment
    over: Over
    recording: int | None = None
    own_rate: float = 0.0

    @property
    def unit(self) -> str:
        """What the load counts."""
        if self.over == "users":
            return "users"
        return "requests/s"

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers make sense."""
        return self.over == "users"

    @property
    def is_fixed(self) -> bool:
        """Whether every replication would be the same."""
        trace = self.experiment.workload.trace
        return trace is not None and not trace.jitter_s

    def fit(self, load: float) -> float:
        """The nearest load there can be: whole users, rates to four digits."""
        if self.is_whole:
            return float(min(max(round(load), 1), MOST_USERS))
        return float(f"{load:.4g}")

    def at(self, load: float, requests: int, replication: int) -> Experiment:
        """The experiment at this load, with so many requests (a recording keeps its own) and a seed of its own."""
        workload = self.experiment.workload
        changes: dict[str, Any] = {}
        if workload.trace is not None:
            changes["trace"] = workload.trace.model_copy(update={"time_scale": self.own_rate / load})
        else:
            assert workload.arrivals is not None
            setting = {"users": int(load)} if self.over == "users" else {"rate": float(load)}
            changes |= {"arrivals": workload.arrivals.model_copy(update=setting), "num_requests": requests}
        return self.experiment.model_copy(
            update={
                "workload": workload.model_copy(update=changes),
                "seed": self.experiment.seed + replication,
                "slo": {},
            }
        )


def dial_for(experiment: Experiment, over: str | None = None) -> Dial:
    """The dial of an experiment: its users if the loop is closed, else its rate. Raises InputError where neither is."""
    _check_serves_all(experiment)
    if over is not None and over not in OVER:
        raise InputError(f"over: got '{over}', must be rate or users")
    arrivals = experiment.workload.arrivals
    if isinstance(arrivals, ClosedLoop):
        if over == "rate":
            raise InputError(
                "over: rate, but workload.arrivals is a closed loop, whose users wait for answers and so have no rate "
                "of their own; search over users, or set workload.arrivals={process: poisson, rate: 1}"
            )
        return Dial(experiment, "users")
    if over == "users":
        found = "a trace" if arrivals is None else arrivals.process
        raise InputError(
            f"over: users, but the requests come from {found}, not from users; search over rate, or set "
            "workload.arrivals={process: closed_loop, users: 1}"
        )
    if experiment.workload.trace is not None:
        return _dial_of_recording(experiment)
    _check_has_a_rate(experiment)
    if experiment.workload.conversations is not None:
        raise InputError(
            "workload.conversations: where they begin at a rate, half of a run may be their last turns, at no such "
            "load; search over users, workload.arrivals={process: closed_loop, users: 1}"
        )
    return Dial(experiment, "rate")


def _check_serves_all(experiment: Experiment) -> None:
    """A metric of those who were answered says nothing of a load at which others are turned away."""
    lossy = {
        "engine.max_concurrent_requests": experiment.engine.max_concurrent_requests,
        "workload.patience_s": experiment.workload.patience_s,
    }
    for key, value in lossy.items():
        if value is not None:
            raise InputError(
                f"{key}: requests that are lost have no latency, so the more are lost the better an SLO is met; drop "
                "it to learn what load is carried, and compare runs with it by their good_request_fraction"
            )


def _check_has_a_rate(experiment: Experiment) -> None:
    match experiment.workload.arrivals:
        case PoissonArrivals() | GammaArrivals() | DeterministicArrivals():
            return
        case AllAtOnce():
            why = "all_at_once has no rate"
        case PiecewiseArrivals() | DiurnalArrivals() as varying:
            why = f"{varying.process} has a rate that varies in time, so there is no one rate to search for"
        case _:
            why = "it has no rate"
    raise InputError(f"workload.arrivals: {why}; set workload.arrivals={{process: poisson, rate: 1}}")


def _dial_of_recording(experiment: Experiment) -> Dial:
    """Of a trace, whose gaps are stretched."""
    trace = experiment.workload.trace
    assert trace is not None
    as_recorded = experiment.workload.model_copy(update={"trace": trace.model_copy(update={"time_scale": 1.0})})
    table = build_workload(experiment.model_copy(update={"workload": as_recorded})).table
    span_s = float(table["arrival_s"].max() - table["arrival_s"].min())
    if not span_s > 0 or not math.isfinite(span_s):
        raise InputError(
            f"workload.trace: all requests of {trace.path} arrive in one instant, so stretching its gaps changes no "
            "rate; give jitter_s, or generated arrivals"
        )
    return Dial(experiment, "rate", len(table), (len(table) - 1) / span_s)
