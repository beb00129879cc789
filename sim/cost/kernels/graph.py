"""CUDA graphs are captured for some numbers of tokens; a batch runs in the next larger graph, padded to its size."""

from __future__ import annotations

from typing import Any

import numpy as np


def captured_sizes(largest: int) -> list[int]:
    """vLLM's: 1, 2, 4, then by 8 below 256, by 16 from there, up to `largest` tokens. None for 0 (eager)."""
    sizes = [1, 2, 4, *range(8, 256, 8), *range(256, largest + 1, 16)]
    return [size for size in sizes if size <= largest]


def padded(rows: Any, sizes: list[int]) -> Any:
    """`rows` as executed: those of the next captured graph, or as they are beyond the largest."""
    if not sizes:
        return rows
    ladder = np.array([*sizes, np.inf])
    fitting = ladder[np.searchsorted(ladder, rows)]
    return np.where(np.isinf(fitting), rows, fitting)
