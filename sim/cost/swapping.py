"""The cost of an iteration before which blocks of KV memory move between the device and the host (vLLM V0)."""

from __future__ import annotations

from sim.cost.batch import Batch, CostModel, GroupTime, Growth

SWAPPING = "swapping"
"""The operation group of these copies."""


class SwappingModel:
    """Iterations under `cost`, later by `block_s` for every block that is copied first."""

    def __init__(self, cost: CostModel, block_s: float) -> None:
        self._cost, self._block_s = cost, block_s
        self.query_tile_tokens = cost.query_tile_tokens

    def step_s(self, batch: Batch) -> float:
        """Seconds of one iteration."""
        return self._cost.step_s(batch) + batch.swapped_blocks * self._block_s

    def verify_s(self, batch: Batch) -> float:
        """The same: engines that swap verify no drafts."""
        return self.step_s(batch)

    def growth(self, batch: Batch, decode_requests: int) -> Growth:
        """That of the iteration alone; one that copies is not repeated."""
        return self._cost.growth(batch, decode_requests)

    def explain(self, batch: Batch) -> tuple[GroupTime, ...]:
        """Time by operation group; copying is one, and the link to the host sets it."""
        return *self._cost.explain(batch), GroupTime(SWAPPING, {"link": batch.swapped_blocks * self._block_s})
