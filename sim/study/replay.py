"""Replaying a recording by call, with no clock, and finding the first place where ours differs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.errors import InputError, ServesimError
from sim.scheduling.core import Accepts, SchedulerCore
from sim.scheduling.plan import Plan
from sim.scheduling.schedule_log import decision_record, outcome_record
from sim.specs.engine import EngineSpec
from sim.study.recordings import Record, Recording, read_lines, read_recording
from sim.study.recordings.framework import Words
from sim.study.recordings.lightllm import decided, is_decision
from sim.workload.acceptance import Acceptance

NOT_COMPARED = frozenset({"kind", "output_of_step"})
MISSING = "(nothing)"
TOLERANCE = 1e-6
"""Of numbers that are not whole."""

REQUESTS = frozenset(
    {"arrived", "preempted", "running", "waiting", "finished", "emitted", "swapped", "ignored", "retracted", "chunked"}
    | {"buffer", "evicted", "flushed_finished"}
)
"""Keys whose values are requests."""


@dataclass(frozen=True)
class Difference:
    """The first place where our schedule is not the recorded one; `step` is None for the totals at the end."""

    step: int | None
    key: str
    ours: Any
    theirs: Any


@dataclass(frozen=True)
class Comparison:
    """How far a replay agreed: `equal_steps` of `steps`, and the first difference if there is one.

    A step may be a single decision.
    """

    equal_steps: int
    steps: int
    difference: Difference | None


def compare_file(path: Path) -> Comparison:
    """What is recorded at `path`, a schedule or single decisions, against ours. Raises InputError if it is neither."""
    lines = read_lines(path)
    return _compare_decisions(lines, path) if all(map(is_decision, lines)) else compare_with(read_recording(path))


def _compare_decisions(lines: list[Record], path: Path) -> Comparison:
    equal, first = 0, None
    for line in lines:
        try:
            difference = _first_difference(decided(line), line["expect"], line["case"])
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: case {line['case']} is malformed ({error}); see its index.json") from None
        first = first or difference
        equal += difference is None
    return Comparison(equal, len(lines), first)


def compare_with(recording: Recording) -> Comparison:
    """Replay `recording` and compare every key it holds, step by step, then its totals."""
    replayed = []
    ours_steps = replay(recording)
    for index, theirs in enumerate(recording.steps):
        ours = next(ours_steps, None)
        if ours is None:
            return Comparison(index, len(recording.steps), Difference(theirs["step"], "step", MISSING, theirs["step"]))
        difference = _first_difference(ours, theirs, theirs["step"])
        if difference:
            return Comparison(index, len(recording.steps), difference)
        replayed.append(ours)
    extra = next(ours_steps, None)
    if extra is not None:
        return Comparison(
            len(replayed), len(recording.steps), Difference(extra["step"], "step", extra["step"], MISSING)
        )
    totals = _totals(replayed, recording)
    return Comparison(len(replayed), len(recording.steps), _first_difference(totals, recording.totals, None))


def replay(recording: Recording) -> Iterator[Record]:
    """Our record of every call, under the recorded request names.

    A request with arrival step k is queued just before call k. When nothing runs or waits, the call number jumps to the
    next arrival.
    """
    accepts = accepted_of(recording.engine) if recording.engine.speculation else None
    core, words = SchedulerCore(recording.engine, accepts), recording.framework.words()
    order = sorted(range(len(recording.requests)), key=lambda i: recording.arrival_steps[i])
    step, in_flight = 0, None
    while order or core.has_work:
        if not core.has_work:
            step = max(step, recording.arrival_steps[order[0]])
        arrived = [i for i in order if recording.arrival_steps[i] <= step]
        order = order[len(arrived) :]
        for i in arrived:
            core.enqueue(recording.requests[i])
        plan = core.schedule()
        if plan.is_empty and in_flight is None:
            raise ServesimError(f"{recording.path}: our scheduler stalls at step {step}: nothing can run")
        record = decision_record(step, arrived, plan, core)
        executed = in_flight if recording.engine.async_scheduling else (plan, record)
        if executed is not None:
            finished = core.apply(executed[0])
            record = record | outcome_record(executed[1], executed[0], finished, core)
        in_flight = None if plan.is_empty else (plan, record)
        yield _in_their_words(record, plan, core, words, recording.names)
        step += 1


def accepted_of(engine: EngineSpec) -> Accepts:
    """Right drafts by round: those that the recording of a request scripts."""
    assert engine.speculation is not None
    return Acceptance(engine.speculation, seed=0).of


def _in_their_words(record: Record, plan: Plan, core: SchedulerCore, words: Words, names: list[str]) -> Record:
    """With phases, and recorded names for our numbers of requests."""
    prompts = {chunk.state.request.request_id for chunk in plan.chunks}
    parts = [part | {"phase": "prefill" if part["id"] in prompts else "decode"} for part in record["scheduled"]]
    record = words(record | {"scheduled": parts}, plan, core)
    return {key: _named(value, names) if key in REQUESTS else value for key, value in record.items()} | {
        "scheduled": [part | {"id": names[part["id"]]} for part in record["scheduled"]]
    }


def _named(value: Any, names: list[str]) -> Any:
    """Numbers of requests by their recorded names, wherever they stand."""
    if isinstance(value, dict):
        return {names[number]: count for number, count in value.items()}
    if isinstance(value, list):
        return [_named(each, names) for each in value]
    return names[value] if isinstance(value, int) else value


def _totals(steps: list[Record], recording: Recording) -> Record:
    """The end line of a recording, counted from our steps."""
    emitted: dict[str, list[int]] = defaultdict(list)
    preemptions: dict[str, int] = defaultdict(int)
    for record in steps:
        for name in record.get("emitted", ()):
            emitted[name] += [record["step"]] * record["emitted"][name]
        for victim in record["preempted"]:
            preemptions[victim if isinstance(victim, str) else victim[0]] += 1
    return {
        "steps": len(steps),
        "preemptions": sum(preemptions.values()),
        "scheduled_tokens": sum(record["total_tokens"] for record in steps),
        "output_tokens": sum(map(len, emitted.values())),
        "peak_running": max(len(record["running"]) for record in steps),
        "min_free_blocks": min(record["free_blocks"] for record in steps),
        "swapped_out_blocks": sum(record.get("swapped_out_blocks", 0) for record in steps),
        "prefill_steps": sum(record.get("mode") in ("prefill", "mixed") for record in steps),
        "hit_tokens": sum(part.get("hit_tokens", 0) for record in steps for part in record["scheduled"]),
        "max_step_tokens": max(record["total_tokens"] for record in steps),
        "per_request": {
            name: {
                "first_token_step": emitted[name][0],
                "finish_step": emitted[name][-1],
                "preemptions": preemptions[name],
                "output_tokens": len(emitted[name]),
            }
            for name in recording.names
        },
    }


def _first_difference(ours: Any, theirs: Any, step: int | None, key: str = "") -> Difference | None:
    """The first place where a key or item of `theirs` is not the same in `ours`; what theirs leaves out may differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict) and key != "emitted":
        for name, value in theirs.items():
            if name not in NOT_COMPARED and name != "sha256":
                found = _first_difference(ours.get(name, MISSING), value, step, f"{key}.{name}" if key else name)
                if found:
                    return found
        return None
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for index, (our_item, their_item) in enumerate(zip(ours, theirs, strict=True)):
            found = _first_difference(our_item, their_item, step, f"{key}[{index}]")
            if found:
                return found
        return None
    if isinstance(theirs, float) and isinstance(ours, float) and abs(ours - theirs) <= TOLERANCE:
        return None
    return None if ours == theirs else Difference(step, key, ours, theirs)
