"""Blocks for everything known (prompt, and outputs of a preempted request) must be free, though only a chunk is taken.

vLLM 0.33's `scheduler_reserve_full_isl`: without it a burst of long prompts is admitted that cannot stay.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.specs.engine import EngineSpec


def blocks_required(engine: EngineSpec) -> Callable[[int, int], int]:
    """Blocks of the whole known sequence."""
    block_size = engine.block_size
    return lambda known_tokens, chunk_tokens: -(-known_tokens // block_size)
