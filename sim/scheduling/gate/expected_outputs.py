"""SGLang's gate: a prompt starts if what those that decode are expected to need leaves room for all it may need.

python/sglang/srt/managers/schedule_policy.py `PrefillAdder`, mem_cache/prefill_budget.py and
scheduler_components/new_token_ratio_tracker.py, release 0.5.23. Of the outputs that a decode may still have, a share is
expected: it starts at 0.7 times the conservativeness and falls to 0.14 of that within 600 iterations of decodes. A
retraction sets it to what those that stay were found to need, and some more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sim.scheduling.decode_group import DecodeGroup
from sim.scheduling.state import RequestState
from sim.specs.engine import EngineSpec

FIRST_RATIO, LEAST_SHARE, DECAY_ITERATIONS = 0.7, 0.14, 600
MORE_OUTPUTS_AFTER_RETRACTION = 20
MOST_EXPECTED_OUTPUTS = 4096


class ExpectedOutputs:
    """`ratio` is the share of their outputs to come that decodes are expected to need."""

    def __init__(self, engine: EngineSpec) -> None:
        self._page_tokens = engine.block_size
        self._pool_tokens = engine.usable_blocks * engine.block_size
        self._first = min(FIRST_RATIO * engine.schedule_conservativeness, 1.0)
        self._least = min(self._first * LEAST_SHARE, 1.0)
        self._decay = (self._first - self._least) / DECAY_ITERATIONS
        self.ratio = self._first

    def decay(self) -> None:
        """An iteration of decodes retracted nobody."""
        self.ratio = max(self.ratio - self._decay, self._least)

    def reset(self) -> None:
        """Nobody is there."""
        self.ratio = self._first

    def after_retraction(self, kept: Iterable[tuple[RequestState, int]]) -> None:
        """From those that stay, each with its outputs so far."""
        outputs = most = count = 0
        for state, emitted_tokens in kept:
            outputs, most, count = outputs + emitted_tokens, most + self.most_outputs(state), count + 1
        self.ratio = min(1.0, (outputs + MORE_OUTPUTS_AFTER_RETRACTION * count) / (most + 1))

    def most_outputs(self, state: RequestState) -> int:
        """Outputs that a request may have at most, cut to what an empty memory could hold."""
        request = state.request
        if not state.limit_tokens:
            page, pool_tokens = self._page_tokens, self._pool_tokens
            asked_for = request.output_tokens if request.max_new_tokens is None else request.max_new_tokens
            prompt_pages = -(-request.prompt_tokens // page) * page
            room = min(pool_tokens - request.prompt_tokens - 2, pool_tokens - prompt_pages - page - 1)
            state.limit_tokens = request.prompt_tokens + max(min(asked_for, room), 0)
        return state.limit_tokens - request.prompt_tokens

    def to_come(self, state: RequestState) -> int:
        """Outputs that a waiting request may still have, as far as anybody looks ahead."""
        return min(max(self.most_outputs(state) - state.emitted_tokens, 0), MOST_EXPECTED_OUTPUTS)

    def expected_tokens(self, running: Iterable[RequestState], decodes: DecodeGroup) -> float:
        """Tokens that those that decode are expected to need, each so many more outputs and the share of them."""
        ratio, most, next_tokens = self.ratio, MOST_EXPECTED_OUTPUTS, decodes.ticks + 1
        return sum(
            [
                (more if more < most else most) * ratio
                for state in running
                if state.decoding and (more := state.limit_tokens - state.offset_tokens - next_tokens) > 0
            ]
        )


@dataclass
class PassBudget:
    """What a pass over the waiting may still take, in tokens: of prompts, of the chunk, of memory.

    Of the memory that was free when it began, `promised` is what those that decode are expected to take, and those of
    this pass; the latter with all their outputs, counted in full pages and one page besides.
    """

    free_tokens: int
    promised_tokens: float
    input_tokens: int
    chunk_tokens: int | None
    page_tokens: int

    @property
    def memory_tokens(self) -> float:
        """Memory that is not promised."""
        return self.free_tokens - self.promised_tokens

    @property
    def is_computed_out(self) -> bool:
        """Whether no more tokens of prompts may be computed."""
        return self.input_tokens <= 0 or (self.chunk_tokens is not None and self.chunk_tokens <= 0)

    def paged(self, tokens: int) -> int:
        """In full pages."""
        return -(-tokens // self.page_tokens) * self.page_tokens

    def take(self, tokens: int, outputs: int) -> None:
        """A prompt computes so many tokens and may then have so many outputs."""
        paged = self.paged(tokens)
        self.promised_tokens += paged + self.page_tokens + min(outputs, MOST_EXPECTED_OUTPUTS)
        self.input_tokens -= paged
        if self.chunk_tokens is not None:
            self.chunk_tokens -= paged
