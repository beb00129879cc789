"""LightLLM's gate: a request starts if the peak of memory that all together will come to fits.

lightllm/server/router/req_queue and lightllm/server/core/objs/req.py, commit fc72ffab. Of the requests in the order of
who still lasts longest, the first i hold what they hold now, and as much more each as the i-th still adds, when that
one ends: the peak is the largest of these sums.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from typing import NamedTuple

from sim.scheduling.decode_group import DecodeGroup
from sim.scheduling.plan import Blocker
from sim.scheduling.state import RequestState
from sim.specs.engine import EngineSpec

ADDED_OUTPUT_TOKENS = 6
OUTPUT_GROWTH = 1.1


class Seen(NamedTuple):
    """What the gate knows of a request: outputs so far, tokens in memory, and where the answer ends at the latest."""

    prompt_tokens: int
    outputs: int
    stored_tokens: int
    most_outputs: int
    ignores_eos: bool = False


class Decision(NamedTuple):
    """How many of the waiting are let in, the peak with the last of them, and whether the service counts as busy.

    `blocked_by` says what keeps the next one out.
    """

    admitted: int
    peak_tokens: int | None
    is_busy: bool
    blocked_by: Blocker | None = None


class FuturePeak:
    """Decides for one engine."""

    def __init__(self, engine: EngineSpec) -> None:
        self._engine = engine
        self._pool_tokens = engine.usable_blocks * engine.block_size
        self._chunks = engine.enable_chunked_prefill
        self._chunk_tokens = engine.long_prefill_token_threshold

    def decide(self, running: Iterable[Seen], waiting: Iterable[Seen], used_tokens: int) -> Decision:
        """The waiting in their order, up to the first with whom peak, seats or tokens of the step are too many.

        In chunked mode the step is that of all together, else that of the new prompts alone.
        """
        present, is_busy = list(running), self.is_busy(used_tokens)
        lasting = [(-self._to_come(seen, is_busy), _held_next(seen)) for seen in present]
        step_tokens = sum(map(self.next_tokens, present)) if self._chunks else 0
        return self._decide(lasting, step_tokens, waiting, is_busy)

    def decide_when_busy(
        self, running: Iterable[RequestState], others: Iterable[Seen], waiting: Iterable[Seen], decodes: DecodeGroup
    ) -> Decision:
        """The same where it is busy; of `running` those that decode count, and `others` besides."""
        more_tokens = ADDED_OUTPUT_TOKENS + (self._engine.router_max_wait_tokens + 1) * self._chunks
        ticks, present = decodes.ticks, list(others)
        lasting = [
            (-(more if more > ADDED_OUTPUT_TOKENS else ADDED_OUTPUT_TOKENS), computed + 2)
            for state in running
            if state.decoding
            for computed in [state.offset_tokens + ticks]
            for more in [state.limit_tokens - computed - 2 + more_tokens]
        ]
        lasting += [(-self._to_come(seen, is_busy=True), _held_next(seen)) for seen in present]
        step_tokens = decodes.count + sum(map(self.next_tokens, present)) if self._chunks else 0
        return self._decide(lasting, step_tokens, waiting, is_busy=True)

    def is_busy(self, used_tokens: int) -> bool:
        """Whether the worst is expected of every request."""
        return used_tokens / self._pool_tokens >= self._engine.router_token_ratio

    def _decide(
        self, lasting: list[tuple[int, int]], step_tokens: int, waiting: Iterable[Seen], is_busy: bool
    ) -> Decision:
        engine, admitted, peak_tokens = self._engine, 0, None
        lasting.sort()
        for seen in waiting:
            insort(lasting, (-self._to_come(seen, is_busy), _held_next(seen)))
            step_tokens += self.next_tokens(seen)
            peak = _peak(lasting)
            blocked_by: Blocker | None = None
            if peak >= self._pool_tokens:
                blocked_by = "kv blocks"
            elif len(lasting) > engine.max_num_seqs:
                blocked_by = "seats"
            elif engine.max_num_batched_tokens is not None and step_tokens > engine.max_num_batched_tokens:
                blocked_by = "token budget"
            if blocked_by:
                return Decision(admitted, peak_tokens, is_busy, blocked_by)
            admitted, peak_tokens = admitted + 1, peak
        return Decision(admitted, peak_tokens, is_busy)

    def next_tokens(self, seen: Seen) -> int:
        """Tokens of a request in its next step: what is not in memory, in chunked mode at most a chunk."""
        tokens = seen.prompt_tokens + seen.outputs - seen.stored_tokens
        return min(tokens, self._chunk_tokens) if self._chunks else tokens

    def _to_come(self, seen: Seen, is_busy: bool) -> int:
        """Tokens that a request may still add. Unless it is busy a long answer is not expected before it is seen.

        In chunked mode every chunk that is left counts as the decodes that may come between.
        """
        engine, most = self._engine, seen.most_outputs
        if not is_busy and not seen.ignores_eos:
            most = min(most, max(int(OUTPUT_GROWTH * seen.outputs), engine.router_max_new_token_len))
        tokens = most - seen.outputs - 1
        if self._chunks:
            chunks = -(-(seen.prompt_tokens + seen.outputs - seen.stored_tokens) // self._chunk_tokens)
            tokens += chunks * (engine.router_max_wait_tokens + 1)
        return max(0, tokens) + ADDED_OUTPUT_TOKENS


def _held_next(seen: Seen) -> int:
    """Tokens in memory after the next step."""
    return max(seen.prompt_tokens + seen.outputs + 1, seen.stored_tokens + 1)


def _peak(lasting: list[tuple[int, int]]) -> int:
    """Of requests as (minus tokens to come, tokens held), those that last longest first."""
    held = peak = 0
    for count, (to_come, tokens) in enumerate(lasting, start=1):
        held += tokens
        if held - to_come * count > peak:
            peak = held - to_come * count
    return peak
