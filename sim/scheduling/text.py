"""What a request's tokens say, as far as it matters: in whole blocks, which of them are equal in which requests."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from sim.specs.base import UNLIMITED
from sim.specs.request import Request

Text = Sequence[tuple[Hashable, int]]
"""Pairs of a key and a number of blocks: equal keys after equal texts stand for equal blocks."""


def text_of(shared_text: Sequence[tuple[Hashable, int]], own_text: Hashable, block_size: int) -> Text:
    """The prompt's shared text, in tokens, then the request's own, which its output continues without end.

    A block that two pieces meet in is keyed by both and by where they meet.
    """
    if not shared_text:
        return ((own_text, UNLIMITED // block_size),)
    text: list[tuple[Hashable, int]] = []
    straddling: tuple[tuple[Hashable, int], ...] = ()
    filled = 0
    for key, tokens in _pieces(shared_text, own_text):
        if filled:
            here = min(tokens, block_size - filled)
            straddling, filled, tokens = (*straddling, (key, here)), filled + here, tokens - here
            if filled < block_size:
                continue
            text.append((straddling, 1))
        blocks, filled = divmod(tokens, block_size)
        straddling = ((key, filled),)
        if blocks:
            text.append((key, blocks))
    return text


def own_text_of(request: Request) -> Hashable:
    """What the request's own text is called."""
    return ("request", request.request_id) if request.own_text is None else request.own_text


def _pieces(shared_text: Sequence[tuple[Hashable, int]], own_text: Hashable) -> Iterator[tuple[Hashable, int]]:
    """The request's texts one after the other; one that starts over is not the one that goes on."""
    before, repeats = None, 0
    for key, tokens in (*shared_text, (own_text, UNLIMITED)):
        repeats = repeats + 1 if key == before else 0
        before = key
        yield (key, repeats) if repeats else key, tokens


def cut(text: Text, start: int, end: int) -> Iterator[tuple[Hashable, int]]:
    """Blocks `start` to `end` of a text."""
    position = 0
    for key, blocks in text:
        after = position + blocks
        if after >= end:
            if end > start:
                yield key, end - (position if position > start else start)
            return
        if after > start:
            yield key, after - (position if position > start else start)
        position = after
