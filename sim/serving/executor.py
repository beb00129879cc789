"""From a plan to the batch that is really executed, and the time it takes."""

from __future__ import annotations

from typing import NamedTuple

from sim.cost.batch import Batch, CostModel, tiles_of
from sim.formulas import pairs
from sim.scheduling.core import SchedulerCore
from sim.scheduling.plan import Plan
from sim.specs.base import UNLIMITED
from sim.specs.engine import EngineSpec

Prompts = tuple[int, int, int, int, int, int, int]
"""What a `Batch` says of prompts, from their number to the longest context."""


class Execution(NamedTuple):
    """Iterations as executed: the first one's batch and duration, and by how much each takes longer than the last.

    `padding_tokens` of the batch were asked for by nobody. The increment holds for so many `iterations_alike`.
    """

    batch: Batch
    first_s: float
    increment_s: float
    padding_tokens: int = 0
    iterations_alike: int = UNLIMITED

    def duration_s(self, iterations: int) -> float:
        """Seconds of the first `iterations`: an arithmetic series."""
        if iterations == 1:
            return self.first_s
        return iterations * self.first_s + iterations * (iterations - 1) // 2 * self.increment_s

    def last_s(self, iterations: int) -> float:
        """Seconds of the last of so many iterations."""
        return self.first_s + (iterations - 1) * self.increment_s

    def iterations_within(self, seconds: float) -> int:
        """The least number of iterations, one at least, that take `seconds` or longer."""
        first_s, half_s = self.first_s, self.increment_s / 2
        if seconds <= first_s:
            return 1
        if half_s:
            steep = first_s - half_s
            estimate = ((steep * steep + 4 * half_s * seconds) ** 0.5 - steep) / (2 * half_s)
        else:
            estimate = seconds / first_s
        iterations = max(int(estimate), 1)
        while iterations > 1 and self.duration_s(iterations - 1) >= seconds:
            iterations -= 1
        while self.duration_s(iterations) < seconds:
            iterations += 1
        return iterations

    def iterations_over(self, seconds: float) -> int:
        """The number of iterations that `seconds` have seen the end of."""
        iterations = self.iterations_within(seconds)
        return iterations if self.duration_s(iterations) <= seconds else iterations - 1


NOTHING = Execution(Batch(), 0.0, 0.0)


class Executor:
    """Executes plans of one engine at the speed its cost model gives."""

    def __init__(self, engine: EngineSpec, cost: CostModel, brings_service: bool) -> None:
        self._pads = engine.pad_to_longest
        self._brings_service = brings_service
        self._cost, self._tile_tokens = cost, cost.query_tile_tokens

    def execute(self, plan: Plan, core: SchedulerCore) -> Execution:
        """The batch of `plan` and its time; a plan that only preempts is not executed and takes none."""
        decodes, context_tokens = plan.decode_requests, plan.decode_context_tokens
        if plan.padding_requests:
            decodes, context_tokens = decodes + plan.padding_requests, context_tokens + plan.padding_context_tokens
        service_s = _service_s(plan, core) if self._brings_service else 0.0
        apart = service_s, plan.draft_tokens, plan.draft_pairs, plan.swapped_in_blocks + plan.swapped_out_blocks
        if plan.chunks:
            prompts, padding_tokens = self._prompts(plan)
            batch = Batch(decodes, context_tokens, *prompts, *apart)
            return Execution(batch, self._cost.step_s(batch), 0.0, plan.padding_requests + padding_tokens)
        if not plan.decode_requests:
            return NOTHING
        batch = Batch(decodes, context_tokens, 0, 0, 0, 0, 0, 0, 0, *apart)
        increment_s, iterations = self._cost.growth(batch, plan.decode_requests)
        return Execution(batch, self._cost.step_s(batch), increment_s, plan.padding_requests, iterations)

    def _prompts(self, plan: Plan) -> tuple[Prompts, int]:
        """All chunks together, and how many of their tokens pad."""
        asked_for = new_tokens = seen = there = all_tiles = tile_keys = 0
        longest, tile_tokens = plan.longest_context_tokens, self._tile_tokens
        for chunk in plan.chunks:
            new, cached = chunk.tokens, chunk.start
            asked_for += new
            if self._pads:
                new = max(each.tokens for each in plan.chunks)
            if chunk.draft_tokens:  # counted apart, but for the context that reaches to the last of them
                new, asked_for = new - chunk.draft_tokens, asked_for - chunk.draft_tokens
                there, longest = there + chunk.draft_tokens, max(longest, cached + chunk.tokens)
            tiles, keys = tiles_of(new, cached, tile_tokens)
            new_tokens, seen, there = new_tokens + new, seen + pairs(new, cached), there + new + cached
            all_tiles, tile_keys, longest = all_tiles + tiles, tile_keys + keys, max(longest, new + cached)
        prompts = len(plan.chunks), new_tokens, seen, there, all_tiles, tile_keys, longest
        return prompts, new_tokens - asked_for


def _service_s(plan: Plan, core: SchedulerCore) -> float:
    """A request's own service time is spread over the iterations that emit its tokens; there is a single seat."""
    chunked = {chunk.state for chunk in plan.chunks if not chunk.completes}
    return sum(
        (state.request.service_s or 0.0) / (state.final_tokens - state.request.prompt_tokens)
        for state in core.running
        if state not in chunked
    )
