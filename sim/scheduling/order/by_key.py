"""What orders by a key share: the waiting queue is a heap, and the victim is the last by the same key."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from sim.scheduling.state import RequestState

Key = tuple[int, int]


class KeyOrder(ABC):
    """A heap by `key`, which must differ between requests and must not change while one waits."""

    def __init__(self) -> None:
        self._heap: list[tuple[Key, RequestState]] = []

    @staticmethod
    @abstractmethod
    def key(state: RequestState) -> Key:
        """Sorts the request to serve first to the front."""

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[RequestState]:
        return (state for _, state in sorted(self._heap, key=lambda item: item[0]))

    def push(self, state: RequestState) -> None:
        """Join at the place the key gives."""
        heapq.heappush(self._heap, (self.key(state), state))

    def push_preempted(self, state: RequestState) -> None:
        """Return to the place the key gives."""
        self.push(state)

    def head(self) -> RequestState:
        """The first of the waiting by key."""
        return self._heap[0][1]

    def pop(self) -> RequestState:
        """Remove and return the head."""
        return heapq.heappop(self._heap)[1]

    def victim(self, running: Sequence[RequestState]) -> RequestState:
        """The last of the running by key."""
        return max(running, key=self.key)
