"""What binds at the capacity: what the slowest requests wait for there that they did not wait for when idle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from sim.metrics.runs import durations_s, spent
from sim.study.capacity.measure import PARTS, Job, Measurement, measurement_of, slowest, window_of
from sim.study.capacity.runs import Order, Runs
from sim.study.capacity.slo import ATTAINMENT
from sim.study.run import RunResult, run

RESOURCES = {
    "compute": "compute", "memory": "bandwidth", "link": "link", "host": "host overhead", "given": "step time",
    "kv blocks": "KV blocks", "preemption": "KV blocks", "seats": "slots", "batch not over": "slots",
}  # fmt: skip
"""What sets the time of a step, or keeps the head of the queue from starting, as people call it."""
STEP = "the step under way"
PACED_BY = {STEP: "prefill", "token budget": "prefill", "prefill cadence": "decode"}
"""What is waited for is the next step; so it is steps of this kind whose resource binds."""
PREEMPTED = 0.5
PARTS_OF = {"ttft": PARTS[:2], "queue": PARTS[:1], "e2e": PARTS, ATTAINMENT: PARTS}
"""What each metric's time consists of; decoding, of those not named."""
WORDS = {"queue": "queueing", "prefill": "prefill", "decode": "decoding"}

Shares = Mapping[str, float]


@dataclass(frozen=True)
class Binding:
    """What is reached first: a name of the SLO, and the resource that it comes from; `why` for people."""

    slo: str
    resource: str
    why: str


@dataclass(frozen=True)
class Explanation:
    """Of a run. `waited`: shares of the time in which the slowest requests were queued, by what kept the head of the
    queue from starting, or STEP where they only waited for the step under way. `steps`: of the steps with prefills and
    of those with decodes, shares of their time by resource."""

    waited: Shares
    steps: Mapping[str, Shares]


def explain(runs: Runs, order: Order, count: int, first: str, idle: Measurement) -> tuple[Binding, list[Measurement]]:
    """What binds in `count` runs like `order`, in which the limit `first` is reached; and their measurements."""
    jobs = [runs.job(order._replace(replication=order.replication + number)) for number in range(count)]
    at, why = zip(*runs.each(partial(_measure_and_explain, first=first), jobs), strict=True)
    return binding_of(first, idle, at, why), list(at)


def _measure_and_explain(job: Job, first: str) -> tuple[Measurement, Explanation]:
    """One run. Raises KeyboardInterrupt where Ctrl-C ended it."""
    result = run(job.experiment)
    if result.summary["sim"]["interrupted"]:
        raise KeyboardInterrupt
    by_arrival = result.requests.sort_values("arrival_s", kind="stable")
    middle = by_arrival.iloc[window_of(len(by_arrival))]
    return measurement_of(result, job), explanation_of(result, slowest(middle, job.slo, first))


def explanation_of(result: RunResult, slow: pd.DataFrame) -> Explanation:
    """What explains a run and its slowest requests."""
    columns = {str(name): result.iterations[name].to_numpy() for name in result.iterations if name != "blocked_by"}
    steps = {part: _step_shares(result, columns, f"{part}_requests") for part in PARTS[1:]}
    return Explanation(_waited(result, columns, slow), steps)


def _step_shares(result: RunResult, columns: Mapping[str, Any], present: str) -> Shares:
    """Shares of the time of those iterations in which some request does this."""
    here, by_resource = columns[present] > 0, defaultdict[str, float](float)
    for parts in spent(result.experiment, {name: column[here] for name, column in columns.items()}).seconds.values():
        for resource, seconds in parts.items():
            by_resource[resource] += seconds
    return _normalised(by_resource)


def _waited(result: RunResult, columns: Mapping[str, Any], slow: pd.DataFrame) -> Shares:
    """By what the head of the queue was held up while they were queued: differences of cumulative held-up time."""
    start_s, run_s = columns["start_s"], durations_s(columns)
    blocked_by = result.iterations["blocked_by"].astype(object).to_numpy()
    moments = np.column_stack([start_s, start_s + run_s]).ravel()
    arrival_s, scheduled_s = (slow[f"{name}_s"].to_numpy() for name in ("arrival", "scheduled"))
    waited = {STEP: float((scheduled_s - arrival_s).sum())}
    for why in {why for why in blocked_by if isinstance(why, str)}:
        held_up = np.column_stack([np.zeros_like(run_s), np.where(blocked_by == why, run_s, 0.0)]).ravel().cumsum()
        seconds = float((np.interp(scheduled_s, moments, held_up) - np.interp(arrival_s, moments, held_up)).sum())
        waited[why] = seconds
        waited[STEP] -= seconds
    return _normalised(waited)


def binding_of(first: str, idle: Measurement, at: Sequence[Measurement], why: Sequence[Explanation]) -> Binding:
    """Of what grew most since the engine was idle: queueing is for what held up the queue, the rest is the steps'.

    Where most of the slowest requests were preempted, it is KV blocks.
    """
    metric = first.partition("_")[2] or first
    part, share = _grown_most(first, PARTS_OF.get(metric, PARTS[2:]), idle, at)
    preempted = float(np.mean([one.preempted[first] for one in at]))
    if preempted > PREEMPTED and part != "prefill":
        return Binding(first, RESOURCES["kv blocks"], f"{preempted:.0%} of the slowest requests were preempted")
    grew = f"{share:.0%} of what the slowest requests take longer than when idle is {WORDS[part]}"
    waited = _mean([one.waited for one in why])
    if part != "queue" or not waited:
        return Binding(first, *_by_step(why, grew, "decode" if part == "decode" else "prefill"))
    held_up = max(waited, key=lambda name: waited[name])
    grew = f"{grew}, {waited[held_up]:.0%} of it waiting for {held_up}"
    if held_up in PACED_BY:
        return Binding(first, *_by_step(why, grew, PACED_BY[held_up]))
    return Binding(first, RESOURCES.get(held_up, held_up), grew)


def _grown_most(first: str, parts: Sequence[str], idle: Measurement, at: Sequence[Measurement]) -> tuple[str, float]:
    """The part of the time that grew most, and its share of all growth."""
    grown = np.mean([one.slow[first] for one in at], axis=0) - np.array(idle.slow[first])
    by_part = {part: max(float(grown[PARTS.index(part)]), 0.0) for part in parts}
    part, total = max(by_part, key=lambda name: by_part[name]), sum(by_part.values())
    return part, by_part[part] / total if total else 1.0


def _by_step(why: Sequence[Explanation], grew: str, part: str) -> tuple[str, str]:
    steps = _mean([one.steps[part] for one in why])
    if not steps:
        return "step time", grew
    largest = max(steps, key=lambda resource: steps[resource])
    word = RESOURCES.get(largest, largest)
    return word, f"{grew}; {steps[largest]:.0%} of the time of steps with {part}s is set by {word}"


def _normalised(parts: Mapping[str, float]) -> Shares:
    total = sum(parts.values())
    return {name: each / total for name, each in parts.items()} if total > 0 else {}


def _mean(shares: Sequence[Shares]) -> dict[str, float]:
    names = dict.fromkeys(name for one in shares for name in one)
    return {name: sum(one.get(name, 0.0) for one in shares) / len(shares) for name in names}
