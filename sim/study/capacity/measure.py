"""One run at one load, and what a search keeps of it: its middle part, start-up and running dry left out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sim.errors import InputError
from sim.metrics.latency import measured
from sim.metrics.runs import FloatArray
from sim.specs.experiment import Experiment
from sim.specs.workload import ClosedLoop
from sim.study.capacity.slo import ATTAINMENT, Slo
from sim.study.run import RunResult, run

START_UP_SHARE, RUNNING_DRY_SHARE = 0.1, 0.05
"""Of the requests, by arrival: left out while the engine fills, and at the end, where nobody arrives behind them."""
MEASURED_SHARE = 1 - START_UP_SHARE - RUNNING_DRY_SHARE
BEYOND_TAIL, LEAST_REQUESTS = 100, 4000
"""A run measures so many requests beyond the percentile, and so many at least."""
SHORTEST_S = 1e-9
PARTS = ("queue", "prefill", "decode")
"""What the end-to-end time is made of; TTFT of the first two."""
DRAWN = ("mean_e2e", "p50_ttft", "p99_ttft", "p50_tpot", "p99_tpot", "p50_e2e", "p99_e2e")


@dataclass(frozen=True)
class Job:
    """A run to be measured against an SLO, at `load`; `replication` tells apart those at the same load."""

    experiment: Experiment
    load: float
    replication: int
    slo: Slo


@dataclass(frozen=True)
class Measurement:
    """What was seen in the middle part of a run of `requests`.

    `values` are those of the SLO's names. `served` is the load that was answered, `overall` that of the whole run from
    its first arrival to its last answer, `growth` the share of arrivals by which the number in the system grew,
    `stay_requests` how many come while one request (or conversation) stays: what happens after a few times as many no
    longer depends on how it began. `slow` has for each name the mean seconds that the requests which matter to it (the
    slowest tail, all for a mean) spend by PARTS, `preempted` the share of them that were. `facts` are what curves show.
    """

    load: float
    replication: int
    requests: int
    measured: int
    values: tuple[float, ...]
    served: float
    overall: float
    growth: float
    stay_requests: float
    slow: Mapping[str, tuple[float, ...]]
    preempted: Mapping[str, float]
    facts: Mapping[str, float]


def window_of(requests: int) -> slice:
    """Those in the middle, of so many in order of arrival."""
    begin = math.floor(START_UP_SHARE * requests)
    return slice(begin, max(requests - math.floor(RUNNING_DRY_SHARE * requests), begin + 1))


def requests_for(measured: int) -> int:
    """How many requests a run needs for so many of them to be measured."""
    return math.ceil(measured / MEASURED_SHARE)


def least_requests(tail: float) -> int:
    """Requests that a run must measure for a statistic with such a tail."""
    return max(LEAST_REQUESTS, math.ceil(round(BEYOND_TAIL / tail, 6)))


def measure(job: Job) -> Measurement:
    """Run and measure. Raises KeyboardInterrupt where Ctrl-C ended the run."""
    try:
        result = run(job.experiment)
    except InputError as error:
        raise InputError(f"{error} (at a load of {job.load:g})") from None
    if result.summary["sim"]["interrupted"]:
        raise KeyboardInterrupt
    return measurement_of(result, job)


def measurement_of(result: RunResult, job: Job) -> Measurement:
    """What a finished run says of its load."""
    by_arrival = result.requests.sort_values("arrival_s", kind="stable")
    middle = by_arrival.iloc[window_of(len(by_arrival))]
    begin_s, end_s = float(middle["arrival_s"].iloc[0]), float(middle["arrival_s"].iloc[-1])
    wants_gaps = any(limit.metric == "itl" for limit in job.slo.limits)
    gaps = next(iter(result.token_gaps.between(np.array([begin_s, end_s])))) if wants_gaps else None
    served, growth = _flow(by_arrival, len(middle), begin_s, end_s)
    slow = {name: slowest(middle, job.slo, name) for name in job.slo.names}
    per_load = _requests_per_unit(by_arrival, result.experiment)
    return Measurement(
        load=job.load,
        replication=job.replication,
        requests=len(by_arrival),
        measured=len(middle),
        values=job.slo.values(middle, gaps),
        served=served / per_load,
        overall=len(by_arrival) / _span_s(by_arrival) / per_load,
        growth=growth,
        stay_requests=_stay_requests(by_arrival, result.experiment),
        slow={name: tuple(float(part[f"{one}_s"].mean()) for one in PARTS) for name, part in slow.items()},
        preempted={name: float((part["preemptions"] > 0).mean()) for name, part in slow.items()},
        facts={"output_tokens_per_s": served * float(middle["output_tokens"].mean()), **_facts(middle, result)},
    )


def slowest(middle: pd.DataFrame, slo: Slo, name: str) -> pd.DataFrame:
    """The requests that decide whether a limit holds: twice the tail beyond its statistic, all for a mean."""
    if name == ATTAINMENT:
        missing = middle[slo.misses(middle)]
        return missing if len(missing) else middle
    limit = next(limit for limit in slo.on_statistics if limit.name == name)
    metric = "max_itl" if limit.metric == "itl" else limit.metric
    if limit.tail > 0.25 or middle[f"{metric}_s"].isna().all():
        return middle
    return middle[middle[f"{metric}_s"] >= middle[f"{metric}_s"].quantile(1 - 2 * limit.tail)]


def _flow(by_arrival: pd.DataFrame, arrived: int, begin_s: float, end_s: float) -> tuple[float, float]:
    """Requests answered per second between two moments, and the share of the arrivals that were not."""
    finish_s = by_arrival["finish_s"].to_numpy()
    if end_s <= begin_s:
        return len(by_arrival) / _span_s(by_arrival), 1.0
    answered = int(((finish_s > begin_s) & (finish_s <= end_s)).sum())
    return answered / (end_s - begin_s), (arrived - answered) / arrived


def _span_s(by_arrival: pd.DataFrame) -> float:
    """From the first arrival to the last answer."""
    return max(float(by_arrival["finish_s"].max() - by_arrival["arrival_s"].min()), SHORTEST_S)


def _requests_per_unit(by_arrival: pd.DataFrame, experiment: Experiment) -> float:
    """How many requests come of one unit of load: the turns of a conversation."""
    if experiment.workload.conversations is None or isinstance(experiment.workload.arrivals, ClosedLoop):
        return 1.0
    return len(by_arrival) / by_arrival["session_id"].nunique()


def _stay_requests(by_arrival: pd.DataFrame, experiment: Experiment) -> float:
    """Requests that come during the stay of one, which is that of a conversation where there are any."""
    arrival_s, finish_s = by_arrival["arrival_s"], by_arrival["finish_s"]
    span_s = _span_s(by_arrival)
    arrivals, talk = experiment.workload.arrivals, experiment.workload.conversations
    if isinstance(arrivals, ClosedLoop):
        turns = len(by_arrival) / by_arrival["session_id"].nunique() if talk is not None else 1.0
        return min(arrivals.users * turns, float(len(by_arrival)))
    if talk is None:
        return float((finish_s - arrival_s).sum()) / span_s
    stays = by_arrival.groupby("session_id").agg(begin_s=("arrival_s", "min"), end_s=("finish_s", "max"))
    stay_s = float((stays["end_s"] - stays["begin_s"]).mean())
    return stay_s * len(by_arrival) / span_s


def _facts(middle: pd.DataFrame, result: RunResult) -> dict[str, float]:
    """What a curve shows beside the SLO."""
    ours = result.summary["sim"]
    kv = ours["kv_cache"]
    found = {name: _statistic(measured(middle[f"{name.split('_')[1]}_s"]), name) for name in DRAWN}
    return {
        **found,
        "mean_running": ours["batch"]["mean_running"],
        "kv_mean_used_fraction": kv["mean_used_fraction"],
        "kv_peak_used_fraction": kv["peak_used_fraction"],
        "preemptions_per_1000": 1000 * kv["preemptions"] / len(result.requests),
    }


def _statistic(values: FloatArray, name: str) -> float:
    if not values.size:
        return 0.0
    statistic = name.partition("_")[0]
    return float(values.mean() if statistic == "mean" else np.quantile(values, int(statistic[1:]) / 100))
