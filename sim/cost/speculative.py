"""The cost of an iteration that verifies drafts, and then has a draft model write those for the next one.

    iteration = verifying + k passes of the draft model, one after the other

The first pass reads what the iteration computed, prompts and drafts alike, and the token after it, a row more for every
request; the others a token each, on contexts that have grown. It wants logits of one row a request. Its keys and values
are cached as the model's are, but no CUDA graphs are captured for it. So vLLM 0.33.0 has it
(vllm/v1/worker/gpu/spec_decode/standalone_ar/speculator.py), which drafts in every iteration, for all requests in it.
Drafts that are looked up take no time on the GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from sim.cost.batch import Batch, Bound, CostModel, GroupTime, Growth

DRAFT_MODEL = "draft model"
"""The operation group of all that a draft model does."""


class DraftCost(Protocol):
    """What the passes of a draft model take: `logit_rows` of their rows go on to its head and sampler."""

    def verify_s(self, batch: Batch, logit_rows: int | None = None) -> float:
        """Seconds of a pass."""
        ...

    def explain_pass(self, batch: Batch, logit_rows: Any) -> tuple[GroupTime, ...]:
        """The same by operation group."""
        ...


class SpeculativeModel:
    """Iterations under `cost` with `drafts` a request, which `draft` writes if there is a draft model."""

    def __init__(self, cost: CostModel, draft: DraftCost | None, drafts: int) -> None:
        self._cost, self._draft, self._drafts = cost, draft, drafts
        self.query_tile_tokens = cost.query_tile_tokens

    def step_s(self, batch: Batch) -> float:
        """Seconds of one iteration."""
        seconds = self._cost.verify_s(batch) if batch.draft_tokens else self._cost.step_s(batch)
        if self._draft is None:
            return seconds
        requests = batch.sequences
        return seconds + sum(self._draft.verify_s(each, requests) for each in passes(batch, self._drafts))

    def verify_s(self, batch: Batch) -> float:
        """The same."""
        return self.step_s(batch)

    def growth(self, batch: Batch, decode_requests: int) -> Growth:
        """No two iterations are alike: how many drafts were right decides where the next begins."""
        return Growth(0.0, 1)

    def explain(self, batch: Batch) -> tuple[GroupTime, ...]:
        """Time by operation group; a draft model is one."""
        groups = self._cost.explain(batch)
        return groups if self._draft is None else (*groups, self._drafting(batch, self._draft))

    def _drafting(self, batch: Batch, draft: DraftCost) -> GroupTime:
        """All passes together, by resource."""
        seconds: dict[Bound, Any] = {}
        flops, memory_bytes = 0.0, 0.0
        for each in passes(batch, self._drafts):
            for time in draft.explain_pass(each, batch.sequences):
                flops, memory_bytes = flops + time.flops, memory_bytes + time.memory_bytes
                for bound, part_s in time.seconds.items():
                    seconds[bound] = seconds.get(bound, 0.0) + part_s
        return GroupTime(DRAFT_MODEL, seconds, flops, memory_bytes)


def passes(batch: Batch, drafts: int) -> Iterator[Batch]:
    """What a draft model computes after an iteration, pass by pass.

    Contexts are taken to be those of the iteration, as if all its drafts had been right: a few tokens too many.
    """
    requests = batch.sequences
    context_tokens = batch.decode_context_tokens + batch.prefill_context_tokens
    yield batch._replace(
        decode_context_tokens=batch.decode_context_tokens + batch.decode_requests,
        prefill_context_tokens=batch.prefill_context_tokens + batch.prefill_requests,
        longest_context_tokens=batch.longest_context_tokens + (batch.longest_context_tokens > 0),
        draft_tokens=batch.draft_tokens + requests,
        draft_pairs=batch.draft_pairs + context_tokens,
    )
    for ahead in range(2, drafts + 1):
        yield Batch(requests, context_tokens + ahead * requests)
