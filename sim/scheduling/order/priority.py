"""Lower priority value first, then earlier arrival; the worst by the same key is the victim."""

from __future__ import annotations

from sim.scheduling.order.by_key import KeyOrder
from sim.specs.request import Request


class PriorityOrder(KeyOrder):
    """The most urgent first."""

    @staticmethod
    def rank(request: Request) -> int:
        """Its priority."""
        return request.priority
