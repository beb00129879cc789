"""Admission gates: how many blocks must be free before a waiting request may start.

A gate is a function of the engine that returns that number as a function of the request's known tokens and of its
tokens after the first chunk. The watermark comes on top in the core. A new gate is one file and one line here.

`expected_outputs` and `future_peak` look ahead: each is a class, which its composition asks instead.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.scheduling.gate import first_chunk, slot, whole_prompt
from sim.specs.engine import EngineSpec

Gate = Callable[[int, int], int]

GATES: dict[str, Callable[[EngineSpec], Gate]] = {
    "expected_outputs": first_chunk.blocks_required,
    "first_chunk": first_chunk.blocks_required,
    "future_peak": first_chunk.blocks_required,
    "slot": slot.blocks_required,
    "whole_prompt": whole_prompt.blocks_required,
}
