"""vLLM 0.5.5 (V0) with its first block manager, written as plainly as it can be.

The rules are those of vllm/core/scheduler.py and vllm/core/block_manager_v1.py of that release, for requests of one
sequence, without prefix caching and without a delay of prompts. Two ways of composing an iteration: prompts alone or
decodes alone, and, with chunked prefill, both together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from oracles.plain_common import PlainCommon, blocks_for, undo
from oracles.plain_scheduler import Iteration, Part, PlainRequest


@dataclass
class V0Iteration(Iteration):
    """Besides the plain: who was dropped as never to fit, and who is on the host.

    `waiting` are those to be computed, `swapped` those on the host, in order. `seats` are taken in this call.
    """

    seats: int = 0
    ignored: list[PlainRequest] = field(default_factory=list)
    swapped: list[PlainRequest] = field(default_factory=list)
    swapped_in_blocks: int = 0
    swapped_out_blocks: int = 0

    @property
    def is_empty(self) -> bool:
        return not self.parts and not self.preempted and not self.ignored


class PlainVllmV0(PlainCommon):
    """`running` holds decodes and partial prompts; `on_host` is how many blocks each swapped request has there."""

    def __init__(
        self,
        *,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        max_model_len: int,
        block_size: int,
        num_gpu_blocks: int,
        num_cpu_blocks: int,
        enable_chunked_prefill: bool,
        preemption_mode: Literal["recompute", "swap"] | None = None,
        watermark: float = 0.01,
        tile_tokens: int = 1,
    ) -> None:
        # An answer is ended by a text longer than max_model_len, so one token after it has been reached:
        # vllm/engine/output_processor/stop_checker.py:75.
        super().__init__(
            block_size=block_size, blocks=num_gpu_blocks, longest=max_model_len + 1, tile_tokens=tile_tokens
        )
        self.max_num_seqs, self.max_num_batched_tokens = max_num_seqs, max_num_batched_tokens
        self.max_model_len, self.num_gpu_blocks = max_model_len, num_gpu_blocks
        self.enable_chunked_prefill = enable_chunked_prefill
        self.swaps = preemption_mode == "swap"
        self.watermark_blocks = int(watermark * num_gpu_blocks)
        self.free_cpu_blocks = num_cpu_blocks
        self.swapped: list[PlainRequest] = []
        self.on_host: dict[int, int] = {}

    def is_unfinished(self) -> bool:
        return super().is_unfinished() or bool(self.swapped)

    def schedule(self) -> V0Iteration:
        iteration = V0Iteration(self.max_num_batched_tokens, [])
        if self.enable_chunked_prefill:
            self.prompts_and_decodes(iteration)
        else:
            self.prompts_or_decodes(iteration)
        iteration.swapped = list(self.swapped)
        return self.close(iteration)

    # ---- the two compositions ---------------------------------------------------------------------------------------

    def prompts_or_decodes(self, iteration: V0Iteration) -> None:
        """Whole prompts if any can start, and none can while somebody is on the host; otherwise all decodes."""
        iteration.seats = len(self.running)
        started = [] if self.swapped else self.start(iteration)
        if started:
            iteration.parts = started
            self.running += states_of(started)
            return
        decodes, _ = self.run(iteration)
        returned = [] if iteration.preempted else self.swap_in(iteration)
        iteration.parts = decodes + returned
        self.running += states_of(iteration.parts)
        self.queue_preempted(iteration)

    def prompts_and_decodes(self, iteration: V0Iteration) -> None:
        """Who runs goes on, then who is on the host, then new prompts, even after a preemption.

        The lists are joined in one order for the batch and in another for the queue, of which the last is preempted
        first; who got no tokens stays at its head.
        """
        decodes, prompts = self.run(iteration)
        returned = [] if iteration.preempted else self.swap_in(iteration)
        returned_prompts = [part for part in returned if part.state.prefilling]
        returned_decodes = [part for part in returned if not part.state.prefilling]
        started = self.start(iteration)
        iteration.parts = started + prompts + returned_prompts + decodes + returned_decodes
        self.running += states_of(started + decodes + prompts + returned_decodes + returned_prompts)
        self.queue_preempted(iteration)

    def queue_preempted(self, iteration: V0Iteration) -> None:
        """Each to the head of the waiting, so the last preempted is first; or to the tail of those on the host."""
        if self.swaps:
            self.swapped += iteration.preempted
        else:
            self.waiting[:0] = reversed(iteration.preempted)

    # ---- three passes -----------------------------------------------------------------------------------------------

    def run(self, iteration: V0Iteration) -> tuple[list[Part], list[Part]]:
        """The running in their order while there is budget: decodes, and partial prompts.

        Each must find a free block, whether it needs one or not; the last of those not yet visited is preempted for it,
        or itself if there is none.
        """
        decodes: list[Part] = []
        prompts: list[Part] = []
        while self.running and self.tokens_for(iteration, self.running[0]):
            state = self.running.pop(0)
            while not self.pool.free:
                victim = self.running.pop() if self.running else state
                self.preempt(iteration, victim)
                if victim is state:
                    break
            else:
                part = self.part(iteration, state, "running", self.tokens_for(iteration, state))
                (prompts if state.prefilling else decodes).append(part)
        return decodes, prompts

    def swap_in(self, iteration: V0Iteration) -> list[Part]:
        """Who is on the host returns in order, the whole rest of its prompt at once; the first that cannot is the last.

        Its blocks and one more must leave the watermark free. Whom the empty memory could not take is dropped, its
        blocks stay on the host.
        """
        returned = []
        while self.swapped:
            state = self.swapped[0]
            needed = self.on_host[state.arrival_rank] + 1
            if needed > self.num_gpu_blocks:
                iteration.ignored.append(self.swapped.pop(0))
                continue
            tokens = state.known_tokens - state.computed_tokens
            if not self.leaves_watermark(needed) or not self.has_room(iteration, tokens):
                break
            self.swapped.pop(0)
            blocks = self.on_host.pop(state.arrival_rank)
            self.pool.take(state.holder, blocks)
            self.free_cpu_blocks += blocks
            iteration.swapped_in_blocks += blocks
            returned.append(self.part(iteration, state, "swapped_in", tokens))
        return returned

    def start(self, iteration: V0Iteration) -> list[Part]:
        """Waiting requests in order, up to the first that must wait; all their blocks are taken now.

        Who is longer than an iteration or the model allows, or than the memory above the watermark, is dropped.
        """
        started, dropped = [], []
        longest = self.max_model_len
        if not self.enable_chunked_prefill:
            longest = min(longest, self.max_num_batched_tokens)
        while self.waiting:
            state = self.waiting[0]
            tokens = self.tokens_for(iteration, state)
            blocks = blocks_for(state.known_tokens, self.block_size)
            if tokens > longest or self.num_gpu_blocks - blocks < self.watermark_blocks:
                dropped.append(self.waiting.pop(0))
                continue
            if not self.leaves_watermark(blocks) or not self.has_room(iteration, tokens):
                break
            self.waiting.pop(0)
            started.append(self.part(iteration, state, "resumed" if state.preemptions else "new", tokens))
        iteration.ignored = dropped + iteration.ignored
        return started

    # ---- rules ------------------------------------------------------------------------------------------------------

    def tokens_for(self, iteration: V0Iteration, state: PlainRequest) -> int:
        """What is left of what is known, cut to the budget where prompts may be cut."""
        tokens = state.known_tokens - state.computed_tokens
        return min(tokens, iteration.budget) if self.enable_chunked_prefill else tokens

    def leaves_watermark(self, blocks: int) -> bool:
        return len(self.pool.free) - blocks >= self.watermark_blocks

    def has_room(self, iteration: V0Iteration, tokens: int) -> bool:
        """Whether budget and seats allow one more request. With chunked prefill seats are counted afresh in each call,
        so those who got no tokens hold none."""
        return 0 < tokens <= iteration.budget and iteration.seats < self.max_num_seqs

    def part(self, iteration: V0Iteration, state: PlainRequest, how: str, tokens: int) -> Part:
        """A request gets tokens, and the blocks of all that is known of it; who ran before has a seat already."""
        iteration.budget -= tokens
        if how != "running" or self.enable_chunked_prefill:
            iteration.seats += 1
        return Part(state, how, state.computed_tokens, tokens, self.take(state, state.known_tokens))

    def preempt(self, iteration: V0Iteration, victim: PlainRequest) -> None:
        """Its blocks go to the host, or are given up and computed again."""
        iteration.preempted.append(victim)
        blocks = len(victim.holder.blocks)
        self.pool.release(victim.holder)
        if not self.swaps:
            undo(victim)
            return
        if blocks > self.free_cpu_blocks:
            raise RuntimeError(f"{blocks} blocks to swap out and {self.free_cpu_blocks} free on the host")
        victim.preemptions += 1
        self.free_cpu_blocks -= blocks
        self.on_host[victim.arrival_rank] = blocks
        iteration.swapped_out_blocks += blocks


def states_of(parts: list[Part]) -> list[PlainRequest]:
    return [part.state for part in parts]
