"""Replications: one experiment many times, with nothing the same but what it asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError
from sim.specs.experiment import Experiment
from sim.specs.metric_names import METRIC_NAMES
from sim.study.run import RunResult, run
from sim.study.sweep import Summary

FloatArray = NDArray[np.float64]

PER_REQUEST = ("ttft", "tpot", "max_itl", "e2e", "queue")
"""Metrics that each request has one value of, so that a warm-up can be left out of them."""

RATES = ("request_throughput", "output_throughput", "request_goodput")
"""What a study may also ask of a run: numbers per second, over the whole of it."""

STUDIED = (*METRIC_NAMES, *RATES)


@dataclass(frozen=True)
class Outcome:
    """What a study keeps of a run: its summary, and the seconds of each finished request by metric, as they arrived.

    `arrival_s` is when that was. After the last arrival the system empties; where conversations begin at a rate, from
    `company_until_s` on, the beginning of the last one.
    """

    seed: int
    summary: Summary
    per_request: Mapping[str, FloatArray]
    arrival_s: FloatArray = field(default_factory=lambda: np.empty(0))
    company_until_s: float = math.inf


def known(values: FloatArray) -> FloatArray:
    """Those that are numbers."""
    return values[~np.isnan(values)]


def replications(experiment: Experiment, count: int, first: int = 0) -> list[Experiment]:
    """`count` experiments with seeds of their own, from the experiment's seed plus `first` on.

    Raises InputError where the seed changes nothing.
    """
    trace = experiment.workload.trace
    if trace is not None and not trace.jitter_s:
        raise InputError(
            "workload.trace: a recorded trace is the same in every replication, so replications tell nothing; "
            "give jitter_s, or replicate generated arrivals"
        )
    seeds = range(experiment.seed + first, experiment.seed + first + count)
    return [experiment.model_copy(update={"seed": seed}) for seed in seeds]


def outcome_of(experiment: Experiment) -> Outcome:
    """Run an experiment and keep what studies need."""
    return kept_of(run(experiment))


def kept_of(result: RunResult) -> Outcome:
    """What studies need of a run."""
    by_arrival = result.requests.sort_values("arrival_s", kind="stable")
    per_request = {metric: by_arrival[f"{metric}_s"].to_numpy(float) for metric in PER_REQUEST}
    until_s = math.inf
    if result.experiment.workload.conversations is not None and "session_id" in by_arrival:
        until_s = float(by_arrival.groupby("session_id")["arrival_s"].min().max())
    arrival_s = by_arrival["arrival_s"].to_numpy(float)
    return Outcome(result.experiment.seed, result.summary, per_request, arrival_s, until_s)
