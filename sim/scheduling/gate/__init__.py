"""Admission gates: how many blocks must be free before a waiting request may start.

A gate is a function of the engine that returns that number as a function of the request's known tokens and of its
tokens after the first chunk. The watermark comes on top in the core. A new gate is one file and one line here.

`expected_outputs` looks ahead: it is a class of its own, which its composition asks, and blocks are no matter here.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.scheduling.gate import first_chunk, slot, whole_prompt
from sim.specs.engine import EngineSpec

Gate = Callable[[int, int], int]

GATES: dict[str, Callable[[EngineSpec], Gate]] = {
    "expected_outputs": first_chunk.blocks_required,
    "first_chunk": first_chunk.blocks_required,
    "slot": slot.blocks_required,
    "whole_prompt": whole_prompt.blocks_required,
}
