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
from sim.study.capacity.fine import SATURATION
from sim.study.capacity.measure import PARTS, Job, Measurement, measurement_of, slowest
from sim.study.capacity.runs import Order, Runs
from sim.study.capacity.slo import ATTAINMENT
from sim.study.capacity.window import window_of
from sim.study.run import RunResult, run

STEP = "step"
RESOURCES = {
    "compute": "compute", "memory": "memory bandwidth", "link": "link", "host": "host overhead",
    "given": "step time", "kv blocks": "KV blocks", "preemption": "KV blocks",
}  # fmt: skip
"""What sets the time of a step, and what keeps the head of the queue from starting, where words differ from names."""
PREEMPTED = 0.5
PARTS_OF = {"ttft": PARTS[:2], "queue": PARTS[:1], "e2e": PARTS, ATTAINMENT: PARTS}
"""What each metric's time consists of; decoding, of those not named."""
WORDS = {"queue": "queueing", "prefill": "prefill", "decode": "decoding"}

Shares = Mapping[str, float]


@dataclass(frozen=True)
class Binding:
    """What is reached first: a name of the SLO or saturation, and the resource that it comes from; `why` for people."""

    slo: str
    resource: str
    why: str


@dataclass(frozen=True)
class Explanation:
    """Of a run. `blocked`: shares of busy time by what kept the head of the queue from starting. `waited`: shares of
    the time in which the slowest requests were queued, by the same, or STEP where they only waited for the step under
    way. `steps`: of the steps with prefills and of those with decodes, shares of their time by resource."""

    blocked: Shares
    waited: Shares
    steps: Mapping[str, Shares]


def explain(runs: Runs, order: Order, count: int, first: str, idle: Measurement) -> tuple[Binding, list[Measurement]]:
    """What binds in `count` runs like `order`, in which the limit `first` is reached; and their measurements."""
    jobs = [runs.job(order._replace(replication=number)) for number in range(count)]
    at, why = zip(*runs.each(partial(_measure_and_explain, first=first), jobs), strict=True)
    return binding_of(first, idle, at, why), list(at)


def _measure_and_explain(job: Job, first: str) -> tuple[Measurement, Explanation]:
    """One run. Raises KeyboardInterrupt where Ctrl-C ended it."""
    result = run(job.experiment)
    if result.summary["sim"]["interrupted"]:
        raise KeyboardInterrupt
    by_arrival = result.requests.sort_values("arrival_s", kind="stable")
    middle = by_arrival.iloc[window_of(len(by_arrival))]
    slow = middle if first == SATURATION else slowest(middle, job.slo, first)
    return measurement_of(result, job), explanation_of(result, slow)


def explanation_of(result: RunResult, slow: pd.DataFrame) -> Explanation:
    """What explains a run and its slowest requests."""
    columns = {str(name): result.iterations[name].to_numpy() for name in result.iterations if name != "blocked_by"}
    steps = {part: _step_shares(result, columns, f"{part}_requests") for part in PARTS[1:]}
    return Explanation(result.summary["sim"]["batch"]["queue_blocked_by"], _waited(result, columns, slow), steps)


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
        word = RESOURCES.get(why, why)
        waited[word] = waited.get(word, 0.0) + seconds
        waited[STEP] -= seconds
    return _normalised(waited)


def binding_of(first: str, idle: Measurement, at: Sequence[Measurement], why: Sequence[Explanation]) -> Binding:
    """Of what grew most since the engine was idle: queueing is for what held up the queue, the rest is the steps'.

    Where most of the slowest requests were preempted, it is KV blocks.
    """
    if first == SATURATION:
        return _saturated(why)
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
    if held_up == STEP:
        return Binding(
            first, *_by_step(why, f"{grew}, {waited[STEP]:.0%} of it until the step under way ends", PARTS[1])
        )
    return Binding(first, held_up, f"{grew}, {waited[held_up]:.0%} of it behind a queue held up by {held_up}")


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
    return word, f"{grew}, and {steps[largest]:.0%} of the time of steps with {part}s is set by {word}"


def _saturated(why: Sequence[Explanation]) -> Binding:
    """The SLO is met as long as the engine keeps up."""
    met, blocked = "the SLO is met at every load that the engine keeps up with", defaultdict[str, float](float)
    for name, share in _mean([one.blocked for one in why]).items():
        blocked[RESOURCES.get(name, name)] += share
    if not blocked:
        return Binding(SATURATION, *_by_step(why, met, "decode"))
    held_up = max(blocked, key=lambda name: blocked[name])
    return Binding(SATURATION, held_up, f"{met}; {held_up} held up the queue in {blocked[held_up]:.0%} of busy time")


def _normalised(parts: Mapping[str, float]) -> Shares:
    total = sum(parts.values())
    return {name: each / total for name, each in parts.items()} if total > 0 else {}


def _mean(shares: Sequence[Shares]) -> dict[str, float]:
    names = dict.fromkeys(name for one in shares for name in one)
    return {name: sum(one.get(name, 0.0) for one in shares) / len(shares) for name in names}
