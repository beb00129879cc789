"""Does a level grow to the end? The test behind the word "unstable"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 20


@dataclass(frozen=True)
class Trend:
    """`slope` per second of the level, and the one-sided p-value of no growth."""

    slope: float
    p_value: float

    def grows(self, significance: float, least_slope: float = 0.0) -> bool:
        """Whether growth steeper than `least_slope` is significant."""
        return self.p_value < significance and self.slope > least_slope


def level_trend(up: NDArray[np.float64], down: NDArray[np.float64], begin: float, end: float) -> Trend:
    """The trend of N(t) = #(up <= t) - #(down <= t) over [begin, end), begin < end; both arrays sorted, seconds.

    Time averages over 20 equal bins; Kendall's rank test of the bin means against time, slope by Theil and Sen.
    """
    edges = np.linspace(begin, end, BINS + 1)
    area = _integral_of_count(up, edges) - _integral_of_count(down, edges)
    levels = np.diff(area) / np.diff(edges)
    centres = (edges[:-1] + edges[1:]) / 2
    if np.ptp(levels) == 0:
        return Trend(slope=0.0, p_value=1.0)
    from scipy.stats import kendalltau, theilslopes  # slow to import, and most commands test no trend

    p_value = kendalltau(centres, levels, alternative="greater").pvalue
    return Trend(slope=float(theilslopes(levels, centres).slope), p_value=float(p_value))


def _integral_of_count(times: NDArray[np.float64], upto: NDArray[np.float64]) -> NDArray[np.float64]:
    """∫₀ᵗ #(times <= s) ds for each t in `upto`; `times` sorted."""
    count = np.searchsorted(times, upto, side="right")
    sums = np.concatenate(([0.0], np.cumsum(times)))
    return count * upto - sums[count]
