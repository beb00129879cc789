"""Paged attention, but the blocks of the whole prompt are taken at once, however it is chunked (vLLM V0, Sarathi)."""

from __future__ import annotations

from collections.abc import Callable

from sim.specs.engine import EngineSpec


def reserved_tokens(engine: EngineSpec) -> Callable[[int], int]:
    """All that is known: prompt, and outputs of a preempted request."""
    return lambda known_tokens: known_tokens
