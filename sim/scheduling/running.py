"""The running list: all get the tokens they want at once, unless `walk.py` has to ask them one by one."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from sim.scheduling.plan import Plan
from sim.scheduling.walk import make_room, walk_running

if TYPE_CHECKING:
    from sim.scheduling.core import SchedulerCore


def run(core: SchedulerCore, plan: Plan, threshold: int, held: bool) -> int:
    """Give running requests their tokens, no prompt more than `threshold`, or none where prompts are `held`.

    Returns what is left of the token budget.
    """
    budget = run_at_once(core, plan, threshold, held)
    return walk_running(core, plan, threshold, held) if budget is None else budget


def go_on_with_prompts(core: SchedulerCore, plan: Plan, budget: int) -> int:
    """Prompts that have begun get their next chunk, in order of admission; returns the budget that is left."""
    for state in list(core.prefilling):
        tokens = min(state.known_tokens - state.computed_tokens, budget)
        if tokens:
            core.go_on(plan, state, tokens)
            budget -= tokens
    return budget


def run_at_once(core: SchedulerCore, plan: Plan, threshold: int, held: bool) -> int | None:
    """Everybody gets all; returns the budget that is left.

    When only decodes run and blocks do not suffice, the last admitted make room. Changes nothing and returns None
    when the running list's order decides otherwise who goes short of blocks or budget.
    """
    decodes, growth = core.decodes, core.decodes.blocks_in_next_tick()
    budget, free = core.budget - decodes.count, core.pool.free_blocks - growth
    grants = []
    if core.prefilling and not held:
        for state in core.prefilling:
            wanted = min(state.known_tokens - state.computed_tokens, threshold)
            tokens = min(wanted, max(budget, 0))
            if tokens < wanted and not _prompts_come_last(core):
                return None
            if tokens:
                new_blocks = core.new_blocks(state, tokens)
                grants.append((state, tokens, new_blocks))
                budget -= tokens
                free -= new_blocks
    if budget < 0 or free < core.spare_blocks:
        if budget < 0 or core.prefilling or not core.makes_room_at_once:
            return None
        growth = make_room(core, plan, growth)
        budget = core.budget - decodes.count
    if decodes.count:
        if growth:
            core.pool.allocate(growth)
        core.decode_all(plan)
    for state, tokens, new_blocks in grants:
        core.take_blocks(state, tokens, new_blocks)
        core.compute(plan, state, "running", tokens, new_blocks)
    return budget


def _prompts_come_last(core: SchedulerCore) -> bool:
    """Whether all that decode stand before all that do not, so that decodes are served first."""
    last = islice(reversed(core.running), len(core.prefilling))
    return not any(state.decoding for state in last)
