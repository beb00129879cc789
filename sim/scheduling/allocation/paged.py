"""Paged attention: blocks are taken when tokens need them, so at most one block a request is part empty."""

from __future__ import annotations

from collections.abc import Callable

from sim.specs.engine import EngineSpec


def reserved_tokens(engine: EngineSpec) -> Callable[[int], int]:
    """None."""
    return lambda known_tokens: 0
