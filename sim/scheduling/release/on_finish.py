"""A request leaves when its own answer is complete; its seat and blocks serve the next iteration."""

from __future__ import annotations

from collections.abc import Sequence

from sim.scheduling.state import RequestState


def leaving(just_done: list[RequestState], running: Sequence[RequestState]) -> list[RequestState]:
    """Those who have just finished."""
    return just_done
