"""First come, first served: preempted requests go back to the head; the last admitted is the victim."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from sim.scheduling.state import RequestState


class FcfsOrder:
    """A double-ended queue."""

    def __init__(self) -> None:
        self._queue: deque[RequestState] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[RequestState]:
        return iter(self._queue)

    def push(self, state: RequestState) -> None:
        """Join at the tail."""
        self._queue.append(state)

    def push_preempted(self, state: RequestState) -> None:
        """Return to the head."""
        self._queue.appendleft(state)

    def head(self) -> RequestState:
        """The longest waiting request."""
        return self._queue[0]

    def pop(self) -> RequestState:
        """Remove and return the head."""
        return self._queue.popleft()

    def victim(self, running: Sequence[RequestState]) -> RequestState:
        """The last admitted."""
        return running[-1]
