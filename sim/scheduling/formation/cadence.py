"""vLLM V1's `prefill_schedule_interval`: let decodes run alone for a while between iterations that carry prompts.

A call is *held* when fewer than `interval` executed steps lie between it and the last one that carried prompt tokens,
some running request is already decoding, and the last admission pass left nobody waiting. A held call runs no prompt
chunk and stops admission at the first request that needs more than one token.
"""

from __future__ import annotations

from collections.abc import Sequence

from sim.scheduling.plan import Plan
from sim.scheduling.state import RequestState


class PrefillCadence:
    """Remembers the last step that carried prompt tokens."""

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._steps_since_prefill = interval
        self._left_waiting = False

    def holds(self, running: Sequence[RequestState]) -> bool:
        """Whether this call must leave prompts alone."""
        if self._interval == 1 or self._left_waiting or self._steps_since_prefill >= self._interval:
            return False
        return any(state.is_decoding and not state.is_done for state in running)

    def note(self, plan: Plan, held: bool, left_waiting: bool) -> None:
        """Take in what the call decided; `left_waiting` says whether requests wait after an admission pass."""
        if not held and not plan.preempted:
            self._left_waiting = left_waiting
        if plan.scheduled:
            carried_prefill = any(part.start < part.state.request.prompt_tokens for part in plan.scheduled)
            self._steps_since_prefill = 1 if carried_prefill else self._steps_since_prefill + 1
