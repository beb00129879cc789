"""KV reservation: how many blocks a request holds once it has so many tokens. One file a rule, one line here.

A rule is a function of the engine that returns that number as a function of the tokens.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.scheduling.allocation import paged, reserved
from sim.specs.engine import EngineSpec

Allocation = Callable[[int], int]

ALLOCATIONS: dict[str, Callable[[EngineSpec], Allocation]] = {
    "paged": paged.blocks_held,
    "reserved": reserved.blocks_held,
}
