"""Shortest predicted job first: who is predicted to say least goes first, then earlier arrival.

The longest predicted is the victim. A prediction is not revised as an answer grows.
"""

from __future__ import annotations

from sim.errors import InputError
from sim.scheduling.order.by_key import KeyOrder
from sim.specs.request import Request


class ShortestPredictedOrder(KeyOrder):
    """The shortest predicted answer first."""

    @staticmethod
    def rank(request: Request) -> int:
        """Its predicted length."""
        if request.predicted_output_tokens is None:
            raise InputError(
                f"request {request.request_id}: has no predicted_output_tokens, which engine.order "
                "shortest_predicted needs; predict it or change the order"
            )
        return request.predicted_output_tokens
