"""The running list, one by one in order of admission: what happens when tokens or blocks do not suffice for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.scheduling.plan import Plan
from sim.scheduling.state import RequestState

if TYPE_CHECKING:
    from sim.scheduling.core import SchedulerCore

Grants = dict[RequestState, tuple[int, int]]
"""Tokens and new blocks by request, in order of admission."""


def walk_running(core: SchedulerCore, plan: Plan, threshold: int, held: bool) -> int:
    """Give every running request its tokens in order of admission; returns the budget that is left."""
    grants, budget = _grants(core, plan, threshold, held)
    prompts = [(state, granted) for state, granted in grants.items() if not state.decoding]
    _run_decodes(core, plan, grants)
    for state, (tokens, new_blocks) in prompts:
        core.compute(plan, state, "running", tokens, new_blocks)
    return budget


def make_room(core: SchedulerCore, plan: Plan, needed_blocks: int) -> int:
    """What the walk comes to when all decode and the last admitted gives way; returns the blocks needed in the end.

    Blocks go to the first who need one while there are any. Then the last goes, who has not had his turn, and so on.
    """
    while needed_blocks > core.pool.free_blocks:
        needed_blocks -= core.pool.free_blocks
        core.pool.allocate(core.pool.free_blocks)
        victim = core.waiting.victim(core.running)
        if victim.decoding:
            needed_blocks -= core.new_blocks(victim, 1)
        core.preempt(plan, victim, 0)
    return needed_blocks


def _grants(core: SchedulerCore, plan: Plan, threshold: int, held: bool) -> tuple[Grants, int]:
    """Who gets what, and the budget that is left. Blocks are taken at once, so before those of a later victim are free.

    A request that finds no block preempts the order's victim, perhaps itself, until there is one. A victim that was
    already given tokens returns them.
    """
    grants: Grants = {}
    budget = core.budget
    for state in list(core.running):
        if budget <= 0:
            break
        tokens = _tokens_wanted(state, threshold, budget, held)
        if not tokens or state not in core.running:
            continue
        needed = core.new_blocks(state, tokens)
        spare = core.spare_blocks if state.decoding or core.spares_for_prompts else 0
        while max(needed, spare) > core.pool.free_blocks:
            victim = core.waiting.victim(core.running)
            returned_tokens, _ = grants.pop(victim, (0, 0))
            budget += returned_tokens
            core.preempt(plan, victim, returned_tokens)
            if victim is state:
                break
        else:
            core.take_blocks(state, tokens, needed)
            plan.prefills |= not state.decoding
            grants[state] = tokens, needed
            budget -= tokens
    return grants, budget


def _run_decodes(core: SchedulerCore, plan: Plan, grants: Grants) -> None:
    """Decodes that were granted their token run; those left without budget pause."""
    decoding = sum(state.decoding for state in grants)
    if not decoding:
        plan.stalled = core.decodes.count
    elif decoding < core.decodes.count:
        plan.paused = [state for state in core.running if state.decoding and state not in grants]
    if decoding:
        for state in plan.paused:
            core.decodes.pause(state)
        core.decode_all(plan)


def _tokens_wanted(state: RequestState, threshold: int, budget: int, held: bool) -> int:
    """Tokens that a running request would compute now: a decode one, a prompt what threshold and budget allow."""
    if state.decoding:
        return 1
    if held or state.is_done:
        return 0
    return min(state.known_tokens - state.computed_tokens, threshold, budget)
