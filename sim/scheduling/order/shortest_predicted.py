"""Shortest predicted job first: who is predicted to say least goes first, then earlier arrival.

The longest predicted is the victim. A prediction is not revised as an answer grows.
"""

from __future__ import annotations

from sim.errors import InputError
from sim.scheduling.order.by_key import Key, KeyOrder
from sim.scheduling.state import RequestState


class ShortestPredictedOrder(KeyOrder):
    """The shortest predicted answer first."""

    @staticmethod
    def key(state: RequestState) -> Key:
        """Predicted length, then arrival."""
        predicted_tokens = state.request.predicted_output_tokens
        if predicted_tokens is None:
            raise InputError(
                f"request {state.request.request_id}: has no predicted_output_tokens, which engine.order "
                "shortest_predicted needs; predict it or change the order"
            )
        return predicted_tokens, state.arrival_rank
