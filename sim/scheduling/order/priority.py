"""Lower priority value first, then earlier arrival; the worst by the same key is the victim."""

from __future__ import annotations

from sim.scheduling.order.by_key import Key, KeyOrder
from sim.scheduling.state import RequestState


class PriorityOrder(KeyOrder):
    """The most urgent first."""

    @staticmethod
    def key(state: RequestState) -> Key:
        """Priority, then arrival."""
        return state.request.priority, state.arrival_rank
