"""Only the blocks of the first chunk must be free (vLLM V1 with `scheduler_reserve_full_isl` off)."""

from __future__ import annotations

from collections.abc import Callable

from sim.specs.engine import EngineSpec


def blocks_required(engine: EngineSpec) -> Callable[[int, int], int]:
    """Blocks of the chunk that would run now."""
    block_size = engine.block_size
    return lambda known_tokens, chunk_tokens: -(-chunk_tokens // block_size)
