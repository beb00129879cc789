"""The paged KV cache as a budget of equal blocks, with or without a memory of what the free ones hold."""

from __future__ import annotations

from sim.scheduling.prefix_cache import NOTHING_FOUND, Hit, PrefixCache
from sim.scheduling.state import RequestState
from sim.scheduling.text import cut


class BlockPool:
    """Counts blocks; `allocated` and `released` are totals over the pool's life.

    `saved_blocks` more would be needed if requests did not share.
    """

    def __init__(self, total_blocks: int) -> None:
        self.total_blocks = total_blocks
        self.free_blocks = total_blocks
        self.allocated = 0
        self.released = 0
        self.saved_blocks = 0

    @property
    def used_blocks(self) -> int:
        """Blocks some request holds."""
        return self.total_blocks - self.free_blocks

    def allocate(self, blocks: int) -> None:
        """Take `blocks`; the caller has checked that they are free."""
        free_blocks = self.free_blocks - blocks
        if free_blocks < 0 or blocks < 0:
            raise ValueError(f"cannot take {blocks} of {self.free_blocks} free blocks")
        self.free_blocks = free_blocks
        self.allocated += blocks

    def release(self, state: RequestState, blocks: int, full_blocks: int) -> None:
        """Take `blocks` back from a request, of which `full_blocks` are full."""
        free_blocks = self.free_blocks + blocks
        if blocks < 0 or free_blocks > self.total_blocks:
            raise ValueError(f"cannot return {blocks} of {self.used_blocks} used blocks")
        self.free_blocks = free_blocks
        self.released += blocks

    def find(self, state: RequestState) -> Hit:
        """Blocks of what a waiting request knows that are still there."""
        return NOTHING_FOUND

    def hold(self, state: RequestState, hit: Hit) -> None:
        """A request starts from what was found."""

    def store(self, state: RequestState, full_blocks: int) -> None:
        """A request has computed its first `full_blocks` blocks, of which others may want those of its prompt."""


class CachingBlockPool(BlockPool):
    """A pool whose free blocks can be found again until they are evicted.

    `_blank_blocks` of the free ones hold nothing to be found; they are used first. A negative number says how many of
    those that were taken since are still to be forgotten, the least recently used: that is put off until it matters.
    """

    def __init__(self, total_blocks: int, block_size: int) -> None:
        super().__init__(total_blocks)
        self._block_size = block_size
        self._blank_blocks = total_blocks
        self._cache = PrefixCache()

    def allocate(self, blocks: int) -> None:
        """Take `blocks`: blank ones while there are some, then the least recently used."""
        super().allocate(blocks)
        self._blank_blocks -= blocks

    def find(self, state: RequestState) -> Hit:
        """The longest stored prefix of what the request knows, but for the last token, which has to be computed."""
        if not self._cache.may_have(state.text):
            return NOTHING_FOUND
        self._evict()
        return self._cache.find(state.text, (state.known_tokens - 1) // self._block_size)

    def hold(self, state: RequestState, hit: Hit) -> None:
        """The found blocks are the request's too, and no longer free."""
        state.held = self._cache.hold(hit)
        state.stored_blocks = hit.blocks
        self.free_blocks -= hit.idle_blocks
        self.allocated += hit.idle_blocks
        self.saved_blocks += hit.blocks - hit.idle_blocks

    def store(self, state: RequestState, full_blocks: int) -> None:
        """Blocks of the text that others may have too can be found from now on; for the rest nobody looks yet."""
        full_blocks = min(full_blocks, state.shared_blocks)
        if full_blocks > state.stored_blocks:
            self._store(state, full_blocks)

    def release(self, state: RequestState, blocks: int, full_blocks: int) -> None:
        """What nobody else holds is free again; the full blocks can still be found, the others are blank."""
        self._evict()
        if full_blocks > state.stored_blocks:
            self._store(state, full_blocks)
        blank_blocks = blocks - full_blocks
        freed_blocks = blank_blocks + self._cache.let_go(state.held)
        self._blank_blocks += blank_blocks
        state.held, state.stored_blocks = (), 0
        self.saved_blocks -= blocks - freed_blocks
        super().release(state, freed_blocks, 0)

    def _evict(self) -> None:
        """Forget what the blocks taken so far held."""
        if self._blank_blocks < 0:
            self._cache.evict(-self._blank_blocks)
            self._blank_blocks = 0

    def _store(self, state: RequestState, full_blocks: int) -> None:
        state.held = self._cache.store(state.held, cut(state.text, state.stored_blocks, full_blocks))
        state.stored_blocks = full_blocks
