"""One iteration as a record: the line of a schedule log, in the schema of the recordings in tests/data/golden."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sim.scheduling.core import SchedulerCore
from sim.scheduling.plan import Chunk, Plan, Verified
from sim.scheduling.state import RequestState

Record = dict[str, Any]


def decision_record(step: int, arrived: Sequence[int], plan: Plan, core: SchedulerCore) -> Record:
    """What a call of `schedule` decided; take it before the plan is repeated or applied."""
    scheduled = _parts(plan, core)
    return {
        "kind": "step",
        "step": step,
        "arrived": list(arrived),
        "scheduled": scheduled,
        "total_tokens": sum(part["tokens"] for part in scheduled),
        "preempted": _ids(plan.preempted),
        "running": _ids(core.running),
        "waiting": _ids(core.waiting),
        "free_blocks": core.pool.free_blocks,
    }


def outcome_record(decision: Record, plan: Plan, finished: Iterable[RequestState], core: SchedulerCore) -> Record:
    """What applying the decision changed: the rest of the step's line. Parts with drafts learn how many were right."""
    rounds = {each.state.request.request_id: each for each in plan.rounds}
    for part in decision["scheduled"]:
        if "draft_tokens" in part:
            part["accepted"] = rounds[part["id"]].accepted
    emitted = {part["id"]: 1 for part in decision["scheduled"] if part["samples"]}
    if rounds:
        emitted = {number: each.emitted for number, each in rounds.items() if each.emitted}
    return {
        "emitted": emitted,
        "finished": _ids(finished),
        "free_blocks_after_update": core.pool.free_blocks,
        "output_of_step": decision["step"],
    }


def _parts(plan: Plan, core: SchedulerCore) -> list[Record]:
    """Who runs, in order of admission."""
    chunks = {chunk.state: chunk for chunk in plan.chunks}
    ending = {state for state in plan.finishing if state not in chunks}
    paused = set(plan.paused)
    parts = []
    for state in core.running:
        if state in chunks:
            parts.append(_chunk_record(chunks[state], core))
        elif state in plan.verified:
            parts.append(_verified_record(state, plan.verified[state], core))
        elif state in ending or (state.decoding and not plan.stalled and state not in paused):
            parts.append(_decode_record(state, core))
    return parts


def _chunk_record(chunk: Chunk, core: SchedulerCore) -> Record:
    record = {
        "id": chunk.state.request.request_id,
        "how": chunk.how,
        "start": chunk.start,
        "tokens": chunk.tokens,
        "new_blocks": chunk.new_blocks,
        "held_blocks": core.blocks_held(chunk.state, chunk.start + chunk.tokens),
        "samples": chunk.completes,
    }
    if chunk.draft_tokens:
        record["draft_tokens"] = chunk.draft_tokens
    if chunk.how != "running":
        record["hit_tokens"] = chunk.start
    return record


def _decode_record(state: RequestState, core: SchedulerCore) -> Record:
    computed_tokens = core.decodes.computed_tokens(state) if state.decoding else state.computed_tokens
    held_blocks = core.blocks_held(state, computed_tokens)
    return {
        "id": state.request.request_id,
        "how": "running",
        "start": computed_tokens - 1,
        "tokens": 1,
        "new_blocks": held_blocks - core.blocks_held(state, computed_tokens - 1),
        "held_blocks": held_blocks,
        "samples": True,
    }


def _verified_record(state: RequestState, verified: Verified, core: SchedulerCore) -> Record:
    record = {
        "id": state.request.request_id,
        "how": "running",
        "start": verified.start,
        "tokens": verified.tokens,
        "new_blocks": verified.new_blocks,
        "held_blocks": core.blocks_held(state, 0),
        "samples": verified.emits,
    }
    return record | {"draft_tokens": verified.draft_tokens} if verified.draft_tokens else record


def _ids(states: Iterable[RequestState]) -> list[int]:
    return [state.request.request_id for state in states]
