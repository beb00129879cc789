"""Blocks for everything known (prompt, and outputs of a preempted request) must be free, though only a chunk is taken.

vLLM 0.33's `scheduler_reserve_full_isl`: without it a burst of long prompts is admitted that cannot stay.
"""

from __future__ import annotations

from sim.specs.engine import EngineSpec


def blocks_required(known_tokens: int, chunk_tokens: int, engine: EngineSpec) -> int:
    """Blocks of the whole known sequence."""
    return engine.blocks_for(known_tokens)
