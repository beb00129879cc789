"""Paged attention: blocks are taken when tokens need them, so at most one block a request is part empty."""

from __future__ import annotations

from collections.abc import Callable

from sim.specs.engine import EngineSpec


def blocks_held(engine: EngineSpec) -> Callable[[int], int]:
    """Just the blocks that the tokens fill."""
    block_size = engine.block_size
    return lambda tokens: -(-tokens // block_size)
