"""First come, first served: preempted requests go back to the head; the last admitted is the victim."""

from __future__ import annotations

from collections import deque

from sim.scheduling.state import RequestState
from sim.specs.request import Request


class FcfsOrder(deque[RequestState]):
    """A double-ended queue, the head on the left: requests join at the tail, preempted ones return to the head."""

    last_admitted_gives_way = True
    push = deque.append
    push_preempted = deque.appendleft
    pop = deque.popleft

    def would_be_first(self, request: Request) -> bool:
        """Only if nobody waits."""
        return not self

    def head(self) -> RequestState:
        """The longest waiting request."""
        return self[0]

    def victim(self, running: dict[RequestState, None]) -> RequestState:
        """The last admitted."""
        return next(reversed(running))
