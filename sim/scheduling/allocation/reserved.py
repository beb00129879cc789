"""The way before paging: a slot of `max_model_len` tokens from admission to the end, however short the answer."""

from __future__ import annotations

from sim.specs.engine import EngineSpec


def blocks_held(tokens: int, engine: EngineSpec) -> int:
    """A full slot from the first token on."""
    return engine.slot_blocks
