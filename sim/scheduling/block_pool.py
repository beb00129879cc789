"""The paged KV cache as a budget of equal blocks."""

from __future__ import annotations


class BlockPool:
    """Counts blocks; `allocated` and `released` are totals over the pool's life."""

    def __init__(self, total_blocks: int) -> None:
        self.total_blocks = total_blocks
        self.free_blocks = total_blocks
        self.allocated = 0
        self.released = 0

    @property
    def used_blocks(self) -> int:
        """Blocks some request holds."""
        return self.total_blocks - self.free_blocks

    def allocate(self, blocks: int) -> None:
        """Take `blocks`; the caller has checked that they are free."""
        if not 0 <= blocks <= self.free_blocks:
            raise ValueError(f"cannot take {blocks} of {self.free_blocks} free blocks")
        self.free_blocks -= blocks
        self.allocated += blocks

    def release(self, blocks: int) -> None:
        """Give `blocks` back."""
        if not 0 <= blocks <= self.used_blocks:
            raise ValueError(f"cannot return {blocks} of {self.used_blocks} used blocks")
        self.free_blocks += blocks
        self.released += blocks
