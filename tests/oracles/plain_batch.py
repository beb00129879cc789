"""What the plain scheduler's iterations execute, as a cost model sees it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sim.cost.batch import Batch
from sim.formulas import pairs

if TYPE_CHECKING:
    from oracles.plain_scheduler import Iteration


def batch_of(iteration: Iteration, pads: bool, tile_tokens: int) -> Batch:
    """What is executed: decodes, slots of finished members, and prompt chunks, padded to the longest where `pads`.

    Drafts are counted by themselves; contexts reach to the last of them.
    """
    decodes = [part for part in iteration.parts if part.decodes]
    prompts = [part for part in iteration.parts if not part.decodes]
    chunks = [(part.tokens - part.draft_tokens, part.start) for part in prompts]
    if pads and chunks:
        longest = max(tokens for tokens, _ in chunks)
        chunks = [(longest, start) for _, start in chunks]
    ends = [part.start + part.tokens for part in iteration.parts]
    emitting = [part.state for part in iteration.parts if part.emits]
    return Batch(
        len(decodes) + len(iteration.padding),
        sum(part.start + part.tokens for part in decodes) + sum(state.computed_tokens for state in iteration.padding),
        len(chunks),
        sum(tokens for tokens, _ in chunks),
        sum(pairs(tokens, start) for tokens, start in chunks),
        sum(tokens + start for tokens, start in chunks) + sum(part.draft_tokens for part in prompts),
        sum(math.ceil(tokens / tile_tokens) for tokens, _ in chunks),
        sum(_tile_keys(tokens, start, tile_tokens) for tokens, start in chunks),
        max([*(tokens + start for tokens, start in chunks), *ends]) if chunks else 0,
        sum((state.request.service_s or 0.0) / state.output_tokens for state in emitting),
        sum(part.draft_tokens for part in iteration.parts),
        sum(pairs(part.draft_tokens, part.start) for part in iteration.parts),
    )


def _tile_keys(new: int, cached: int, tile_tokens: int) -> int:
    """Keys that the tiles of a chunk see, each up to its end; a single token sees its own."""
    if new == 1:
        return cached + 1
    return math.floor(math.ceil(new / tile_tokens) * (cached + (new + tile_tokens) / 2))
