"""How far the blocks of a running request can be found by others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.scheduling.state import RequestState

if TYPE_CHECKING:
    from sim.scheduling.core import SchedulerCore


def findable_tokens(core: SchedulerCore, state: RequestState, granted_tokens: int = 0) -> int:
    """Tokens of a running request whose full blocks can be found, those that it was granted in this call included.

    Under asynchronous scheduling the iteration before still runs. The output that comes of it is not known; nor was the
    output before that when it was scheduled, so that its block is found only when the request is scheduled again.
    """
    tokens, before = core.computed_tokens(state) + granted_tokens, core.before
    if (
        not core.engine.async_scheduling
        or not (state.decoding or state.is_done)
        or before.stalled
        or state in before.paused
    ):
        return tokens
    decoded = not any(chunk.state is state for chunk in before.chunks)
    return tokens - (granted_tokens > 0 or decoded)


def publish(core: SchedulerCore) -> None:
    """What running requests have said so far can be found, as far as others may look for it."""
    for state in core.running:
        if state.shared_blocks > state.stored_blocks:
            core.pool.store(state, findable_tokens(core, state) // core.block_size)
