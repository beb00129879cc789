"""Every iteration takes the same time: the cost under which batching becomes a textbook queue."""

from __future__ import annotations

from dataclasses import dataclass

from sim.cost.batch import Batch, GroupTime


@dataclass(frozen=True, slots=True)
class ConstantModel:
    """`seconds`, whatever runs."""

    seconds: float

    def step_s(self, batch: Batch) -> float:
        """The given time."""
        return self.seconds

    def increment_s(self, decode_requests: int) -> float:
        """None."""
        return 0.0

    def explain(self, batch: Batch) -> tuple[GroupTime, ...]:
        """The one given time."""
        return (GroupTime("iteration", {"given": self.seconds + 0 * batch.tokens}),)
