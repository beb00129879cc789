"""The capacity by brute force: every load of a grid, many replications each, nothing clever.

It shares no code with the search: it runs the program, cuts off a tenth at the beginning and a twentieth at the end,
takes numpy's quantile, averages over replications and joins the grid by straight lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from itertools import pairwise
from typing import NamedTuple

import numpy as np

import sim
from sim.specs.experiment import Experiment
from sim.specs.workload import ClosedLoop

ELSEWHERE = 50_000
"""Seeds that no search uses."""


class Grid(NamedTuple):
    """By load and limit: the mean over replications of metric over limit, and its standard error."""

    loads: tuple[float, ...]
    means: np.ndarray
    errors: np.ndarray

    def capacity(self) -> float:
        """The first load at which a metric reaches its limit."""
        worst = self.means.max(axis=1)
        for (low, high), (below, above) in zip(pairwise(self.loads), pairwise(worst), strict=True):
            if below <= 1 < above:
                return low + (high - low) * (1 - below) / (above - below)
        raise AssertionError(f"no crossing on the grid: {dict(zip(self.loads, worst, strict=True))}")


def brute_force(
    experiment: Experiment,
    limits: Mapping[str, float],
    loads: Sequence[float],
    requests: int,
    replications: int = 50,
    pool: Executor | None = None,
    attainment: float | None = None,
) -> Grid:
    jobs = [
        (_at(experiment, load, requests, ELSEWHERE + number), dict(limits), attainment)
        for load in loads
        for number in range(replications)
    ]
    seen = np.array(list(map(_relative, jobs) if pool is None else pool.map(_relative, jobs)))
    by_load = seen.reshape(len(loads), replications, -1)
    return Grid(tuple(loads), by_load.mean(axis=1), by_load.std(axis=1, ddof=1) / replications**0.5)


def _at(experiment: Experiment, load: float, requests: int, seed: int) -> Experiment:
    workload = experiment.workload
    key = {"users": int(load)} if isinstance(workload.arrivals, ClosedLoop) else {"rate": float(load)}
    changed = workload.model_copy(
        update={"arrivals": workload.arrivals.model_copy(update=key), "num_requests": requests}
    )
    return experiment.model_copy(update={"workload": changed, "seed": seed})


def _relative(job: tuple[Experiment, dict[str, float], float | None]) -> list[float]:
    """Each metric over its limit; with an attainment the share of requests beyond a limit over what is allowed."""
    experiment, limits, attainment = job
    table = sim.run(experiment).requests.sort_values("arrival_s", kind="stable")
    middle = table.iloc[len(table) // 10 : len(table) - len(table) // 20]
    if attainment is not None:
        missed = np.zeros(len(middle), bool)
        for name, limit in limits.items():
            missed |= (middle[f"{name.split('_')[-1]}_s"] > limit).to_numpy()
        return [float(missed.mean()) / (1 - attainment)]
    found = []
    for name, limit in limits.items():
        statistic, metric = name.split("_")
        values = middle[f"{metric}_s"].dropna().to_numpy()
        value = values.mean() if statistic == "mean" else np.quantile(values, float(statistic[1:]) / 100)
        found.append(float(value) / limit)
    return found
