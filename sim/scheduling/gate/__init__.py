"""Admission gates: how many blocks must be free before a waiting request may start.

A gate is a function of the request's known tokens, the tokens of its first chunk, and the engine. The watermark comes
on top in the core. A new gate is one file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.scheduling.gate import first_chunk, slot, whole_prompt
from sim.specs.engine import EngineSpec

Gate = Callable[[int, int, EngineSpec], int]

GATES: dict[str, Gate] = {
    "first_chunk": first_chunk.blocks_required,
    "slot": slot.blocks_required,
    "whole_prompt": whole_prompt.blocks_required,
}
