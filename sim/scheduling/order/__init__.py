"""Order of service: who waits in front of whom, and who is preempted first.

A new order is one file with a class like these and one line here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from sim.scheduling.order.fcfs import FcfsOrder
from sim.scheduling.order.priority import PriorityOrder
from sim.scheduling.order.shortest_predicted import ShortestPredictedOrder
from sim.scheduling.state import RequestState
from sim.specs.request import Request


class Order(Protocol):
    """The waiting queue in its order, and the choice of a preemption victim among the running."""

    last_admitted_gives_way: bool
    """Whether the victim is always the last of the running."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[RequestState]:
        """The waiting requests, next to be admitted first."""
        ...

    def would_be_first(self, request: Request) -> bool:
        """Whether a request that arrived now would be the head."""
        ...

    def push(self, state: RequestState) -> None:
        """A new request joins."""
        ...

    def push_preempted(self, state: RequestState) -> None:
        """A preempted request comes back."""
        ...

    def push_first(self, state: RequestState) -> None:
        """Who was taken from the head goes back there."""
        ...

    def head(self) -> RequestState:
        """The next request to admit; the queue must not be empty."""
        ...

    def pop(self) -> RequestState:
        """Remove and return the head."""
        ...

    def remove(self, state: RequestState) -> None:
        """Somebody leaves without having been served."""
        ...

    def victim(self, running: dict[RequestState, None]) -> RequestState:
        """Who of `running` (in order of admission) gives way when blocks run out."""
        ...


ORDERS: dict[str, type[Order]] = {
    "fcfs": FcfsOrder,
    "priority": PriorityOrder,
    "shortest_predicted": ShortestPredictedOrder,
}
