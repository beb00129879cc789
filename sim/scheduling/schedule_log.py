"""One iteration as a record: the line of a schedule log, in the schema of the recordings in tests/data/golden."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sim.scheduling.core import SchedulerCore
from sim.scheduling.plan import Outcome, Plan, Scheduled
from sim.scheduling.state import RequestState

Record = dict[str, Any]


def decision_record(step: int, arrived: Sequence[int], plan: Plan, core: SchedulerCore) -> Record:
    """What a call of `schedule` decided; take it before the outcome is applied."""
    return {
        "kind": "step",
        "step": step,
        "arrived": list(arrived),
        "scheduled": [_part_record(part) for part in plan.scheduled],
        "total_tokens": plan.total_tokens,
        "preempted": _ids(plan.preempted),
        "running": _ids(core.running),
        "waiting": _ids(core.waiting),
        "free_blocks": core.pool.free_blocks,
    }


def outcome_record(step: int, outcome: Outcome, core: SchedulerCore) -> Record:
    """What applying the outcome changed: the rest of the step's line."""
    return {
        "emitted": {state.request.request_id: 1 for state in outcome.emitted},
        "finished": _ids(outcome.finished),
        "free_blocks_after_update": core.pool.free_blocks,
        "output_of_step": step,
    }


def _part_record(part: Scheduled) -> Record:
    record = {
        "id": part.state.request.request_id,
        "how": part.how,
        "start": part.start,
        "tokens": part.tokens,
        "new_blocks": part.new_blocks,
        "held_blocks": part.state.held_blocks,
        "samples": part.state.wanted_tokens == 0,
    }
    if part.how != "running":
        record["hit_tokens"] = 0
    return record


def _ids(states: Iterable[RequestState]) -> list[int]:
    return [state.request.request_id for state in states]
