"""The plain scheduler driven by call as a recorded one was, and its decisions in the schema of the recordings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from oracles.plain_scheduler import Iteration, Part, PlainRequest, PlainScheduler
from oracles.plain_speculation import NO_SPECULATION, PlainSpeculation

from sim.study.recordings import Recording

Record = dict[str, Any]


def replay_plainly(recording: Recording, speculation: PlainSpeculation = NO_SPECULATION) -> Iterator[Record]:
    """What each call decided, and which outcome was applied after it: its own, or under asynchronous scheduling that of
    the call before. A request comes before the call of its arrival; over idle calls the count jumps to the next.
    """
    scheduler = PlainScheduler(recording.engine, drafts=speculation)
    names = recording.names
    coming = sorted(range(len(names)), key=lambda number: recording.arrival_steps[number])
    call, in_flight = 0, None
    while coming or scheduler.running or scheduler.waiting:
        if not scheduler.running and not scheduler.waiting:
            call = max(call, recording.arrival_steps[coming[0]])
        arrived = [number for number in coming if recording.arrival_steps[number] <= call]
        coming = coming[len(arrived) :]
        for number in arrived:
            scheduler.enqueue(recording.requests[number])
        iteration = scheduler.schedule()
        applied = in_flight if recording.engine.async_scheduling else iteration
        emitted = {} if applied is None else _apply(applied, scheduler, names)
        in_flight = iteration if iteration.parts else None
        yield {"step": call, "arrived": [names[number] for number in arrived]} | _decided(iteration, names) | emitted
        call += 1


def _decided(iteration: Iteration, names: list[str]) -> Record:
    """What the call decided, and where its outcome is applied already, how many drafts were right."""
    return {
        "scheduled": [_part(part, names) for part in iteration.parts],
        "total_tokens": sum(part.tokens for part in iteration.parts),
        "preempted": _names(iteration.preempted, names),
        "running": _names(iteration.running, names),
        "waiting": _names(iteration.waiting, names),
        "free_blocks": iteration.free_blocks,
    }


def _apply(iteration: Iteration, scheduler: PlainScheduler, names: list[str]) -> Record:
    """Tokens that came out, who finished, and what that left free."""
    states = [part.state for part in iteration.parts]
    before = [len(state.token_times_s) for state in states]
    scheduler.apply(iteration, 0.0)
    more = {
        names[state.request.request_id]: len(state.token_times_s) - count
        for state, count in zip(states, before, strict=True)
    }
    return {
        "emitted": {name: count for name, count in more.items() if count},
        "finished": _names(iteration.finished, names),
        "free_blocks_after_update": iteration.free_blocks_after,
    }


def _part(part: Part, names: list[str]) -> Record:
    record = {
        "id": names[part.state.request.request_id],
        "how": part.how,
        "start": part.start,
        "tokens": part.tokens,
        "new_blocks": part.new_blocks,
        "held_blocks": part.held_blocks,
        "samples": part.emits,
    }
    if part.how != "running":
        record["hit_tokens"] = part.start
    if part.draft_tokens:
        record |= {"draft_tokens": part.draft_tokens, "accepted": part.accepted}
    return record


def _names(states: list[PlainRequest], names: list[str]) -> list[str]:
    return [names[state.request.request_id] for state in states]
