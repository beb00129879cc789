"""Maxima of many ranges of one array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def range_maxima(
    values: NDArray[np.float64], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.float64]:
    """`values[begins[i]:ends[i]].max()` for every i; of an empty range -inf.

    A range is covered by two, which may overlap, of the largest power of two that fits into it: a sparse table, of
    which only one power is there at a time.
    """
    power = np.frexp(np.maximum(ends - begins, 0))[1] - 1
    maxima = np.full(len(begins), -np.inf)
    table = values
    for exponent in range(power.max(initial=-1) + 1):
        width = 2**exponent
        covered = np.flatnonzero(power == exponent)
        maxima[covered] = np.maximum(table[begins[covered]], table[ends[covered] - width])
        table = np.maximum(table[:-width], table[width:])
    return maxima
