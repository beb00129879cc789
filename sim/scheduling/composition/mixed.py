"""Everybody together: running requests in order of admission, then waiting ones while seats, budget and blocks last.

vLLM V1 (release 0.33.0, vllm/v1/core/sched/scheduler.py), of which Orca and static batching are other values. While
all that run get what they want, it does not matter in what order they are asked.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from sim.scheduling.admission import admit
from sim.scheduling.findable import publish
from sim.scheduling.formation.cadence import PrefillCadence
from sim.scheduling.plan import Plan
from sim.scheduling.walk import make_room, walk_running

if TYPE_CHECKING:
    from sim.scheduling.core import SchedulerCore

UNLIMITED = 2**62


class Mixed:
    """Decodes and chunks of prompts in one iteration."""

    def __init__(self, core: SchedulerCore) -> None:
        engine = core.engine
        self._core = core
        self._threshold = engine.long_prefill_token_threshold
        self._cadence = PrefillCadence(engine.prefill_schedule_interval)

    def form(self, plan: Plan) -> None:
        """Running requests first; nobody is admitted in an iteration that preempted."""
        core, cadence = self._core, self._cadence
        threshold = self._prefill_threshold() if self._threshold else UNLIMITED
        held = cadence.counts and cadence.holds(core.past_prompt)
        budget = None
        if core.own_texts.overheard:
            publish(core)
        else:
            budget = _run_everybody(core, plan, threshold, held)
        if budget is None:
            budget = walk_running(core, plan, threshold, held)
        if plan.preempted:
            plan.blocked_by = "preemption"
        elif core.waiting:
            plan.blocked_by = admit(core, plan, budget, threshold, held)
        if cadence.counts:
            cadence.note(plan, held, len(core.waiting) > 0)

    def alike(self, plan: Plan) -> int:
        """Without end, but that the cadence lets waiting prompts in after a while."""
        return 1 if self._cadence.counts and self._core.waiting else UNLIMITED

    def repeated(self, more: int) -> None:
        """The cadence counts them."""
        if self._cadence.counts:
            self._cadence.skip(more)

    def _prefill_threshold(self) -> int:
        """Tokens one request may compute in an iteration; lifted for a request that is alone."""
        core, threshold = self._core, self._threshold
        present = len(core.running) + len(core.waiting)
        if present <= 1:
            return UNLIMITED
        if core.engine.long_prefill_token_threshold_adaptive and core.engine.max_num_batched_tokens:
            return max(threshold, core.engine.max_num_batched_tokens // present)
        return threshold


def _run_everybody(core: SchedulerCore, plan: Plan, threshold: int, held: bool) -> int | None:
    """Give all running requests the tokens they want, and return the budget that is left.

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
    if budget < 0 or free < 0:
        if budget < 0 or core.prefilling or not core.waiting.last_admitted_gives_way:
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
