"""Paged attention: blocks are taken when tokens need them, so at most one block a request is part empty."""

from __future__ import annotations

from sim.specs.engine import EngineSpec


def blocks_held(tokens: int, engine: EngineSpec) -> int:
    """Just the blocks that `tokens` tokens fill."""
    return engine.blocks_for(tokens)
