"""One run at one load, and what a search keeps of it: its middle part, start-up and running dry left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from sim.errors import InputError
from sim.metrics.latency import measured
from sim.metrics.runs import FloatArray
from sim.specs.experiment import Experiment
from sim.specs.workload import ClosedLoop
from sim.stats.sections import tail_shares
from sim.study.capacity.servers import Servers
from sim.study.capacity.slo import ATTAINMENT, EACH, Slo
from sim.study.capacity.window import window_of
from sim.study.run import RunResult, run

SECTIONS = 20
SHORTEST_S = 1e-9
PARTS = ("queue", "prefill", "decode")
"""What the end-to-end time is made of; TTFT of the first two."""
DRAWN = ("mean_e2e", "p50_ttft", "p99_ttft", "p50_tpot", "p99_tpot", "p50_e2e", "p99_e2e")


@dataclass(frozen=True)
class Job:
    """A run to be measured against an SLO, at `load`; `replication` tells apart those at the same load.

    `servers` see the same requests, if there are any.
    """

    experiment: Experiment
    load: float
    replication: int
    slo: Slo
    servers: Servers | None = None


class Speed(NamedTuple):
    """Seconds that a further prompt token adds to TTFT; tokens per second of answered prompts and of answers."""

    prompt_token_s: float
    prompt_tokens_per_s: float
    output_tokens_per_s: float


@dataclass(frozen=True)
class Measurement:
    """What was seen in the middle part of a run of `requests`.

    `values` are those of the SLO's names. `served` is the load that was answered, `overall` that of the whole run from
    its first arrival to its last answer, `growth` the share of arrivals by which the number in the system grew,
    `memory_requests` how many come while one request (or conversation) stays: what happens after a few times as many no
    longer depends on how it began. `correlation_time` is that of exceeding the limits, in requests. `slow` has for each
    name the mean seconds that the requests which matter to it (the slowest tail, all for a mean) spend by PARTS,
    `preempted` the share of them that were. `controls` is what the job's servers say, `speed` what servers are made of.
    `facts` are what curves show.
    """

    load: float
    replication: int
    requests: int
    measured: int
    values: tuple[float, ...]
    served: float
    overall: float
    growth: float
    memory_requests: float
    correlation_time: float
    slow: Mapping[str, tuple[float, ...]]
    preempted: Mapping[str, float]
    facts: Mapping[str, float]
    speed: Speed
    controls: tuple[float, ...]


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
    speed = _speed(by_arrival, middle, begin_s, end_s)
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
        memory_requests=_memory_requests(by_arrival, result.experiment),
        correlation_time=_correlation_time(middle, job.slo),
        slow={name: tuple(float(part[f"{one}_s"].mean()) for one in PARTS) for name, part in slow.items()},
        preempted={name: float((part["preemptions"] > 0).mean()) for name, part in slow.items()},
        facts=_facts(middle, result, speed),
        speed=speed,
        controls=() if job.servers is None else job.servers.see(*_columns(by_arrival)),
    )


def _columns(by_arrival: pd.DataFrame) -> tuple[FloatArray, FloatArray, FloatArray]:
    arrivals, prompts, outputs = (
        by_arrival[name].to_numpy(float) for name in ("arrival_s", "prompt_tokens", "output_tokens")
    )
    return arrivals, prompts, outputs


def _speed(by_arrival: pd.DataFrame, middle: pd.DataFrame, begin_s: float, end_s: float) -> Speed:
    prompts, ttft_s = middle["prompt_tokens"].to_numpy(float), middle["ttft_s"].to_numpy(float)
    varies = float(prompts.var())
    slope = float(((prompts - prompts.mean()) * ttft_s).mean()) / varies if varies else float((ttft_s / prompts).mean())
    answered = by_arrival[(by_arrival["finish_s"] > begin_s) & (by_arrival["finish_s"] <= end_s)]
    per_s = answered[["prompt_tokens", "output_tokens"]].sum() / max(end_s - begin_s, SHORTEST_S)
    return Speed(max(slope, 0.0), float(per_s["prompt_tokens"]), float(per_s["output_tokens"]))


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


def _memory_requests(by_arrival: pd.DataFrame, experiment: Experiment) -> float:
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


def _correlation_time(middle: pd.DataFrame, slo: Slo) -> float:
    """Of exceeding a limit that has a tail, the longest over all of them: one observation in so many is independent."""
    times = [1.0]
    for limit in slo.limits:
        if limit.metric == "itl" or limit.tail > 0.25 or limit.statistic == EACH:
            continue
        values = measured(middle[f"{limit.metric}_s"])
        if len(values) >= 2 * SECTIONS and values.max() > values.min():
            times.append(tail_shares(np.array_split(values, SECTIONS), limit.of(values))[1])
    if slo.attainment is not None:
        missed = slo.misses(middle).to_numpy(float)
        if missed.any() and not missed.all():
            times.append(tail_shares(np.array_split(missed, SECTIONS), 0.5)[1])
    return max(times)


def _facts(middle: pd.DataFrame, result: RunResult, speed: Speed) -> dict[str, float]:
    """What a curve shows beside the SLO."""
    kv, ours = result.summary["sim"]["kv_cache"], result.summary["sim"]
    found = {name: _statistic(measured(middle[f"{name.split('_')[1]}_s"]), name) for name in DRAWN}
    return {
        **found,
        "output_tokens_per_s": speed.output_tokens_per_s,
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
