"""Batches as people think of them: decodes, and prompt chunks one by one."""

from __future__ import annotations

from sim.cost.batch import Batch


def batch_of(
    *chunks: tuple[int, int],
    decodes: int = 0,
    context_tokens: int = 0,
    service_s: float = 0.0,
    tile_tokens: int = 64,
    drafts: int = 0,
) -> Batch:
    """Of each chunk its new tokens and the tokens cached before, of the decodes the tokens they all attend to.

    Each decode verifies so many `drafts`, which are the last of those tokens.
    """
    return Batch(
        decodes,
        context_tokens,
        prefill_requests=len(chunks),
        prefill_tokens=sum(new for new, _ in chunks),
        prefill_pairs=sum(sum(range(cached + 1, cached + new + 1)) for new, cached in chunks),
        prefill_context_tokens=sum(new + cached for new, cached in chunks),
        prefill_tiles=sum(-(-new // tile_tokens) for new, _ in chunks),
        prefill_tile_keys=sum(_keys_of_tiles(new, cached, tile_tokens) for new, cached in chunks),
        longest_context_tokens=max([*(new + cached for new, cached in chunks), -(-context_tokens // max(decodes, 1))])
        if chunks
        else 0,
        service_s=service_s,
        draft_tokens=decodes * drafts,
        draft_pairs=drafts * (context_tokens - decodes * (1 + drafts)) + decodes * drafts * (drafts + 1) // 2,
    )


def _keys_of_tiles(new: int, cached: int, tile_tokens: int) -> int:
    """Tile by tile, the keys up to its end; where the last is not full, each ends as much earlier on average."""
    if new == 1:
        return cached + 1
    tiles = -(-new // tile_tokens)
    missing = (tiles * tile_tokens - new) / 2
    return int(sum(cached + (tile + 1) * tile_tokens - missing for tile in range(tiles)))
