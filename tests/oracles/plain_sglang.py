"""SGLang 0.5.23 without its radix cache and without overlap, first come first served, as plainly as it can be.

The rules are those of python/sglang/srt: managers/schedule_policy.py (PrefillAdder), mem_cache/prefill_budget.py,
managers/scheduler.py (get_next_batch_to_run, update_running_batch), managers/schedule_batch.py (retract_decode) and
managers/scheduler_components/new_token_ratio_tracker.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from oracles.plain_blocks import Holder
from oracles.plain_common import PlainCommon, blocks_for, most_outputs, undo
from oracles.plain_scheduler import UNLIMITED, Iteration, Part, PlainRequest

from sim.specs.request import Request

INITIAL_RATIO, LEAST_SHARE, DECAY_STEPS = 0.7, 0.14, 600
CLIP_MAX_NEW_TOKENS = 4096
RETRACT_DECODE_STEPS = 20
SPARE_INPUT_TOKENS = 5

Stop = Literal["OTHER", "NO_TOKEN", "FULL"]


@dataclass
class SglangIteration(Iteration):
    """Besides the plain: `new_token_ratio` before the call, why a batch of prompts is not longer, and who is aborted.

    `preempted` are those retracted, `running` those that decode and are not in this batch's prefill, `chunked` is the
    prompt that is carried on.
    """

    mode: Literal["prefill", "mixed", "decode", "idle"] = "idle"
    new_token_ratio: float = 0.0
    stop: Stop | None = None
    chunked: PlainRequest | None = None
    batch_is_full: bool = False
    aborted: list[PlainRequest] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not self.parts and not self.preempted and not self.aborted


@dataclass
class Budget:
    """What a prefill pass may still take, in tokens: of prompts, of the chunk, and, as `total`, of memory in the end.

    Of the `free` memory `promised` is what those that decode and those of this pass are expected to take.
    """

    free: int
    promised: float
    input: int
    chunk: int | None

    @property
    def total(self) -> float:
        return self.free - self.promised


class PlainSglang(PlainCommon):
    """`running` is everybody with memory; `decoding` those that decode, in the order of the batch.

    `last` is the batch of the last prefill: it joins `decoding` at the next call, without `chunked`, the one prompt
    that is not done. A page is a block. `refused` are those whose prompt is longer than the memory.
    """

    def __init__(
        self,
        *,
        max_running_requests: int,
        max_total_num_tokens: int,
        chunked_prefill_size: int | None,
        max_prefill_tokens: int = 16384,
        page_size: int = 1,
        enable_mixed_chunk: bool = False,
        schedule_conservativeness: float = 1.0,
        tile_tokens: int = 1,
    ) -> None:
        super().__init__(block_size=page_size, blocks=max_total_num_tokens // page_size, tile_tokens=tile_tokens)
        self.max_running_requests = max_running_requests
        self.max_total_num_tokens = max_total_num_tokens // page_size * page_size
        self.max_prefill_tokens = max_prefill_tokens
        self.chunked_prefill_size = chunked_prefill_size if chunked_prefill_size and chunked_prefill_size > 0 else None
        self.enable_mixed_chunk = self.chunked_prefill_size is not None and enable_mixed_chunk
        self.first_ratio = min(INITIAL_RATIO * schedule_conservativeness, 1.0)
        self.least_ratio = min(self.first_ratio * LEAST_SHARE, 1.0)
        self.ratio = self.first_ratio
        self.batch_is_full = False
        self.chunked: PlainRequest | None = None
        self.decoding: list[PlainRequest] = []
        self.last: list[PlainRequest] = []
        self.refused: list[PlainRequest] = []
        self.most_new: dict[int, int] = {}

    def enqueue(self, request: Request) -> PlainRequest:
        """The answer is cut to what the empty memory could hold, and a prompt too long for it is refused.

        Where nothing is left of the answer the real one gives none; here its first token comes out.
        """
        room = self.max_total_num_tokens - 1
        page = self.block_size
        most = min(
            most_outputs(request),
            room - request.prompt_tokens - 1,
            self.max_total_num_tokens - blocks_for(request.prompt_tokens, page) * page - page - 1,
        )
        state = PlainRequest(request, self.arrivals, min(request.output_tokens, max(most, 1)), Holder([]))
        self.most_new[self.arrivals] = max(most, 0)
        self.arrivals += 1
        (self.refused if request.prompt_tokens >= room - SPARE_INPUT_TOKENS else self.waiting).append(state)
        return state

    def rest(self) -> None:
        """Nobody is there: the estimate starts anew."""
        self.ratio = self.first_ratio

    def schedule(self) -> SglangIteration:
        iteration = SglangIteration(self.chunked_prefill_size or UNLIMITED, [], new_token_ratio=self.ratio)
        self.merge_last()
        self.prefill(iteration)
        if not iteration.parts and self.decoding:
            self.decode(iteration)
        self.close(iteration)
        iteration.running = list(self.decoding)
        iteration.chunked, iteration.batch_is_full = self.chunked, self.batch_is_full
        return iteration

    def merge_last(self) -> None:
        """Whose prompt was done in the last batch decodes from now on; whoever has left makes room again."""
        kept = [state for state in self.last if state is not self.chunked and not state.is_answered]
        if len(kept) < len(self.last):
            self.batch_is_full = False
        if kept and not self.decoding:
            self.batch_is_full = False
        present = [state for state in self.decoding if not state.is_answered]
        if len(present) < len(self.decoding):
            self.batch_is_full = False
        self.decoding = present + kept
        self.last = []

    # ---- prefill ----------------------------------------------------------------------------------------------------

    def prefill(self, iteration: SglangIteration) -> None:
        """The prompt that is carried on, then waiting ones in order; with mixed chunks the decodes ride along."""
        if not self.decoding:
            self.batch_is_full = False
        if (self.batch_is_full or not self.waiting) and not self.chunked:
            return
        if len(self.decoding) >= self.max_running_requests and not self.chunked:
            self.batch_is_full = True
            return
        stop = self.collect(iteration, self.budget())
        if iteration.parts:
            iteration.stop = stop
            iteration.mode = "prefill"
            self.last = [part.state for part in iteration.parts]
            if self.enable_mixed_chunk and self.decoding and self.fits_a_token_each(self.decoding):
                iteration.mode = "mixed"
                iteration.parts += [self.part(state, "running", 1) for state in self.decoding]
                self.last += self.decoding
                self.decoding = []

    def budget(self) -> Budget:
        """Free memory less what those that decode are expected to take; a decode that rides along takes its token."""
        riding = len(self.decoding) if self.enable_mixed_chunk else 0
        expected = sum([self.to_come(state) * self.ratio for state in self.decoding])
        free = len(self.pool.free) * self.block_size
        chunk = None if self.chunked_prefill_size is None else self.chunked_prefill_size - riding
        return Budget(free, riding + expected, self.max_prefill_tokens - riding, chunk)

    def collect(self, iteration: SglangIteration, budget: Budget) -> Stop | None:
        """The prompts of this pass; returns why no more could be tried."""
        if self.chunked:
            self.carry_on(iteration, budget)
        for state in list(self.waiting):
            if stop_of(budget) == "OTHER":
                return "OTHER"
            if len(iteration.parts) >= self.max_running_requests - len(self.decoding):
                self.batch_is_full = True
            if self.batch_is_full:
                return "FULL"
            stop = self.admit(iteration, budget, state)
            if stop == "NO_TOKEN":
                self.batch_is_full = bool(iteration.parts or self.decoding)
            if stop:
                return stop
        return None

    def carry_on(self, iteration: SglangIteration, budget: Budget) -> None:
        """The prompt that is not done goes first: what the chunk and the memory allow, or the whole chunk if memory
        allows nothing, since only when it is done can its memory be had again.

        Unsure: where as many decode as the chunk has tokens the real one takes a negative number; here it waits.
        """
        state = self.chunked
        assert state
        assert budget.chunk is not None
        rest = state.known_tokens - state.computed_tokens
        allowed = min(budget.chunk, int(budget.total))
        tokens = min(rest, allowed if allowed > 0 else budget.chunk)
        if tokens <= 0:
            return
        self.chunked = state if tokens < rest else None
        self.reserve(budget, tokens, 0 if self.chunked else self.most_new[state.arrival_rank])
        iteration.parts.append(self.part(state, "running", tokens))

    def admit(self, iteration: SglangIteration, budget: Budget, state: PlainRequest) -> Stop | None:
        """A waiting request, if all that it may take in the end fits; says why the next cannot be tried.

        A prompt longer than what is left of the chunk is cut to full pages and carried on: there is only one, since no
        chunk is left after it. Without chunks the first prompt may be longer than all prompts together should be.
        """
        page, tokens = self.block_size, state.known_tokens
        paged = blocks_for(tokens, page) * page
        if tokens + self.to_come(state) + page >= budget.total:
            return "NO_TOKEN"
        if budget.chunk is None and iteration.parts and paged >= budget.input:
            return "OTHER"
        to_come = self.most_new[state.arrival_rank]
        if budget.chunk is not None and paged > budget.chunk:
            tokens, to_come = budget.chunk // page * page, 0
            if tokens <= 0:
                return "OTHER"
            self.chunked = state
        self.reserve(budget, tokens, to_come)
        self.waiting.remove(state)
        self.running.append(state)
        iteration.parts.append(self.part(state, "resumed" if state.preemptions else "new", tokens))
        return stop_of(budget)

    def reserve(self, budget: Budget, tokens: int, to_come: int) -> None:
        """Full pages count, and one page besides; outputs to come count whole for the rest of this pass."""
        paged = blocks_for(tokens, self.block_size) * self.block_size
        budget.promised += paged + self.block_size + min(to_come, CLIP_MAX_NEW_TOKENS)
        budget.input -= paged
        if budget.chunk is not None:
            budget.chunk -= paged

    # ---- decode -----------------------------------------------------------------------------------------------------

    def decode(self, iteration: SglangIteration) -> None:
        """Everybody one token; where that does not fit some are retracted first, otherwise the estimate falls."""
        before = len(self.decoding)
        if self.fits_a_token_each(self.decoding):
            self.ratio = max(self.ratio - (self.first_ratio - self.least_ratio) / DECAY_STEPS, self.least_ratio)
        else:
            self.retract(iteration)
        if len(self.decoding) < before:
            self.batch_is_full = False
        iteration.mode = "decode" if self.decoding else "idle"
        iteration.parts = [self.part(state, "running", 1) for state in self.decoding]

    def retract(self, iteration: SglangIteration) -> None:
        """Fewest outputs first, of equals the longest prompt, of equals the last; at least one, and while the rest does
        not fit. The last one is not retracted: where it does not fit alone it is aborted.

        The others go on in the order of the search, and the ratio is what they were found to need.
        """
        kept = sorted(
            self.decoding, key=lambda state: (state.promised_tokens, -state.request.prompt_tokens), reverse=True
        )
        while len(kept) > 1 and (not iteration.preempted or not self.fits_a_token_each(kept)):
            victim = kept.pop()
            self.free(victim)
            undo(victim)
            iteration.preempted.append(victim)
        if not self.fits_a_token_each(kept):
            iteration.aborted.append(kept.pop())
            self.free(iteration.aborted[0])
        self.decoding = kept
        self.waiting += iteration.preempted
        decoded = sum(state.promised_tokens for state in kept)
        most = sum(self.most_new[state.arrival_rank] for state in kept)
        self.ratio = min(1.0, (decoded + RETRACT_DECODE_STEPS * len(kept)) / (most + 1))

    def free(self, state: PlainRequest) -> None:
        self.running.remove(state)
        self.pool.release(state.holder)

    # ---- rules ------------------------------------------------------------------------------------------------------

    def to_come(self, state: PlainRequest) -> int:
        """Outputs that a request may still have, as far as anybody looks ahead."""
        return min(max(self.most_new[state.arrival_rank] - state.promised_tokens, 0), CLIP_MAX_NEW_TOKENS)

    def fits_a_token_each(self, states: list[PlainRequest]) -> bool:
        """Whether there is a page for each whose pages are full."""
        return sum(state.computed_tokens % self.block_size == 0 for state in states) <= len(self.pool.free)

    def part(self, state: PlainRequest, how: str, tokens: int) -> Part:
        start = state.computed_tokens
        missing = blocks_for(start + tokens, self.block_size) - len(state.holder.blocks)
        if missing > len(self.pool.free):
            raise RuntimeError("the memory is too small for a prompt that is carried on")
        return Part(state, how, start, tokens, self.take(state, start + tokens))


def stop_of(budget: Budget) -> Stop | None:
    """What a pass has run out of."""
    if budget.total <= 0:
        return "NO_TOKEN"
    if budget.input <= 0 or (budget.chunk is not None and budget.chunk <= 0):
        return "OTHER"
    return None
