"""Quantiles of weighted samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def repeated_quantiles(
    values: NDArray[np.float64], counts: NDArray[np.int64], levels: Sequence[float]
) -> NDArray[np.float64]:
    """Quantiles of the sample in which `values[i]` occurs `counts[i]` times, at `levels` in [0, 1].

    Equal to `numpy.quantile(numpy.repeat(values, counts), levels)` (its default, linear method), without repeating.
    """
    order = np.argsort(values, kind="stable")
    ranked, last_rank = values[order], np.cumsum(counts[order]) - 1
    position = np.asarray(levels, dtype=float) * last_rank[-1]
    low, weight = np.floor(position), position - np.floor(position)
    below = ranked[np.searchsorted(last_rank, low)]
    above = ranked[np.searchsorted(last_rank, np.minimum(low + 1, last_rank[-1]))]
    quantiles: NDArray[np.float64] = below + (above - below) * weight
    return quantiles
