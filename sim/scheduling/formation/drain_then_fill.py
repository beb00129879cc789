"""Request-level (static) batching: nobody joins until everybody has left."""

from __future__ import annotations

from collections.abc import Collection

from sim.scheduling.state import RequestState


def may_join(running: Collection[RequestState]) -> bool:
    """Only into an empty engine."""
    return not running
