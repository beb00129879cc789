"""Iteration time affine in what the batch holds: α + β·B + b_p·(prefill tokens) + b_d·(decode tokens)."""

from __future__ import annotations

from dataclasses import dataclass

from sim.cost.batch import Batch, GroupTime


@dataclass(frozen=True, slots=True)
class AffineModel:
    """All four constants in seconds; B counts the requests in the batch."""

    per_step_s: float
    per_sequence_s: float
    per_prefill_token_s: float
    per_decode_token_s: float

    def explain(self, batch: Batch) -> tuple[GroupTime, ...]:
        """The fixed part, and the parts that prefill and decode tokens and sequences add."""
        return (
            GroupTime("per step", self.per_step_s, "given"),
            GroupTime("per sequence", self.per_sequence_s * batch.sequences, "given"),
            GroupTime("prefill tokens", self.per_prefill_token_s * batch.prefill_tokens, "given"),
            GroupTime("decode tokens", self.per_decode_token_s * batch.decode_requests, "given"),
        )
