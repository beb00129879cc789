"""A front end at which not everybody is served."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from sim.scheduling.state import RequestState
from sim.serving.admission.limit import ConcurrencyLimit
from sim.serving.admission.patience import Patience
from sim.serving.clock import Clock
from sim.serving.front_end import TIE_S, FrontEnd
from sim.serving.recorder import Recorder
from sim.specs.request import Request


class AdmissionControl(FrontEnd):
    """Refuses requests at a limit, and lets those go whose patience ends, where there is the one or the other.

    What happened since the inbox was last read is settled when it is read, in the order in which it happened: at equal
    times answers first, then departures, then arrivals.
    """

    def __init__(
        self, clock: Clock, recorder: Recorder, limit: ConcurrencyLimit | None, patience: Patience | None
    ) -> None:
        super().__init__(clock)
        self.selects = True
        self.hears_answers = limit is not None
        self._recorder = recorder
        self._limit = limit
        self._patience = patience
        self._unqueued: list[tuple[Request, float]] = []

    def next_deadline_s(self) -> float:
        """When the patience of the next one who waits ends."""
        return inf if self._patience is None else self._patience.next_deadline_s()

    def has_news(self, until_s: float) -> bool:
        """Whether somebody has come, or left."""
        return super().has_news(until_s) or self.next_deadline_s() <= until_s + TIE_S

    def take(self, until_s: float) -> list[Request]:
        """The requests that came by then and were let in, also those that have left again."""
        admitted = []
        for request in super().take(until_s):
            self._let_go(request.arrival_s)
            if self._limit is not None and not self._limit.lets_in(request.arrival_s + TIE_S):
                self._recorder.on_refused(request)
                continue
            admitted.append(request)
            if self._patience is not None:
                self._patience.join(request)
        self._let_go(until_s)
        return admitted

    def on_queued(self, states: Sequence[RequestState]) -> None:
        """The core knows those that were taken."""
        if self._patience is not None:
            for state in states:
                self._patience.queued(state)
        for request, left_s in self._unqueued:
            self._recorder.on_abandoned(request, left_s)
        self._unqueued.clear()

    def on_finish(self, request: Request) -> None:
        """A request has its answer: there is room for another."""
        if self._limit is not None:
            self._limit.on_leaving(self._clock.now)

    def _let_go(self, until_s: float) -> None:
        if self._patience is None:
            return
        for request, left_s in self._patience.losses(until_s + TIE_S):
            self._unqueued.append((request, left_s))
            if self._limit is not None:
                self._limit.on_leaving(left_s)
