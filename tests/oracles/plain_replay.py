"""Recordings of real schedulers replayed by call through the plain ones, and every recorded key compared.

What is equal is said in tests/data/golden/README.md; how a recording is read is written here a second time, so that
nothing but the type of a request is shared with the program.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracles.plain_common import PlainCommon
from oracles.plain_scheduler import Iteration, PlainRequest

from sim.specs.request import Request

Record = dict[str, Any]
NOT_COMPARED = frozenset({"kind", "output_of_step", "sha256"})
MISSING = "(nothing)"
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Recorded:
    """The lines of a recording, and its requests under numbers; `names` are the recorded ones."""

    config: Record
    requests: list[Request]
    names: list[str]
    arrival_steps: list[int]
    steps: list[Record]
    end: Record


@dataclass(frozen=True)
class Dialect:
    """How the recorder of a framework names what it saw.

    `details` adds the keys that are its own, decided by a call; `outcome` those known when it was applied.
    """

    details: Callable[[Any, Any], Record] = lambda scheduler, iteration: {}
    outcome: Callable[[Any, Any], Record] = lambda scheduler, iteration: {}
    totals: Callable[[list[Record]], Record] = lambda steps: {}


def read(path: Path) -> Recorded:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        header, *steps, end = (json.loads(line) for line in file)
    described = header["requests"]
    requests = [
        Request(
            number,
            0.0,
            item["prompt_len"],
            item["output_len"],
            item.get("priority", 0),
            max_new_tokens=item.get("max_new_tokens"),
        )
        for number, item in enumerate(described)
    ]
    names, arrivals = [item["id"] for item in described], [item["arrival_step"] for item in described]
    return Recorded(header["config"], requests, names, arrivals, steps, end)


def replay(recorded: Recorded, scheduler: PlainCommon, dialect: Dialect) -> Iterator[Record]:
    """Our line of every call. Who arrives at step k is queued just before it; an idle engine jumps to the next."""
    order = sorted(range(len(recorded.requests)), key=lambda number: recorded.arrival_steps[number])
    step = 0
    while order or scheduler.is_unfinished():
        if not scheduler.is_unfinished():
            if recorded.arrival_steps[order[0]] > step:
                scheduler.rest()
            step = max(step, recorded.arrival_steps[order[0]])
        arrived = [number for number in order if recorded.arrival_steps[number] <= step]
        order = order[len(arrived) :]
        for number in arrived:
            scheduler.enqueue(recorded.requests[number])
        iteration = scheduler.schedule()
        line = decided(iteration) | dialect.details(scheduler, iteration)
        scheduler.apply(iteration, float(step))
        line |= applied(iteration) | dialect.outcome(scheduler, iteration)
        named = in_words(line, recorded.names)
        yield {"step": step, "arrived": [recorded.names[number] for number in arrived]} | named
        step += 1


def decided(iteration: Iteration) -> Record:
    """What all recordings tell of a call."""
    return {
        "scheduled": [
            {
                "id": part.state,
                "tokens": part.tokens,
                "start": part.start,
                "phase": "decode" if part.decodes else "prefill",
                "held_blocks": len(part.state.holder.blocks),
                "samples": part.emits,
            }
            for part in iteration.parts
        ],
        "total_tokens": sum(part.tokens for part in iteration.parts),
        "preempted": list(iteration.preempted),
        "running": list(iteration.running),
        "waiting": list(iteration.waiting),
        "free_blocks": iteration.free_blocks,
    }


def applied(iteration: Iteration) -> Record:
    return {"finished": list(iteration.finished), "free_blocks_after_update": iteration.free_blocks_after}


def in_words(value: Any, names: list[str]) -> Any:
    """The recorded name in the place of every request."""
    if isinstance(value, PlainRequest):
        return names[value.request.request_id]
    if isinstance(value, dict):
        return {key: in_words(item, names) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [in_words(item, names) for item in value]
    return value


def totals_of(steps: list[Record], recorded: Recorded, dialect: Dialect) -> Record:
    """The end line, counted from our steps."""
    outputs: dict[str, list[int]] = defaultdict(list)
    preemptions: dict[str, int] = defaultdict(int)
    for line in steps:
        for part in line["scheduled"]:
            if part["samples"]:
                outputs[part["id"]].append(line["step"])
        for name in line["preempted"]:
            preemptions[name if isinstance(name, str) else name[0]] += 1
    return {
        "steps": len(steps),
        "preemptions": sum(preemptions.values()),
        "scheduled_tokens": sum(line["total_tokens"] for line in steps),
        "max_step_tokens": max(line["total_tokens"] for line in steps),
        "output_tokens": sum(len(times) for times in outputs.values()),
        "peak_running": max(len(line["running"]) for line in steps),
        "per_request": {
            name: {
                "first_token_step": outputs[name][0] if outputs[name] else None,
                "finish_step": outputs[name][-1] if outputs[name] else None,
                "preemptions": preemptions[name],
            }
            for name in recorded.names
        },
    } | dialect.totals(steps)


def compare(recorded: Recorded, scheduler: PlainCommon, dialect: Dialect) -> tuple[int, str | None]:
    """How many steps are equal, and the first difference in words if there is one."""
    ours, steps = replay(recorded, scheduler, dialect), []
    for count, theirs in enumerate(recorded.steps):
        line = next(ours, None)
        if line is None:
            return count, f"step {theirs['step']}: ours has ended"
        found = difference(line, theirs)
        if found:
            return count, f"step {theirs['step']}: {found}"
        steps.append(line)
    extra = next(ours, None)
    if extra is not None:
        return len(steps), f"step {extra['step']}: theirs has ended"
    found = difference(totals_of(steps, recorded, dialect), recorded.end)
    return len(steps), found and f"end: {found}"


def difference(ours: Any, theirs: Any, key: str = "") -> str | None:
    """The first place where a value of `theirs` is not the same in `ours`; keys that it leaves out may differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        pairs = [(ours.get(name, MISSING), value, f"{key}.{name}") for name, value in theirs.items()]
        pairs = [pair for pair, name in zip(pairs, theirs, strict=True) if name not in NOT_COMPARED]
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        pairs = [(ours[place], value, f"{key}[{place}]") for place, value in enumerate(theirs)]
    elif isinstance(theirs, float) and isinstance(ours, float):
        return None if abs(theirs - ours) <= TOLERANCE else f"{key}: ours {ours!r}, theirs {theirs!r}"
    else:
        return None if ours == theirs else f"{key}: ours {ours!r}, theirs {theirs!r}"
    return next((found for pair in pairs if (found := difference(*pair))), None)
