"""KV reservation: how many blocks a request holds once it has `tokens` tokens. One file a rule, one line here."""

from __future__ import annotations

from collections.abc import Callable

from sim.scheduling.allocation import paged, reserved
from sim.specs.engine import EngineSpec

Allocation = Callable[[int, EngineSpec], int]

ALLOCATIONS: dict[str, Allocation] = {"paged": paged.blocks_held, "reserved": reserved.blocks_held}
