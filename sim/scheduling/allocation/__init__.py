"""KV reservation: for how many tokens a request gets blocks when it is admitted. One file a rule, one line here.

A rule is a function of the engine that returns that number as a function of the tokens the request knows. Tokens beyond
them get blocks as they come.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.scheduling.allocation import paged, paged_prompt, reserved
from sim.specs.engine import EngineSpec

Allocation = Callable[[int], int]

ALLOCATIONS: dict[str, Callable[[EngineSpec], Allocation]] = {
    "paged": paged.reserved_tokens,
    "paged_prompt": paged_prompt.reserved_tokens,
    "reserved": reserved.reserved_tokens,
}
