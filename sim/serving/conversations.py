"""Conversations: a next turn comes when the answer before it is complete and somebody has thought about it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import groupby

from simpy.events import Event

from sim.serving.clock import Clock
from sim.serving.front_end import FrontEnd
from sim.specs.request import Request
from sim.workload.workload import Workload


class Conversations:
    """Sends a workload's turns: first turns by the clock, or from users who hold one conversation after another.

    The front end closes with the last turn.
    """

    def __init__(self, clock: Clock, front_end: FrontEnd, workload: Workload) -> None:
        assert workload.turn_taking is not None
        self._clock = clock
        self._front_end = front_end
        self._turn_taking = workload.turn_taking
        self._conversations = (list(turns) for _, turns in groupby(workload, lambda request: request.session_id))
        self._unsent = len(workload)

    def begin(self) -> None:
        """Let first turns come at their times, or users begin to think."""
        self._front_end.has_users = True
        if self._turn_taking.users is None:
            self._front_end.expect(self._first_turns())
            return
        for _ in range(self._turn_taking.users):
            self._clock.process(self._user())

    def _first_turns(self) -> Iterator[Request]:
        """The timetable. It is read ahead of the clock, so a conversation waits for its first answer in time."""
        for first, *others in self._conversations:
            if others:
                self._clock.process(self._go_on(self._front_end.answer_to(first), others))
            self._count()
            yield first

    def _go_on(self, answered: Event, turns: list[Request]) -> Generator[Event, None, None]:
        """The process of a conversation after its first turn."""
        for request in turns:
            yield answered
            yield self._pause(request)
            answered = self._send(request)

    def _user(self) -> Generator[Event, None, None]:
        """The process of one user."""
        for turns in self._conversations:
            for request in turns:
                yield self._pause(request)
                yield self._send(request)

    def _pause(self, request: Request) -> Event:
        return self._clock.timeout(float(self._turn_taking.pause_s[request.request_id]))

    def _send(self, request: Request) -> Event:
        """A turn arrives now; the event is its answer."""
        request = request._replace(arrival_s=self._clock.now)
        answered = self._front_end.answer_to(request)
        self._front_end.submit(request)
        self._count()
        return answered

    def _count(self) -> None:
        self._unsent -= 1
        if not self._unsent:
            self._front_end.close()
