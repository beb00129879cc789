"""First come, first served: preempted requests go back to the head, or to the tail; the last admitted is the victim."""

from __future__ import annotations

from collections import deque

from sim.scheduling.state import RequestState
from sim.specs.request import Request


class FcfsOrder(deque[RequestState]):
    """A double-ended queue, the head on the left."""

    last_admitted_gives_way = True
    push = deque.append
    push_preempted = deque.appendleft
    pop = deque.popleft
    push_first = deque.appendleft

    def would_be_first(self, request: Request) -> bool:
        """Only if nobody waits."""
        return not self

    def head(self) -> RequestState:
        """The longest waiting request."""
        return self[0]

    def victim(self, running: dict[RequestState, None]) -> RequestState:
        """The last admitted."""
        return next(reversed(running))


class FcfsFromTheTail(FcfsOrder):
    """Preempted requests queue up behind everybody (SGLang, FastGen)."""

    push_preempted = deque.append
