"""The front end: where requests enter and the engine learns of them. It holds them until the engine reads its inbox."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from simpy.events import Event

from sim.serving.clock import Clock
from sim.serving.recorder import Recorder
from sim.specs.request import Request


class FrontEnd:
    """`submit` takes a request at the current instant; `take_all` hands over what came since the last call.

    `is_closed` says that no request will come any more. Who wants to know of an answer asks with `answer_to`.
    """

    def __init__(self, clock: Clock, recorder: Recorder) -> None:
        self._clock = clock
        self._recorder = recorder
        self._inbox: list[Request] = []
        self._bell: Event | None = None
        self._awaited: dict[int, Event] = {}
        self.is_closed = False

    def feed(self, source: Iterable[Request]) -> Generator[Event, None, None]:
        """The process that submits the requests of `source` at their arrival times, then closes."""
        for request in source:
            if request.arrival_s > self._clock.now:
                yield self._clock.at(request.arrival_s)
            self.submit(request)
        self.close()

    def submit(self, request: Request) -> None:
        """A request arrives."""
        self._recorder.on_arrival(request)
        self._inbox.append(request)
        self._ring()

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

    def take_all(self) -> list[Request]:
        """The requests that came since the last call, in order of arrival."""
        taken, self._inbox = self._inbox, []
        return taken

    def news(self) -> Event:
        """An event that fires when the next request arrives or the front end closes."""
        if self._bell is None:
            self._bell = self._clock.event()
        return self._bell

    def _ring(self) -> None:
        if self._bell is not None:
            self._bell.succeed()
            self._bell = None
