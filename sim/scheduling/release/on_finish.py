"""A request leaves when its own answer is complete; its seat and blocks serve the next iteration."""

from __future__ import annotations

from sim.scheduling.state import RequestState


def leaving(done: list[RequestState], others_go_on: bool) -> list[RequestState]:
    """Whoever is done."""
    return done
