"""Every iteration takes the same time: the cost under which batching becomes a textbook queue."""

from __future__ import annotations

from dataclasses import dataclass

from sim.cost.batch import Batch, GroupTime


@dataclass(frozen=True, slots=True)
class ConstantModel:
    """`step_s` seconds, whatever runs."""

    step_s: float

    def explain(self, batch: Batch) -> tuple[GroupTime, ...]:
        """The one given time."""
        return (GroupTime("iteration", self.step_s, "given"),)
