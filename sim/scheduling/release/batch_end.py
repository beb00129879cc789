"""All members leave when the last has finished (FasterTransformer): until then a finished one keeps its padded slot."""

from __future__ import annotations

from sim.scheduling.state import RequestState


def leaving(done: list[RequestState], others_go_on: bool) -> list[RequestState]:
    """Everybody, once everybody is done."""
    return [] if others_go_on else done
