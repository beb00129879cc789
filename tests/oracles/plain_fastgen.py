"""DeepSpeed-FastGen (MII commit 8abdd98 over DeepSpeed 0.19.8), written as plainly as it can be.

The rules are those of mii/batching/ragged_batching.py (schedule_requests and what it calls) with the questions it asks
of deepspeed/inference/v2 (query, get_remaining_block_capacity). Not here: the limit on tracked sequences, and a longest
sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from oracles.plain_common import PlainCommon, blocks_for, undo
from oracles.plain_scheduler import Iteration, Part, PlainRequest


@dataclass
class FastGenIteration(Iteration):
    """Besides the plain: whose blocks are released in this pass because the answer was complete in the one before.

    `preempted` is who was evicted because nothing could run.
    """

    flushed: list[PlainRequest] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not self.parts and not self.preempted and not self.flushed


class PlainFastGen(PlainCommon):
    """`waiting` is the buffer: arrivals, and everybody who got an output in the last pass, appended in batch order.

    Whoever is passed over keeps the place, and what is left of a cut prompt is put first. `running` is everybody with
    memory; `leaving` are those whose answer is complete and whose blocks the next pass releases.
    """

    def __init__(
        self,
        *,
        max_ragged_batch_size: int,
        max_ragged_sequence_count: int,
        block_size: int,
        num_blocks: int,
        tile_tokens: int = 1,
    ) -> None:
        super().__init__(block_size=block_size, blocks=num_blocks, tile_tokens=tile_tokens)
        self.max_ragged_batch_size = max_ragged_batch_size
        self.max_ragged_sequence_count = max_ragged_sequence_count
        self.leaving: list[PlainRequest] = []

    def is_unfinished(self) -> bool:
        return bool(self.waiting)

    def stored_tokens(self) -> int:
        return super().stored_tokens() + sum(state.computed_tokens for state in self.leaving)

    def schedule(self) -> FastGenIteration:
        """A pass is planned with the blocks that are free before those of `leaving` are released."""
        iteration = FastGenIteration(self.max_ragged_batch_size, [], flushed=self.leaving)
        tokens = self.decodes()
        tokens |= self.prompts(tokens)
        if not tokens and not self.leaving and self.waiting:
            self.evict(iteration)
        for state in self.leaving:
            self.pool.release(state.holder)
        self.leaving = []
        for state, count in tokens.items():
            self.start(iteration, state, count)
        return self.close(iteration)

    def decodes(self) -> dict[PlainRequest, int]:
        """One token each, in order; of those over the limit on sequences or tokens nobody is looked at.

        Whose blocks are full needs a free one; without it the request is passed over, and keeps its place in the limit.
        """
        free = len(self.pool.free)
        tokens = {}
        queue = [state for state in self.waiting if not state.prefilling]
        for state in queue[: min(self.max_ragged_sequence_count, self.max_ragged_batch_size)]:
            if self.lacks(state, 1) <= free:
                free -= self.lacks(state, 1)
                tokens[state] = 1
        return tokens

    def prompts(self, decodes: dict[PlainRequest, int]) -> dict[PlainRequest, int]:
        """Prompts in order, the last cut to the budget; the first whose whole rest does not fit in memory ends it.

        A single token that does not fit is only passed over. Where no block at all is free before the decodes have
        taken theirs nobody is looked at, even if no block is needed.
        """
        free = len(self.pool.free) - sum(self.lacks(state, 1) for state in decodes)
        budget = self.max_ragged_batch_size - len(decodes)
        tokens: dict[PlainRequest, int] = {}
        for state in [state for state in self.waiting if state.prefilling]:
            full = len(decodes) + len(tokens) >= self.max_ragged_sequence_count
            if not self.pool.free or full or budget <= 0:
                break
            rest = state.known_tokens - state.computed_tokens
            if self.lacks(state, rest) > free:
                if rest > 1:
                    break
                continue
            tokens[state] = min(rest, budget)
            budget -= tokens[state]
            free -= self.lacks(state, tokens[state])
        return tokens

    def start(self, iteration: FastGenIteration, state: PlainRequest, tokens: int) -> None:
        """A request gets its tokens and blocks; what is left of its prompt waits before all others."""
        self.waiting.remove(state)
        if state.computed_tokens + tokens < state.known_tokens:
            self.waiting.insert(0, state)
        how = "running"
        if state not in self.running:
            self.running.append(state)
            how = "resumed" if state.preemptions else "new"
        iteration.budget -= tokens
        start = state.computed_tokens
        iteration.parts.append(Part(state, how, start, tokens, self.take(state, start + tokens)))

    def evict(self, iteration: FastGenIteration) -> None:
        """Nothing can run: the last of those that have memory gives it up and waits as the last, outputs as prompt."""
        holders = [state for state in self.waiting if state.computed_tokens]
        if not holders:
            raise RuntimeError("nothing can run, and nobody has memory to give up")
        victim = holders[-1]
        self.waiting.remove(victim)
        self.waiting.append(victim)
        self.running.remove(victim)
        self.pool.release(victim.holder)
        undo(victim)
        iteration.preempted.append(victim)

    def apply(self, iteration: Iteration, now_s: float) -> None:
        """Who got an output and has not finished goes to the end of the buffer."""
        super().apply(iteration, now_s)
        self.waiting += [part.state for part in iteration.parts if part.emits and not part.state.is_answered]

    def rest(self) -> None:
        """Passes go on while nobody is there: the blocks of those who finished last are free."""
        for state in self.leaving:
            self.pool.release(state.holder)
        self.leaving = []

    def leave(self, state: PlainRequest) -> None:
        self.running.remove(state)
        self.leaving.append(state)

    def lacks(self, state: PlainRequest, tokens: int) -> int:
        """Blocks that a request lacks for more tokens."""
        return blocks_for(state.computed_tokens + tokens, self.block_size) - len(state.holder.blocks)
