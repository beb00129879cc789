"""Prompts first and alone: decodes wait while any prompt can start (vLLM V0, vllm/core/scheduler.py, release 0.5.5)."""

from __future__ import annotations

from sim.scheduling.admission import admit
from sim.scheduling.composition.base import Composition
from sim.scheduling.plan import Plan
from sim.scheduling.preemption.swap import swap_in
from sim.scheduling.running import run
from sim.specs.base import UNLIMITED


class PrefillFirst(Composition):
    """An iteration of prompts if one can start, else an iteration of decodes."""

    def form(self, plan: Plan) -> None:
        """Who was swapped out comes back before anybody new starts."""
        core, decodes = self._core, self._core.decodes.count
        if core.waiting and not core.swapped:
            plan.blocked_by = admit(core, plan, core.budget, UNLIMITED, held=False)
        if plan.chunks:
            plan.stalled = decodes
            return
        budget = run(core, plan, UNLIMITED, held=False)
        if core.swapped:
            if not plan.preempted:
                swap_in(core, plan, budget)
            plan.blocked_by = "kv blocks" if core.waiting else None
