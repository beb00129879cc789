"""What orders by a key share: the waiting queue is a heap, and the victim is the last by the same key."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Iterator

from sim.scheduling.state import RequestState
from sim.specs.request import Request

Key = tuple[int, int]


class KeyOrder(ABC):
    """A heap by rank and arrival; a rank does not change."""

    last_admitted_gives_way = False

    def __init__(self) -> None:
        self._heap: list[tuple[Key, RequestState]] = []

    @staticmethod
    @abstractmethod
    def rank(request: Request) -> int:
        """The lower, the earlier it is served."""

    def key(self, state: RequestState) -> Key:
        """Rank, then arrival."""
        return self.rank(state.request), state.arrival_rank

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[RequestState]:
        return (state for _, state in sorted(self._heap, key=lambda item: item[0]))

    def would_be_first(self, request: Request) -> bool:
        """If it sorts before the head; of equals the earlier arrival is first."""
        return not self._heap or self.rank(request) < self._heap[0][0][0]

    def push(self, state: RequestState) -> None:
        """Join at the place the key gives."""
        heapq.heappush(self._heap, (self.key(state), state))

    def push_preempted(self, state: RequestState) -> None:
        """Return to the place the key gives."""
        self.push(state)

    def push_first(self, state: RequestState) -> None:
        """The key says where that is."""
        self.push(state)

    def head(self) -> RequestState:
        """The first of the waiting by key."""
        return self._heap[0][1]

    def pop(self) -> RequestState:
        """Remove and return the head."""
        return heapq.heappop(self._heap)[1]

    def remove(self, state: RequestState) -> None:
        """Leave the heap."""
        self._heap.remove((self.key(state), state))
        heapq.heapify(self._heap)

    def victim(self, running: dict[RequestState, None]) -> RequestState:
        """The last of the running by key."""
        return max(running, key=self.key)
