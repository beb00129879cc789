"""The four schedulers of the sarathi-serve repository (commit 96f9911), written as plainly as they can be.

Sarathi itself, chunks of prompts alone (simple chunking), its Orca and its FasterTransformer (static). The rules are
those of sarathi/core/scheduler/*_scheduler.py and sarathi/core/block_space_manager/*, for one pipeline stage and a
fixed chunk. In all of them the batch lists prompts before decodes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from oracles.plain_common import PlainCommon, blocks_for, undo
from oracles.plain_scheduler import UNLIMITED, Iteration, Part, PlainRequest


@dataclass
class SarathiIteration(Iteration):
    """Besides the plain: who was dropped as too long, and whether a turn was passed in which nobody could run.

    `rest_when_preempted` is what was left of the prompts of those preempted in this call.
    """

    ignored: list[PlainRequest] = field(default_factory=list)
    passed: bool = False
    rest_when_preempted: dict[int, int] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not self.parts and not self.preempted and not self.ignored and not self.passed


class PlainSarathi(PlainCommon):
    """`running` holds decodes and partial prompts. A request that is computed again counts its outputs as prompt.

    A prompt for which the empty memory is too small waits for ever, and all behind it; nobody drops it.
    Unsure: that an answer ends at max_model_len, which no recording reaches.
    """

    def __init__(
        self,
        *,
        scheduler: Literal["sarathi", "simple_chunking", "orca", "static"],
        max_num_seqs: int,
        max_model_len: int,
        block_size: int,
        num_gpu_blocks: int,
        chunk_size: int = 512,
        watermark: float = 0.01,
        tile_tokens: int = 1,
    ) -> None:
        super().__init__(block_size=block_size, blocks=num_gpu_blocks, longest=max_model_len, tile_tokens=tile_tokens)
        self.scheduler, self.chunk_size = scheduler, chunk_size
        self.max_num_seqs, self.max_model_len = max_num_seqs, max_model_len
        self.reserves = scheduler in ("orca", "static")
        self.watermark_blocks = 0 if self.reserves else int(watermark * num_gpu_blocks)
        self.decodes_next = False

    def schedule(self) -> SarathiIteration:
        decide = {
            "sarathi": self.decide_sarathi,
            "simple_chunking": self.decide_simple_chunking,
            "orca": self.decide_orca,
            "static": self.decide_static,
        }[self.scheduler]
        iteration = SarathiIteration(UNLIMITED if self.reserves else self.chunk_size, [])
        decide(iteration)
        iteration.parts.sort(key=lambda part: not part.state.prefilling)
        return self.close(iteration)

    # ---- the four schedulers ----------------------------------------------------------------------------------------

    def decide_static(self, iteration: SarathiIteration) -> None:
        """All of the batch while it lasts; a new one when the last member has left."""
        if self.running:
            iteration.parts = [self.decode(iteration, state) for state in self.running]
        else:
            self.admit(iteration)

    def decide_orca(self, iteration: SarathiIteration) -> None:
        """All that run, and whole prompts besides."""
        iteration.parts = [self.decode(iteration, state) for state in self.running]
        self.admit(iteration)

    def decide_sarathi(self, iteration: SarathiIteration) -> None:
        """Decodes, then partial prompts, then new ones, in one budget of tokens."""
        decodes, partial = self.decode_all(iteration)
        self.running = decodes + partial
        self.continue_prompts(iteration, partial)
        self.admit(iteration)

    def decide_simple_chunking(self, iteration: SarathiIteration) -> None:
        """Prompts and decodes take turns; when there is no prompt the decodes have both.

        While a partial prompt goes on nobody starts, however little is left of it. When it is the decodes' turn and all
        that run are partial prompts, the call decides nothing (unsure: no recording comes to it).
        """
        if not self.decodes_next:
            self.continue_prompts(iteration, [state for state in self.running if state.prefilling])
            if not iteration.parts:
                self.admit(iteration)
        if iteration.parts:
            self.decodes_next = True
            return
        decodes, partial = self.decode_all(iteration)
        self.running = sorted(decodes + partial, key=arrival)
        iteration.passed = self.decodes_next
        self.decodes_next = False

    # ---- passes -----------------------------------------------------------------------------------------------------

    def decode_all(self, iteration: SarathiIteration) -> tuple[list[PlainRequest], list[PlainRequest]]:
        """Who is past the prompt, by arrival; each must find a free block, whether it needs one or not.

        For it the last of those not yet visited is preempted, a decode or a partial prompt, or itself if there is none.
        Returns who decodes, and the partial prompts that were not preempted.
        """
        decodes: list[PlainRequest] = []
        partial: list[PlainRequest] = []
        queue = sorted(self.running, key=arrival)
        while queue:
            state = queue.pop(0)
            if state.prefilling:
                partial.append(state)
                continue
            while not self.pool.free:
                victim = queue.pop() if queue else state
                self.preempt(iteration, victim)
                if victim is state:
                    break
            else:
                decodes.append(state)
                iteration.parts.append(self.decode(iteration, state))
        return decodes, partial

    def continue_prompts(self, iteration: SarathiIteration, partial: list[PlainRequest]) -> None:
        for state in partial:
            tokens = min(state.known_tokens - state.computed_tokens, iteration.budget)
            if tokens > 0:  # the real one takes a negative number for a chunk when more decode than chunk_size
                iteration.budget -= tokens
                iteration.parts.append(Part(state, "running", state.computed_tokens, tokens, 0))

    def admit(self, iteration: SarathiIteration) -> None:
        """Waiting requests in order, up to the first that must wait; all blocks of the known text are taken at once.

        Somebody preempted in this very call is at the head, and is still seen with what was left of its prompt: nothing
        after a decode, so that admission ends there. (Unsure: a partial prompt gets no more tokens than were left.)
        """
        while self.waiting:
            state = self.waiting[0]
            if state.known_tokens > self.max_model_len:
                iteration.ignored.append(self.waiting.pop(0))
                continue
            rest = iteration.rest_when_preempted.get(state.arrival_rank, state.known_tokens)
            tokens = min(rest, iteration.budget)
            blocks = blocks_for(self.max_model_len if self.reserves else state.known_tokens, self.block_size)
            has_blocks = len(self.pool.free) - blocks >= self.watermark_blocks
            if not has_blocks or len(self.running) >= self.max_num_seqs or tokens <= 0:
                return
            self.running.append(self.waiting.pop(0))
            self.pool.take(state.holder, blocks)
            iteration.budget -= tokens
            how = "resumed" if state.preemptions else "new"
            iteration.parts.append(Part(state, how, 0, tokens, blocks))

    def decode(self, iteration: SarathiIteration, state: PlainRequest) -> Part:
        iteration.budget -= 1
        return Part(state, "running", state.computed_tokens, 1, self.take(state, state.known_tokens))

    def preempt(self, iteration: SarathiIteration, victim: PlainRequest) -> None:
        """Its blocks are free at once; it goes to the head, so the last preempted is first."""
        iteration.preempted.append(victim)
        rest = victim.known_tokens - victim.computed_tokens if victim.prefilling else 0
        iteration.rest_when_preempted[victim.arrival_rank] = rest
        self.pool.release(victim.holder)
        undo(victim)
        self.waiting.insert(0, victim)


def arrival(state: PlainRequest) -> int:
    return state.arrival_rank
