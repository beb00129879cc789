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
    prompts = [(state, tokens) for state, (tokens, _) in grants.items() if not state.decoding]
    _run_decodes(core, plan, grants)
    for state, tokens in prompts:
        core.compute(plan, state, "running", tokens)
    return budget


def _grants(core: SchedulerCore, plan: Plan, threshold: int, held: bool) -> tuple[Grants, int]:
    """Who gets what, and the budget that is left.

    A request that finds no block preempts the order's victim, perhaps itself, until there is one. A victim that was
    already given tokens returns them.
    """
    grants: Grants = {}
    budget, promised_blocks = core.budget, 0
    for state in list(core.running):
        if budget <= 0:
            break
        tokens = core.tokens_wanted(state, threshold, budget, held)
        if not tokens or state not in core.running:
            continue
        needed = core.new_blocks(state, tokens)
        while needed > core.pool.free_blocks - promised_blocks:
            victim = core.waiting.victim(core.running)
            returned_tokens, returned_blocks = grants.pop(victim, (0, 0))
            budget, promised_blocks = budget + returned_tokens, promised_blocks - returned_blocks
            core.preempt(plan, victim)
            if victim is state:
                break
        else:
            grants[state] = tokens, needed
            budget, promised_blocks = budget - tokens, promised_blocks + needed
    return grants, budget


def _run_decodes(core: SchedulerCore, plan: Plan, grants: Grants) -> None:
    """Decodes that were granted their token run; those left without budget pause."""
    growth = [blocks for state, (_, blocks) in grants.items() if state.decoding]
    if not growth:
        return
    if len(growth) < core.decodes.count:
        plan.paused = [state for state in core.running if state.decoding and state not in grants]
        for state in plan.paused:
            core.decodes.pause(state)
    core.decode_all(plan, sum(growth))
