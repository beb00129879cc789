"""Lower priority value first, then earlier arrival; the worst by the same key is the victim."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from sim.scheduling.state import RequestState

Key = tuple[int, int]


def urgency(state: RequestState) -> Key:
    """Sorts the most urgent request first."""
    return state.request.priority, state.arrival_rank


class PriorityOrder:
    """A heap by `urgency`."""

    def __init__(self) -> None:
        self._heap: list[tuple[Key, RequestState]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[RequestState]:
        return (state for _, state in sorted(self._heap, key=lambda item: item[0]))

    def push(self, state: RequestState) -> None:
        """Join at the place the key gives."""
        heapq.heappush(self._heap, (urgency(state), state))

    def push_preempted(self, state: RequestState) -> None:
        """Return to the place the key gives."""
        self.push(state)

    def head(self) -> RequestState:
        """The most urgent waiting request."""
        return self._heap[0][1]

    def pop(self) -> RequestState:
        """Remove and return the head."""
        return heapq.heappop(self._heap)[1]

    def victim(self, running: Sequence[RequestState]) -> RequestState:
        """The least urgent."""
        return max(running, key=urgency)
