"""What a scheduling decision says, and what comes of executing it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sim.scheduling.state import RequestState

How = Literal["running", "new", "resumed"]
Blocker = Literal["kv blocks", "seats", "token budget", "preemption", "batch not over", "prefill cadence"]


@dataclass(slots=True, eq=False)
class Scheduled:
    """One request's part of an iteration: `tokens` from position `start` on, with `new_blocks` taken for them."""

    state: RequestState
    how: How
    start: int
    tokens: int
    new_blocks: int


@dataclass(slots=True, eq=False)
class Plan:
    """One iteration: who runs in which order, and who was preempted to make room.

    `padding_rows` are finished members of a static batch whose slot still computes. `blocked_by` says why the head of
    the waiting queue could not start; None when nobody was left waiting.
    """

    scheduled: list[Scheduled] = field(default_factory=list)
    preempted: list[RequestState] = field(default_factory=list)
    padding_rows: list[RequestState] = field(default_factory=list)
    blocked_by: Blocker | None = None

    @property
    def total_tokens(self) -> int:
        """Tokens computed, padding left out."""
        return sum(part.tokens for part in self.scheduled)


@dataclass(slots=True, eq=False)
class Outcome:
    """What executing a plan gave: who emitted a token (in plan order), and whose answer is complete and returned."""

    emitted: list[RequestState]
    finished: list[RequestState]
