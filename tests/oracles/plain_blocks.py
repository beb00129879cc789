"""A prefix-caching block pool written block by block, as vLLM's: the independent answer for runs of blocks.

A block has a count of users and, once it is full, a hash: of its own tokens and of all before them. Free blocks stand
in one queue; taking one from its head forgets its hash.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from sim.specs.request import Request


@dataclass(eq=False)
class Block:
    users: int = 0
    hash: Hashable = None


@dataclass(eq=False)
class Holder:
    """A request: its blocks in order, and the hash of each block of its text."""

    hashes: Sequence[Hashable]
    blocks: list[Block] = field(default_factory=list)


def text_of(request: Request, tokens: int) -> list[Hashable]:
    """The first `tokens` tokens of its prompt and answer: of each the text it is from, and its place there."""
    shared = [(key, place) for key, count in request.shared_text for place in range(count)]
    own_text = ("request", request.request_id) if request.own_text is None else request.own_text
    return [*shared, *((own_text, place) for place in range(tokens - len(shared)))]


def chained_hashes(tokens: Sequence[Hashable], block_size: int) -> list[Hashable]:
    """Of every full block of a text; equal blocks after different texts have different hashes."""
    hashes: list[Hashable] = []
    for end in range(block_size, len(tokens) + 1, block_size):
        before = hashes[-1] if hashes else None
        hashes.append(hash((before, *tokens[end - block_size : end])))
    return hashes


class PlainBlocks:
    """`free` is the queue, next to be taken first; `known` finds blocks by hash, oldest first."""

    def __init__(self, count: int) -> None:
        self.free: deque[Block] = deque(Block() for _ in range(count))
        self.known: dict[Hashable, list[Block]] = {}

    def find(self, holder: Holder, most: int) -> list[Block]:
        """The blocks of the longest known prefix."""
        found = []
        for block_hash in holder.hashes[:most]:
            if block_hash not in self.known:
                break
            found.append(self.known[block_hash][0])
        return found

    def hold(self, holder: Holder, found: list[Block]) -> None:
        for block in found:
            if not block.users:
                self.free.remove(block)
            block.users += 1
        holder.blocks += found

    def take(self, holder: Holder, count: int) -> None:
        """New blocks for a request; what they held is forgotten."""
        for _ in range(count):
            block = self.free.popleft()
            if block.hash is not None:
                self.known[block.hash].remove(block)
                if not self.known[block.hash]:
                    del self.known[block.hash]
                block.hash = None
            block.users = 1
            holder.blocks.append(block)

    def publish(self, holder: Holder, full: int) -> None:
        """The first `full` blocks of a request can be found from now on."""
        for block, block_hash in zip(holder.blocks[:full], holder.hashes, strict=False):
            if block.hash is None:
                block.hash = block_hash
                self.known.setdefault(block_hash, []).append(block)

    def release(self, holder: Holder) -> None:
        """Last block first: what can be found to the tail of the queue, the rest to its head, to go in that order."""
        for block in holder.blocks:
            block.users -= 1
        idle = [block for block in reversed(holder.blocks) if not block.users]
        self.free.extend(block for block in idle if block.hash is not None)
        self.free.extendleft(block for block in reversed(idle) if block.hash is None)
        holder.blocks = []
