"""Continuous batching: requests may join every iteration."""

from __future__ import annotations

from collections.abc import Sequence

from sim.scheduling.state import RequestState


def may_join(running: Sequence[RequestState]) -> bool:
    """Always."""
    return True
