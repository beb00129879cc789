"""A slot of `max_model_len` tokens must be free (Orca, FasterTransformer)."""

from __future__ import annotations

from sim.specs.engine import EngineSpec


def blocks_required(known_tokens: int, chunk_tokens: int, engine: EngineSpec) -> int:
    """Blocks of a full slot."""
    return engine.slot_blocks
