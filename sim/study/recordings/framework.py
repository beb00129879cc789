"""What is particular to the recordings of one framework."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sim.scheduling.core import SchedulerCore
from sim.scheduling.plan import Plan

Record = dict[str, Any]


Words = Callable[[Record, Plan, SchedulerCore], Record]
"""A line of our schedule log as a line of a framework's recordings, with our numbers for requests."""


def as_it_is(record: Record, plan: Plan, core: SchedulerCore) -> Record:
    """The schedule log has the schema of vLLM V1's recordings."""
    return record


@dataclass(frozen=True)
class Framework:
    """`engine` turns a header's config into a preset and arguments for it, in the framework's own names.

    `words` gives what one replay needs to speak as it does, line after line.
    """

    engine: Callable[[Record], tuple[str, Record]]
    words: Callable[[], Words] = lambda: as_it_is


def finished_in_batch_order(record: Record) -> list[int]:
    """Who finished, in the order of the batch, in which outputs are applied."""
    places = {part["id"]: place for place, part in enumerate(record["scheduled"])}
    return sorted(record["finished"], key=lambda request_id: places[request_id])
