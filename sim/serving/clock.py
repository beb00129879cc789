"""The clock: SimPy's environment with six additions."""

from __future__ import annotations

import signal
import threading
from heapq import heappop, heappush
from math import inf
from types import FrameType

import simpy
from simpy.events import NORMAL, Event, EventPriority

AFTER_EVERYTHING = EventPriority(2)
"""Sorts behind SimPy's own events (URGENT 0, NORMAL 1) of the same instant."""


class Clock(simpy.Environment):
    """Counts events, waits for a time or until an instant has settled, moves an event forward, stops on Ctrl-C."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduled_events = 0
        self._interrupted = False

    def schedule(self, event: Event, priority: EventPriority = NORMAL, delay: float = 0) -> None:
        """Queue `event`, as SimPy does."""
        self.scheduled_events += 1
        super().schedule(event, priority, delay)

    def at(self, time_s: float) -> Event:
        """An event at exactly `time_s`, which SimPy's now + (time_s - now) may not be; now if that has passed.

        At infinity it waits to be brought forward.
        """
        event = Event(self)
        event._ok, event._value = True, None
        if time_s < inf:
            self.scheduled_events += 1
            heappush(self._queue, (time_s if time_s > self._now else self._now, NORMAL, next(self._eid), event))
        return event

    def pass_until(self, time_s: float) -> bool:
        """Let it be `time_s`, without an event, if nothing else is to happen until then; returns whether it is."""
        if self._interrupted or (self._queue and self._queue[0][0] <= time_s):
            return False
        if time_s > self._now:
            self._now = time_s
        return True

    def bring_forward(self, event: Event, time_s: float) -> None:
        """Let an event from `at` happen at `time_s` or, if that has just passed, now, and not at its later time."""
        self.scheduled_events += 1
        heappush(self._queue, (max(time_s, self._now), NORMAL, next(self._eid), event))

    def settle(self, within_s: float) -> Event:
        """An event behind all others of this instant, and of so much after it.

        An engine forms its next batch only then, so a request that arrives exactly at a step boundary is in it.
        """
        event = Event(self)
        event._ok, event._value = True, None
        self.schedule(event, AFTER_EVERYTHING, within_s)
        return event

    def run_to_the_end(self) -> bool:
        """Process events until none are left, or until Ctrl-C; returns whether it was Ctrl-C.

        An interrupt takes effect between two events, so nothing is left half done. A second one is not held back.
        """

        def stop_soon(number: int, frame: FrameType | None) -> None:
            self._interrupted = True
            signal.signal(signal.SIGINT, previous)

        previous = signal.getsignal(signal.SIGINT)
        may_catch = threading.current_thread() is threading.main_thread() and previous is signal.default_int_handler
        if may_catch:
            signal.signal(signal.SIGINT, stop_soon)
        try:
            while self._queue and not self._interrupted:
                self._now, _, _, event = heappop(self._queue)
                callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
                for callback in callbacks or ():  # none are left of an event that was brought forward
                    callback(event)
                if not event._ok and not event.defused:
                    raise event._value
        finally:
            if may_catch:
                signal.signal(signal.SIGINT, previous)
        return self._interrupted
