"""Continuous batching: requests may join every iteration."""

from __future__ import annotations

from collections.abc import Collection

from sim.scheduling.state import RequestState


def may_join(running: Collection[RequestState]) -> bool:
    """Always."""
    return True
