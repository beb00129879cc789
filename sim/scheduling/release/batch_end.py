"""All members leave when the last has finished (FasterTransformer): until then a finished one keeps its padded slot."""

from __future__ import annotations

from collections.abc import Sequence

from sim.scheduling.state import RequestState


def leaving(just_done: list[RequestState], running: Sequence[RequestState]) -> list[RequestState]:
    """Everybody, once everybody is done."""
    return list(running) if all(state.is_done for state in running) else []
