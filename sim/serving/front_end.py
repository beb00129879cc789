"""The front end: where requests enter and the engine learns of them. It holds them until the engine reads its inbox."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence

from simpy.events import Event

from sim.serving.clock import Clock
from sim.serving.recorder import Recorder
from sim.specs.request import Request

TIE_S = 1e-9
"""Arrivals closer than this behind a step boundary count as at it, whatever the rounding of sums of step times."""


class FrontEnd:
    """`submit` takes a request at the current instant; `take` hands over what came since the last call.

    `is_closed` says that no request will come any more. Who wants to know of an answer asks with `answer_to`, who wants
    to know of arrivals sets `on_arrival`.
    """

    def __init__(self, clock: Clock, recorder: Recorder) -> None:
        self._clock = clock
        self._recorder = recorder
        self._inbox: list[Request] = []
        self._bell: Event | None = None
        self._awaited: dict[int, Event] = {}
        self._source: Iterator[Request] = iter(())
        self._upcoming: Request | None = None
        self.on_arrival: Callable[[Request], None] | None = None
        self.is_closed = False

    @property
    def has_listeners(self) -> bool:
        """Whether somebody waits for an answer, and may send a request in the same instant."""
        return bool(self._awaited)

    @property
    def unread(self) -> Sequence[Request]:
        """The requests that have come and were not taken."""
        return self._inbox

    def feed(self, source: Iterator[Request]) -> Generator[Event, None, None]:
        """The process that submits the requests of `source` at their arrival times, then closes."""
        self._source, self._upcoming = source, next(source, None)
        while self._upcoming is not None:
            yield self._clock.at(self._upcoming.arrival_s)
            self._submit_until(self._clock.now)
        self.close()

    def submit(self, request: Request) -> None:
        """A request arrives."""
        self._recorder.on_arrival(request)
        self._inbox.append(request)
        self._ring()
        if self.on_arrival is not None:
            self.on_arrival(request)

    def close(self) -> None:
        """No request will come any more."""
        self.is_closed = True
        self._ring()

    def answer_to(self, request: Request) -> Event:
        """An event that fires when `request` has its whole answer."""
        self._awaited[request.request_id] = self._clock.event()
        return self._awaited[request.request_id]

    def on_finish(self, request: Request) -> None:
        """The engine has answered."""
        answered = self._awaited.pop(request.request_id, None)
        if answered is not None:
            answered.succeed()

    def take(self, until_s: float) -> list[Request]:
        """The requests that came up to and including `until_s` and were not taken yet, in order of arrival."""
        until_s += TIE_S
        if self._upcoming is not None and self._upcoming.arrival_s <= until_s:
            self._submit_until(until_s)
        taken, self._inbox = self._inbox, []
        if taken and taken[-1].arrival_s > until_s:
            self._inbox = [request for request in taken if request.arrival_s > until_s]
            del taken[len(taken) - len(self._inbox) :]
        return taken

    def news(self) -> Event:
        """An event that fires when the next request arrives or the front end closes."""
        if self._bell is None:
            self._bell = self._clock.event()
        return self._bell

    def _submit_until(self, time_s: float) -> None:
        while self._upcoming is not None and self._upcoming.arrival_s <= time_s:
            request, self._upcoming = self._upcoming, next(self._source, None)
            self.submit(request)

    def _ring(self) -> None:
        if self._bell is not None:
            self._bell.succeed()
            self._bell = None
