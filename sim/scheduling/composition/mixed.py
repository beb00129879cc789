"""Everybody together: running requests in order of admission, then waiting ones while seats, budget and blocks last.

vLLM V1 (release 0.33.0, vllm/v1/core/sched/scheduler.py), of which Orca and static batching are other values. While
all that run get what they want, it does not matter in what order they are asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.scheduling.admission import admit
from sim.scheduling.composition.base import Composition
from sim.scheduling.findable import publish
from sim.scheduling.formation.cadence import PrefillCadence
from sim.scheduling.plan import Blocker, Plan
from sim.scheduling.preemption.swap import swap_in
from sim.scheduling.running import run
from sim.scheduling.state import RequestState
from sim.scheduling.walk import walk_running
from sim.specs.base import UNLIMITED

if TYPE_CHECKING:
    from sim.scheduling.core import SchedulerCore


class Mixed(Composition):
    """Decodes and chunks of prompts in one iteration."""

    def __init__(self, core: SchedulerCore) -> None:
        super().__init__(core)
        engine = core.engine
        self._after_preemption = engine.admission_after_preemption
        self._orders_as_run = engine.running_order == "as_run"
        self._threshold = engine.long_prefill_token_threshold
        self._cadence = PrefillCadence(engine.prefill_schedule_interval)

    def form(self, plan: Plan) -> None:
        """Running requests first; nobody is admitted in an iteration that preempted."""
        core, cadence = self._core, self._cadence
        threshold = self._prefill_threshold() if self._threshold else UNLIMITED
        held = cadence.counts and cadence.holds(core.past_prompt)
        budget = self._run(plan, threshold, held)
        if plan.preempted:
            plan.blocked_by = "preemption"
            if self._after_preemption != "nobody":
                self._admit_others(plan, budget)
        else:
            if core.swapped:
                budget = swap_in(core, plan, budget)
            if core.waiting:
                plan.blocked_by = self._admit(plan, budget, threshold, held)
        if self._orders_as_run and (plan.chunks or plan.paused or plan.swapped_in):
            _order_as_run(core, plan)
        if cadence.counts:
            cadence.note(plan, held, len(core.waiting) > 0)

    def _run(self, plan: Plan, threshold: int, held: bool) -> int:
        """Who runs already; returns the budget that is left."""
        core = self._core
        if core.own_texts.overheard:
            publish(core)
            return walk_running(core, plan, threshold, held)
        return run(core, plan, threshold, held)

    def _admit(self, plan: Plan, budget: int, threshold: int, held: bool) -> Blocker | None:
        """Who waits."""
        return admit(self._core, plan, budget, threshold, held)

    def _admit_others(self, plan: Plan, budget: int) -> None:
        """After a preemption: who waited before may start (vLLM V0), or who is first in the queue now (Sarathi).

        Sarathi sees those just preempted as they were: a decode with nothing to compute, which ends the pass, a prompt
        with what was left of it.
        """
        core = self._core
        sets_aside = self._after_preemption == "others" and not core.swapped
        aside = [core.waiting.pop() for _ in plan.preempted] if sets_aside else []
        if core.waiting:
            plan.blocked_by = admit(core, plan, budget, UNLIMITED, held=False)
        for state in reversed(aside):
            core.waiting.push_preempted(state)
        plan.blocked_by = plan.blocked_by or "preemption"

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


def _order_as_run(core: SchedulerCore, plan: Plan) -> None:
    """vLLM V0's list after an iteration with chunks: who did not run, new prompts, decodes, prompts that went on.

    Who was swapped in comes last (vllm/core/scheduler.py `_schedule_chunked_prefill`, release 0.5.5).
    """
    chunked = {chunk.state for chunk in plan.chunks} | set(plan.swapped_in)
    silent = set(plan.paused)
    others = [state for state in core.running if state not in chunked]
    left_out = {
        state: None for state in others if plan.stalled or state in silent or not (state.decoding or state.is_done)
    }
    parts: list[list[RequestState]] = [
        list(left_out),
        [chunk.state for chunk in plan.chunks if chunk.how in ("new", "resumed")],
        [state for state in others if state not in left_out],
        [chunk.state for chunk in plan.chunks if chunk.how == "running"],
        list(plan.swapped_in),
        [chunk.state for chunk in plan.chunks if chunk.how == "swapped"],
    ]
    core.put_first([state for part in parts for state in part])
