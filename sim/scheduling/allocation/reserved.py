"""The way before paging: a slot of `max_model_len` tokens from admission to the end, however short the answer."""

from __future__ import annotations

from collections.abc import Callable

from sim.specs.engine import EngineSpec


def blocks_held(engine: EngineSpec) -> Callable[[int], int]:
    """A full slot from the first token on."""
    slot_blocks = engine.slot_blocks
    return lambda tokens: slot_blocks if tokens else 0
