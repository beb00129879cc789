"""The front end: where requests enter and the engine learns of them. It holds them until the engine reads its inbox."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from math import inf

from simpy.events import Event

from sim.scheduling.state import RequestState
from sim.serving.clock import Clock
from sim.specs.request import Request

TIE_S = 1e-9
"""Arrivals closer than this behind a step boundary count as at it, whatever the rounding of sums of step times."""

KNOWN_AHEAD = 64
"""Requests read from the timetable at once."""


class FrontEnd:
    """Requests come of a timetable, known ahead and so without an event each, or from users who `submit` them.

    `take` hands over what has come since the last call, `coming` shows what will. `next_arrival_s` is that of the
    timetable's next request. Who wants to know of an answer asks with `answer_to`, so that the front end
    `hears_answers`; who wants to know of submitted requests sets `on_arrival`. `has_users` says that somebody may still
    submit, `selects` that not everybody may be served (`sim.serving.admission`).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timetable: Iterator[Request] = iter(())
        self._upcoming: deque[Request] = deque()
        self._submitted: deque[Request] = deque()
        self._bell: Event | None = None
        self._awaited: dict[int, Event] = {}
        self.hears_answers = False
        self.selects = False
        self.next_arrival_s = inf
        self.on_arrival: Callable[[Request], None] | None = None
        self.has_users = False

    @property
    def is_closed(self) -> bool:
        """Whether no request will come any more."""
        return not self.has_users and self.next_arrival_s == inf

    def expect(self, timetable: Iterator[Request]) -> None:
        """Requests that arrive at known times, in their order."""
        self._timetable = timetable
        if self._look_ahead():
            self.next_arrival_s = self._upcoming[0].arrival_s

    def submit(self, request: Request) -> None:
        """A request arrives now."""
        self._submitted.append(request)
        self._ring()
        if self.on_arrival is not None:
            self.on_arrival(request)

    def close(self) -> None:
        """Nobody will submit any more."""
        self.has_users = False
        self._ring()

    def answer_to(self, request: Request) -> Event:
        """An event that fires when `request` has its whole answer."""
        self.hears_answers = True
        self._awaited[request.request_id] = self._clock.event()
        return self._awaited[request.request_id]

    def on_finish(self, request: Request) -> None:
        """The engine has answered."""
        answered = self._awaited.pop(request.request_id, None)
        if answered is not None:
            answered.succeed()

    def has_news(self, until_s: float) -> bool:
        """Whether `take` would find anything."""
        return self.next_arrival_s <= until_s + TIE_S or len(self._submitted) > 0

    def take(self, until_s: float) -> list[Request]:
        """The requests that came up to and including `until_s` and were not taken yet, in order of arrival."""
        until_s += TIE_S
        taken: list[Request] = []
        upcoming = self._upcoming
        while self.next_arrival_s <= until_s:
            taken.append(upcoming.popleft())
            self.next_arrival_s = upcoming[0].arrival_s if upcoming or self._look_ahead() else inf
        if self._submitted:
            while self._submitted and self._submitted[0].arrival_s <= until_s:
                taken.append(self._submitted.popleft())
            taken.sort(key=lambda request: request.arrival_s)
        return taken

    def on_queued(self, states: Sequence[RequestState]) -> None:
        """The core knows requests that were taken; of interest to front ends that select."""

    def next_deadline_s(self) -> float:
        """When the next one who waits leaves if he is not scheduled before; nobody does here."""
        return inf

    def coming(self, until_s: float) -> Iterator[Request]:
        """The requests that came and were not taken, and those that the timetable has up to `until_s`."""
        yield from self._submitted
        for place in count():
            if place == len(self._upcoming) and not self._look_ahead():
                return
            if self._upcoming[place].arrival_s > until_s:
                return
            yield self._upcoming[place]

    def news(self) -> Event:
        """An event that fires when the next request arrives or the front end closes."""
        if self._bell is None or self._bell.processed:
            self._bell = self._clock.at(self.next_arrival_s)
        return self._bell

    def _look_ahead(self) -> bool:
        """Read some more requests from the timetable; false when there are none."""
        known = len(self._upcoming)
        self._upcoming.extend(islice(self._timetable, KNOWN_AHEAD))
        return len(self._upcoming) > known

    def _ring(self) -> None:
        if self._bell is not None and not self._bell.processed:
            self._clock.bring_forward(self._bell, self._clock.now)
            self._bell = None
