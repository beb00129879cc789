"""Swap: blocks move to the host, and back when there is room; nothing is computed again (vLLM V0).

vllm/core/scheduler.py `_schedule_swapped`, vllm/core/block_manager_v1.py `can_swap_in`, release 0.5.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.errors import InputError
from sim.scheduling.plan import Plan
from sim.scheduling.state import RequestState

if TYPE_CHECKING:
    from sim.scheduling.core import SchedulerCore


def preempt(core: SchedulerCore, plan: Plan, victim: RequestState, granted_tokens: int) -> None:
    """Its blocks go to the host; raises InputError when that has no room for them, as the real engine dies of it."""
    was_decoding = victim.decoding
    core.take_out(plan, victim)
    blocks = core.blocks_held(victim, victim.computed_tokens)
    if blocks > core.free_host_blocks:
        raise InputError(
            f"engine.num_cpu_blocks: {core.engine.num_cpu_blocks} are too few: {blocks} blocks are to be swapped out "
            f"and {core.free_host_blocks} are free; raise it (swap_space), or set preemption_mode to recompute"
        )
    core.free_host_blocks -= blocks
    plan.swapped_out_blocks += blocks
    core.pool.release(victim, blocks, 0)
    core.swapped[victim] = was_decoding


def swap_in(core: SchedulerCore, plan: Plan, budget: int) -> int:
    """Bring back who was swapped out first, while there is room beyond the watermark; returns the budget left.

    Each goes on in the same iteration, for which room for one more block is asked, and of a prompt the budget for all
    that is left of it: nobody cuts it into chunks here.
    """
    while core.swapped and len(core.running) < core.seats:
        state = next(iter(core.swapped))
        blocks = core.blocks_held(state, state.computed_tokens)
        tokens = state.known_tokens - state.computed_tokens
        if tokens > budget or core.pool.free_blocks - blocks - 1 < core.watermark_blocks:
            break
        was_decoding = core.swapped.pop(state)
        core.free_host_blocks += blocks
        plan.swapped_in_blocks += blocks
        core.pool.allocate(blocks)
        core.stored_tokens += state.computed_tokens
        core.come_back(plan, state, tokens, was_decoding)
        budget -= tokens
    return budget
