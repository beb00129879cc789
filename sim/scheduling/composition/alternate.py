"""Prompts and decodes take turns, each alone (sarathi-serve's simple chunking, commit 96f9911).

sarathi/core/scheduler/simple_chunking_scheduler.py. While a prompt goes on nobody else starts, however little is left
of it. When no prompt runs in their turn, the decodes have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.scheduling.admission import admit
from sim.scheduling.composition.base import Composition
from sim.scheduling.plan import Plan
from sim.scheduling.running import go_on_with_prompts, run
from sim.specs.base import UNLIMITED

if TYPE_CHECKING:
    from sim.scheduling.core import SchedulerCore


class Alternate(Composition):
    """An iteration of prompts, then one of decodes."""

    def __init__(self, core: SchedulerCore) -> None:
        super().__init__(core)
        self._decodes_next = False

    def form(self, plan: Plan) -> None:
        """It is the prompts' turn unless they had the last one."""
        core = self._core
        if not self._decodes_next:
            self._run_prompts(plan)
            if plan.chunks:
                self._decodes_next = True
                return
        if core.waiting:
            plan.blocked_by = plan.blocked_by or "turn"
        run(core, plan, UNLIMITED, held=True)
        plan.passes = self._decodes_next and not plan.decode_requests
        self._decodes_next = False

    def _run_prompts(self, plan: Plan) -> None:
        core = self._core
        plan.stalled = core.decodes.count
        if core.prefilling:
            go_on_with_prompts(core, plan, core.budget)
            plan.blocked_by = "turn" if core.waiting else None
        elif core.waiting:
            plan.blocked_by = admit(core, plan, core.budget, UNLIMITED, held=False)
        if not plan.chunks:
            plan.stalled = 0

    def alike(self, plan: Plan) -> int:
        """As long as nobody can start."""
        return 1 if plan.blocked_by == "turn" else UNLIMITED
