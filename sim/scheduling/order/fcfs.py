"""First come, first served: preempted requests go back to the head; the last admitted is the victim."""

from __future__ import annotations

from collections import deque

from sim.scheduling.state import RequestState
from sim.specs.request import Request


class FcfsOrder(deque[RequestState]):
    """A double-ended queue, the head on the left."""

    def would_be_first(self, request: Request) -> bool:
        """Only if nobody waits."""
        return not self

    def push(self, state: RequestState) -> None:
        """Join at the tail."""
        self.append(state)

    def push_preempted(self, state: RequestState) -> None:
        """Return to the head."""
        self.appendleft(state)

    def head(self) -> RequestState:
        """The longest waiting request."""
        return self[0]

    def pop(self) -> RequestState:  # type: ignore[override]
        """Remove and return the head."""
        return self.popleft()

    def victim(self, running: dict[RequestState, None]) -> RequestState:
        """The last admitted."""
        return next(reversed(running))
