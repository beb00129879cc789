"""Closed-loop users: each waits for an answer before the next request, so traffic follows the engine's speed."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from simpy.events import Event

from sim.serving.clock import Clock
from sim.serving.front_end import FrontEnd
from sim.workload.workload import Workload


class ClosedLoopUsers:
    """One process a user: think, send the next request of the workload, wait for the whole answer, think again.

    All begin by thinking at time 0. Whoever starts to think takes the workload's next pause; when none is left the
    user leaves, and the front end closes with the last request.
    """

    def __init__(self, clock: Clock, front_end: FrontEnd, workload: Workload) -> None:
        assert workload.think_s is not None
        self._clock = clock
        self._front_end = front_end
        self._pauses_s = iter(np.asarray(workload.think_s).tolist())
        self._requests = iter(workload)
        self._unsent = len(workload)

    def user(self, session_id: int) -> Generator[Event, None, None]:
        """The process of one user."""
        for pause_s in self._pauses_s:
            yield self._clock.timeout(pause_s)
            request = next(self._requests)._replace(arrival_s=self._clock.now, session_id=session_id)
            answered = self._front_end.answer_to(request)
            self._front_end.submit(request)
            self._unsent -= 1
            if not self._unsent:
                self._front_end.close()
            yield answered
