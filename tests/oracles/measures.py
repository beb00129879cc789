"""What a run measured, under the oracles' names, without its beginning and its end.

Means over requests are of those that came after the first tenth and before the last fiftieth; averages over time are
between the arrivals of the first and the last of these.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from oracles.cases import Case
from oracles.experiments import experiment_of
from oracles.gates import Means

import sim
from sim.metrics.runs import durations_s
from sim.study.run import RunResult

WARM_UP, COOL_DOWN = 0.1, 0.02


def steady(values: ArrayLike) -> NDArray[np.float64]:
    """Values in order of arrival without the first 10 % (the system was empty) and the last 2 % (nobody came after)."""
    array = np.asarray(values, float)
    count = array.shape[-1]
    return array[..., int(count * WARM_UP) : count - int(count * COOL_DOWN)]


class Waits(NamedTuple):
    """What a queue's waits and sojourns say, under the oracles' names."""

    waits_s: NDArray[np.float64]
    sojourns_s: NDArray[np.float64]
    lam: float

    def means(self, names: Iterable[str]) -> Means:
        """Those of `names`."""
        return {name: float(_OF_WAITS[name](self)) for name in names}


_OF_WAITS: dict[str, Callable[[Waits], float]] = {
    "Wq": lambda of: of.waits_s.mean(),
    "E2E": lambda of: of.sojourns_s.mean(),
    "var_Wq": lambda of: of.waits_s.var(),
    "var_E2E": lambda of: of.sojourns_s.var(),
    "P_wait": lambda of: (of.waits_s > 1e-9).mean(),
    "P_wait0": lambda of: (of.waits_s <= 1e-9).mean(),
    "sigma": lambda of: (of.waits_s > 1e-9).mean(),
    "Wq_p50": lambda of: np.quantile(of.waits_s, 0.5),
    "Wq_p95": lambda of: np.quantile(of.waits_s, 0.95),
    "Wq_p99": lambda of: np.quantile(of.waits_s, 0.99),
    "E2E_p99": lambda of: np.quantile(of.sojourns_s, 0.99),
    "Lq": lambda of: of.lam * of.waits_s.mean(),
    "L": lambda of: of.lam * of.sojourns_s.mean(),
}


# ---- of runs of the program -----------------------------------------------------------------------------------------


class Steady(NamedTuple):
    """The steady part of a run: its requests, its iterations, and from when to when it lasts."""

    requests: pd.DataFrame
    iterations: pd.DataFrame
    everybody: pd.DataFrame
    all_iterations: pd.DataFrame
    begin_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        return self.end_s - self.begin_s

    @property
    def steps(self) -> float:
        return float(self.iterations["iterations"].sum())

    @property
    def busy_s(self) -> float:
        """Of the steady part, also of iterations that began before it or ended after it."""
        start_s = self.all_iterations["start_s"].to_numpy()
        end_s = start_s + durations_s(self.all_iterations)
        return float((end_s.clip(self.begin_s, self.end_s) - start_s.clip(self.begin_s, self.end_s)).sum())

    @property
    def batch(self) -> float:
        """Mean requests in an iteration."""
        sizes = self.iterations["decode_requests"] + self.iterations["prefill_requests"]
        return float((sizes * self.iterations["iterations"]).sum() / self.steps)

    @property
    def present(self) -> float:
        """Time average of the requests in the system."""
        arrival_s, finish_s = (
            self.everybody[name].clip(self.begin_s, self.end_s) for name in ("arrival_s", "finish_s")
        )
        return float((finish_s - arrival_s).sum() / self.seconds)

    @property
    def busy_runs(self) -> float:
        """How often the engine began to work after having been idle."""
        start_s = self.iterations["start_s"].to_numpy()
        ends_s = start_s + durations_s(self.iterations)
        return float((start_s[1:] > ends_s[:-1] + 1e-9).sum())


def steady_part(result: RunResult) -> Steady:
    everybody = result.requests
    count = len(everybody)
    requests = everybody.iloc[int(count * WARM_UP) : count - int(count * COOL_DOWN)]
    begin_s, end_s = (float(requests["arrival_s"].iloc[place]) for place in (0, -1))
    start_s = result.iterations["start_s"]
    iterations = result.iterations[(start_s >= begin_s) & (start_s < end_s)]
    return Steady(requests, iterations, everybody, result.iterations, begin_s, end_s)


_OF_RUNS: dict[str, Callable[[Steady], float]] = {
    "wait_to_first_step": lambda run: run.requests["queue_s"].mean(),
    "formation_wait": lambda run: run.requests["queue_s"].mean(),
    "mean_first_step": lambda run: run.requests["prefill_s"].mean(),
    "TTFT": lambda run: run.requests["ttft_s"].mean(),
    "TPOT": lambda run: run.requests["tpot_s"].mean(),
    "N": lambda run: run.present,
    "utilisation": lambda run: run.busy_s / run.seconds,
    "busy_fraction": lambda run: run.busy_s / run.seconds,
    "mean_batch": lambda run: run.batch,
    "mean_batch_per_step": lambda run: run.batch,
    "mean_steps_per_busy_run": lambda run: run.steps / run.busy_runs,
    "steps_per_s": lambda run: run.steps / run.seconds,
    "tokens_per_s": lambda run: run.requests["output_tokens"].sum() / run.seconds,
}


def measured(result: RunResult, case: Case) -> Means:
    """The case's values as a run shows them."""
    run = steady_part(result)
    waits = Waits(run.requests["queue_s"].to_numpy(), run.requests["e2e_s"].to_numpy(), case.params.get("lam", np.nan))
    of_runs = {name: float(_OF_RUNS[name](run)) for name in case.expected if name in _OF_RUNS}
    return of_runs | waits.means(name for name in case.expected if name not in _OF_RUNS)


def seeds(case: Case, count: int) -> range:
    """Seeds of a case's own: with common ones all cases would be unlucky together."""
    first = zlib.crc32(case.id.encode()) % 10**6
    return range(first, first + count)


def measure(case: Case, num_requests: int, seed: int, **engine: object) -> Means:
    """The case's values in one run of the program."""
    return measured(sim.run(experiment_of(case, num_requests, seed, **engine)), case)


def replications(case: Case, count: int, num_requests: int, **engine: object) -> list[Means]:
    """`measure` for so many seeds."""
    return [measure(case, num_requests, seed, **engine) for seed in seeds(case, count)]


def long_replications(case: Case, count: int, num_requests: int, **engine: object) -> list[Means]:
    """The same with other seeds, on all cores."""
    return on_all_cores(partial(measure, case, num_requests, **engine), case, count)


def on_all_cores(means: Callable[[int], Means], case: Case, count: int) -> list[Means]:
    """`means` of so many seeds of the case, which are not those of shorter tests."""
    first = seeds(case, 1)[0] + 10**6
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(means, range(first, first + count)))


def occupancy(requests: pd.DataFrame, begin_s: float, end_s: float) -> NDArray[np.float64]:
    """The share of the time in which 0, 1, 2 … requests were in the system."""
    times_s = np.concatenate([requests["arrival_s"], requests["finish_s"]]).clip(begin_s, end_s)
    steps = np.repeat([1, -1], len(requests))
    order = np.lexsort((-steps, times_s))
    there = np.cumsum(steps[order])[:-1]
    lasted_s = np.diff(times_s[order])
    before_s = times_s[order[0]] - begin_s
    shares = np.bincount(there, weights=lasted_s)
    shares[0] += before_s + end_s - times_s[order[-1]]
    return shares / (end_s - begin_s)
