"""vLLM V1's `prefill_schedule_interval`: let decodes run alone for a while between iterations that carry prompts.

A call is *held* when fewer than `interval` executed steps lie between it and the last one that carried prompt tokens,
some running request is past its prompt, and the last admission pass left nobody waiting. A held call runs no prompt
chunk and stops admission at the first request that needs more than one token. One that needs a single token, such as a
prompt found whole in the prefix cache, does not count as a prompt.
"""

from __future__ import annotations

from sim.scheduling.plan import Plan


class PrefillCadence:
    """Remembers the last step that carried prompt tokens; `counts` is false where nothing is ever held."""

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self.counts = interval > 1
        self._steps_since_prefill = interval
        self._left_waiting = False

    def holds(self, past_prompt: int) -> bool:
        """Whether this call must leave prompts alone; so many requests are past theirs."""
        if self._left_waiting or self._steps_since_prefill >= self._interval:
            return False
        return past_prompt > 0

    def note(self, plan: Plan, held: bool, left_waiting: bool) -> None:
        """Take in what the call decided, and whether it left anybody waiting."""
        if not held and not plan.preempted:
            self._left_waiting = left_waiting
        if plan.decode_requests or plan.chunks:
            self._steps_since_prefill += 1
        if plan.prefills:
            self._steps_since_prefill = 1

    def skip(self, iterations: int) -> None:
        """So many more iterations carried no prompt."""
        self._steps_since_prefill += iterations
