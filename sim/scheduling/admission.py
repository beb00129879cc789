"""The waiting queue: who of it starts in an iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.scheduling.plan import Blocker, Plan
from sim.scheduling.prefix_cache import NOTHING_FOUND

if TYPE_CHECKING:
    from sim.scheduling.core import SchedulerCore


def admit(core: SchedulerCore, plan: Plan, budget: int, threshold: int, held: bool) -> Blocker | None:
    """Start waiting requests in their order; the first that cannot start ends the pass, and why is returned."""
    if not core.may_join(core.running):
        return "batch not over"
    waiting, running, pool, hit = core.waiting, core.running, core.pool, NOTHING_FOUND
    while waiting:
        state = waiting.head()
        if core.caches:
            hit = pool.find(state)
        wanted = state.known_tokens - hit.blocks * core.block_size
        uncut = wanted if wanted < threshold else threshold
        if plan.preempted:
            uncut = min(uncut, plan.preempted.get(state, uncut))
        tokens = uncut if uncut < budget else budget
        if tokens == 0 or (tokens < uncut and not core.engine.enable_chunked_prefill):
            return "token budget"
        if len(running) >= core.seats:
            return "seats"
        if held and wanted > 1:
            return "prefill cadence"
        if core.blocks_to_admit(state, tokens, hit) > pool.free_blocks:
            return "kv blocks"
        waiting.pop()
        core.start(plan, state, tokens, hit)
        budget -= tokens
    return None
