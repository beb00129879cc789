"""Iteration time affine in what the batch holds: α + β·B + b_p·(prefill tokens) + b_d·(decode tokens)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.cost.batch import NO_GROWTH, Batch, GroupTime, Growth


@dataclass(frozen=True, slots=True)
class AffineModel:
    """All four constants in seconds; B counts the requests in the batch."""

    per_step_s: float
    per_sequence_s: float
    per_prefill_token_s: float
    per_decode_token_s: float

    query_tile_tokens: ClassVar[int] = 1

    def step_s(self, batch: Batch) -> float:
        """The formula."""
        return (
            self.per_step_s
            + self.per_sequence_s * batch.sequences
            + self.per_prefill_token_s * batch.prefill_tokens
            + self.per_decode_token_s * batch.decode_requests
        )

    def verify_s(self, batch: Batch) -> float:
        """A draft is a decode token more."""
        return self.step_s(batch) + self.per_decode_token_s * batch.draft_tokens

    def growth(self, batch: Batch, decode_requests: int) -> Growth:
        """None: contexts do not count."""
        return NO_GROWTH

    def explain(self, batch: Batch) -> tuple[GroupTime, ...]:
        """The fixed part, and the parts that prefill and decode tokens and sequences add."""
        decode_tokens = batch.decode_requests + batch.draft_tokens
        return (
            GroupTime("per step", {"given": self.per_step_s + 0 * batch.sequences}),
            GroupTime("per sequence", {"given": self.per_sequence_s * batch.sequences}),
            GroupTime("prefill tokens", {"given": self.per_prefill_token_s * batch.prefill_tokens}),
            GroupTime("decode tokens", {"given": self.per_decode_token_s * decode_tokens}),
        )
