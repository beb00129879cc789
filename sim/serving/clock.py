"""The clock: SimPy's environment with four additions."""

from __future__ import annotations

import signal
import threading
from heapq import heappush
from types import FrameType

import simpy
from simpy.core import EmptySchedule
from simpy.events import NORMAL, Event, EventPriority

AFTER_EVERYTHING = EventPriority(2)
"""Sorts behind SimPy's own events (URGENT 0, NORMAL 1) of the same instant."""


class Clock(simpy.Environment):
    """Counts events, waits for a time or until an instant has settled, and stops between events on Ctrl-C."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduled_events = 0

    def schedule(self, event: Event, priority: EventPriority = NORMAL, delay: float = 0) -> None:
        """Queue `event`, as SimPy does."""
        self.scheduled_events += 1
        super().schedule(event, priority, delay)

    def at(self, time_s: float) -> Event:
        """An event at exactly `time_s`: SimPy's own now + (time_s - now) may round to another number."""
        event = self._succeeded()
        self.scheduled_events += 1
        heappush(self._queue, (time_s, NORMAL, next(self._eid), event))
        return event

    def settle(self) -> Event:
        """An event behind all others of this instant.

        An engine forms its next batch only then, so a request that arrives exactly at a step boundary is in it.
        """
        event = self._succeeded()
        self.schedule(event, AFTER_EVERYTHING)
        return event

    def _succeeded(self) -> Event:
        event = Event(self)
        event._ok, event._value = True, None
        return event

    def run_to_the_end(self) -> bool:
        """Process events until none are left, or until Ctrl-C; returns whether it was Ctrl-C.

        An interrupt takes effect between two events, so nothing is left half done. A second one is not held back.
        """
        interrupted = False

        def stop_soon(number: int, frame: FrameType | None) -> None:
            nonlocal interrupted
            interrupted = True
            signal.signal(signal.SIGINT, previous)

        previous = signal.getsignal(signal.SIGINT)
        may_catch = threading.current_thread() is threading.main_thread() and previous is signal.default_int_handler
        if may_catch:
            signal.signal(signal.SIGINT, stop_soon)
        try:
            while not interrupted:
                self.step()
        except EmptySchedule:
            pass
        finally:
            if may_catch:
                signal.signal(signal.SIGINT, previous)
        return interrupted
