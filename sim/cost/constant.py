"""Every iteration takes the same time: the cost under which batching becomes a textbook queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.cost.batch import NO_GROWTH, Batch, GroupTime, Growth


@dataclass(frozen=True, slots=True)
class ConstantModel:
    """`seconds`, whatever runs."""

    seconds: float

    query_tile_tokens: ClassVar[int] = 1

    def step_s(self, batch: Batch) -> float:
        """The given time."""
        return self.seconds

    def verify_s(self, batch: Batch) -> float:
        """The given time, whatever is verified in it."""
        return self.seconds

    def growth(self, batch: Batch, decode_requests: int) -> Growth:
        """None."""
        return NO_GROWTH

    def explain(self, batch: Batch) -> tuple[GroupTime, ...]:
        """The one given time."""
        return (GroupTime("iteration", {"given": self.seconds + 0 * batch.tokens}),)
