"""The way before paging: a slot of `max_model_len` tokens from admission to the end, however short the answer."""

from __future__ import annotations

from collections.abc import Callable

from sim.specs.engine import EngineSpec


def reserved_tokens(engine: EngineSpec) -> Callable[[int], int]:
    """A full slot."""
    slot_tokens = engine.slot_blocks * engine.block_size
    return lambda known_tokens: slot_tokens
