"""Quantiles of many groups at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def grouped_quantiles(
    values: NDArray[np.float64], group: NDArray[np.int64], groups: int, levels: Sequence[float]
) -> NDArray[np.float64]:
    """A row a level: `numpy.quantile` of the values of each group from 0 to `groups` - 1, NaN where there are none."""
    size = np.bincount(group, minlength=groups)
    ranked = np.append(values[np.lexsort((values, group))], np.nan)
    first = np.where(size, np.cumsum(size) - size, len(values))
    position = np.asarray(levels, float)[:, None] * np.maximum(size - 1, 0)
    below = np.floor(position).astype(np.int64)
    low, high = ranked[first + below], ranked[first + np.minimum(below + 1, np.maximum(size - 1, 0))]
    quantiles: NDArray[np.float64] = low + (high - low) * (position - below)
    return quantiles
