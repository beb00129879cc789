"""Impatient clients: a request that is not scheduled before its patience ends leaves the queue.

Nobody leaves once he has been scheduled, also if he is preempted later. The engine learns of a departure as of an
arrival, when it reads its inbox: whom it has chosen for its next iteration by then is served.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.scheduling.core import SchedulerCore
from sim.scheduling.state import RequestState
from sim.specs.request import Request


class Loss(NamedTuple):
    """A request whose patience ended at `left_s`."""

    request: Request
    left_s: float


class Patience:
    """The deadlines of those who wait; `patience_s` by request id.

    A request `joins` when it comes. When the core has queued it, it is `queued` with its state. The rest follows from
    the states: who has started, or is answered, waits no longer.
    """

    def __init__(self, patience_s: NDArray[np.float64], core: SchedulerCore) -> None:
        self._patience_s = patience_s
        self._core = core
        self._deadlines: list[tuple[float, int, Request]] = []
        self._states: dict[int, RequestState] = {}
        self._left_unread: set[int] = set()

    def join(self, request: Request) -> None:
        """A request is let in."""
        deadline_s = request.arrival_s + float(self._patience_s[request.request_id])
        heappush(self._deadlines, (deadline_s, request.request_id, request))

    def queued(self, state: RequestState) -> None:
        """The core knows a request; if it left before that, the core forgets it again."""
        request_id = state.request.request_id
        if request_id in self._left_unread:
            self._left_unread.remove(request_id)
            self._core.withdraw(state)
        else:
            self._states[request_id] = state

    def losses(self, until_s: float) -> Iterator[Loss]:
        """Those whose patience ends by then without their having started; they leave the core's queue."""
        while self._deadlines and self._deadlines[0][0] <= until_s:
            deadline_s, request_id, request = heappop(self._deadlines)
            state = self._states.pop(request_id, None)
            if state is None:
                self._left_unread.add(request_id)
                yield Loss(request, deadline_s)
            elif not self._core.has_started(state):
                self._core.withdraw(state)
                yield Loss(request, deadline_s)

    def next_deadline_s(self) -> float:
        """When the next of the waiting leaves if he is not scheduled before."""
        while self._deadlines:
            deadline_s, request_id, _ = self._deadlines[0]
            state = self._states.get(request_id)
            if state is None or not self._core.has_started(state):
                return deadline_s
            heappop(self._deadlines)
            del self._states[request_id]
        return inf
