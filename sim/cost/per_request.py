"""Requests bring their service time: with one seat the engine is a single-server queue (M/M/1, M/G/1 …).

A request's service is spread evenly over the iterations that emit its output tokens, so it sums to the drawn value
whatever the lengths are; an iteration that emits nothing (a prompt chunk) takes no time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.cost.batch import NO_GROWTH, Batch, GroupTime, Growth


@dataclass(frozen=True, slots=True)
class PerRequestModel:
    """The batch's own `service_s`."""

    query_tile_tokens: ClassVar[int] = 1

    def step_s(self, batch: Batch) -> float:
        """The service time that falls into this iteration."""
        return batch.service_s

    def verify_s(self, batch: Batch) -> float:
        """The same: a request's service is what it is."""
        return batch.service_s

    def growth(self, batch: Batch, decode_requests: int) -> Growth:
        """None: all iterations of a request take the same time."""
        return NO_GROWTH

    def explain(self, batch: Batch) -> tuple[GroupTime, ...]:
        """All of it is service."""
        return (GroupTime("service", {"given": batch.service_s}),)
