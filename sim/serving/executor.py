"""From a plan to the batch that is really executed, and the time it takes."""

from __future__ import annotations

from dataclasses import dataclass

from sim.cost.batch import Batch, CostModel, GroupTime, step_time
from sim.scheduling.plan import Plan, Scheduled
from sim.specs.engine import EngineSpec


@dataclass(frozen=True, slots=True)
class Execution:
    """One iteration as executed: its batch, its duration, and the time of each operation group."""

    batch: Batch
    duration_s: float
    times: tuple[GroupTime, ...]


class Executor:
    """Executes plans of one engine at the speed its cost model gives."""

    def __init__(self, engine: EngineSpec, cost: CostModel) -> None:
        self._pad_to_longest = engine.pad_to_longest
        self._cost = cost

    def execute(self, plan: Plan) -> Execution:
        """The batch of `plan` and its time; a plan that only preempts is not executed and takes none."""
        if not plan.scheduled:
            return Execution(Batch(), 0.0, ())
        batch = self._batch_of(plan)
        times = self._cost.explain(batch)
        return Execution(batch, step_time(times), times)

    def _batch_of(self, plan: Plan) -> Batch:
        """Decode rows as sums, prompt chunks one by one; finished members of a static batch still cost a row."""
        decode_requests = len(plan.padding_rows)
        context_tokens = sum(state.computed_tokens for state in plan.padding_rows)
        chunks = []
        service_s = 0.0
        for part in plan.scheduled:
            if part.tokens == 1 and part.start >= part.state.request.prompt_tokens:
                decode_requests += 1
                context_tokens += part.start + 1
            else:
                chunks.append((part.tokens, part.start))
            if part.state.request.service_s is not None:
                service_s += _service_share_s(part, part.state.request.service_s)
        if self._pad_to_longest and chunks:
            longest = max(new for new, _ in chunks)
            chunks = [(longest, cached) for _, cached in chunks]
        return Batch(decode_requests, context_tokens, tuple(chunks), service_s)


def _service_share_s(part: Scheduled, service_s: float) -> float:
    """A request's own service time, spread over the iterations that emit its tokens."""
    return service_s / part.state.output_tokens if part.state.wanted_tokens == 0 else 0.0
