"""Only the blocks of the first chunk must be free (vLLM V1 with `scheduler_reserve_full_isl` off)."""

from __future__ import annotations

from sim.specs.engine import EngineSpec


def blocks_required(known_tokens: int, chunk_tokens: int, engine: EngineSpec) -> int:
    """Blocks of the chunk that would run now."""
    return engine.blocks_for(chunk_tokens)
