"""A slot of `max_model_len` tokens must be free (Orca, FasterTransformer)."""

from __future__ import annotations

from collections.abc import Callable

from sim.specs.engine import EngineSpec


def blocks_required(engine: EngineSpec) -> Callable[[int, int], int]:
    """Blocks of a full slot."""
    slot_blocks = engine.slot_blocks
    return lambda known_tokens, chunk_tokens: slot_blocks
