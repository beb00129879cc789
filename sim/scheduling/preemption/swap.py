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
    core.swapped.append(victim)


def swap_in(core: SchedulerCore, plan: Plan, budget: int) -> int:
    """Bring back who was swapped out first, while there is room beyond the watermark; returns the budget left.

    Each goes on in the same iteration, and room for one more block is asked for that.
    """
    while core.swapped and len(core.running) < core.seats:
        state = core.swapped[0]
        blocks = core.blocks_held(state, state.computed_tokens)
        tokens = min(state.known_tokens - state.computed_tokens, budget)
        if not tokens or core.pool.free_blocks - blocks - 1 < core.watermark_blocks:
            break
        core.swapped.popleft()
        core.free_host_blocks += blocks
        plan.swapped_in_blocks += blocks
        core.pool.allocate(blocks)
        core.stored_tokens += state.computed_tokens
        core.go_on(plan, state, tokens)
        budget -= tokens
    return budget
