"""Recompute later: blocks go, outputs stay, and the request waits to start again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.scheduling.findable import findable_tokens
from sim.scheduling.plan import Plan
from sim.scheduling.state import RequestState

if TYPE_CHECKING:
    from sim.scheduling.core import SchedulerCore


def preempt(core: SchedulerCore, plan: Plan, victim: RequestState, granted_tokens: int) -> None:
    """As in vLLM, the blocks that the tokens granted would have filled can be found all the same."""
    findable = findable_tokens(core, victim, granted_tokens)
    core.take_out(plan, victim)
    if not victim.is_done:  # its last output is on the way: nothing of it will be computed again
        core.dropped_tokens += victim.computed_tokens
    blocks = core.blocks_held(victim, victim.computed_tokens + granted_tokens)
    core.pool.release(victim, blocks, findable // core.block_size)
    victim.computed_tokens = 0
    core.waiting.push_preempted(victim)
