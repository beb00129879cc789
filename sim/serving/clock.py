"""The clock: SimPy's environment with two additions."""

from __future__ import annotations

import simpy
from simpy.events import NORMAL, Event, EventPriority

AFTER_EVERYTHING = EventPriority(2)
"""Sorts behind SimPy's own events (URGENT 0, NORMAL 1) of the same instant."""


class Clock(simpy.Environment):
    """Counts the events it schedules, and can wait until an instant has settled."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduled_events = 0

    def schedule(self, event: Event, priority: EventPriority = NORMAL, delay: float = 0) -> None:
        """Queue `event`, as SimPy does."""
        self.scheduled_events += 1
        super().schedule(event, priority, delay)

    def settle(self) -> Event:
        """An event behind all others of this instant.

        An engine forms its next batch only then, so a request that arrives exactly at a step boundary is in it.
        """
        event = Event(self)
        event._ok, event._value = True, None
        self.schedule(event, AFTER_EVERYTHING)
        return event
