"""The interval of a quantile between two ranks, for independent observations of whatever distribution.

For one value a replication: the median of P99 over seeds, the quartiles of a capacity. Latencies of one run are not
independent; this interval would cover their P99 one time in six (see `batch_means.py`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from sim.stats.interval import Interval, Refused, as_values, check_share


def order_statistic_interval(values: ArrayLike, p: float, level: float = 0.95) -> Interval | Refused:
    """From the l-th smallest value to the u-th: P(l <= K < u) >= level, K ~ Binomial(n, p) values below the quantile.

    Refused where n is so small that even the extremes do not enclose the quantile often enough (Conover, Practical
    Nonparametric Statistics, 3.2).
    """
    check_share(p, "p")
    check_share(level, "level")
    array = as_values(values)
    needed = _least_count(p, level)
    if len(array) < needed:
        return Refused(f"P{100 * p:g} between two ranks", len(array), needed, "independent observations")
    from scipy.stats import binom  # slow to import, and most commands print no interval

    count, ranked = len(array), np.sort(array)
    below, above = (int(binom.ppf(share, count, p)) for share in ((1 - level) / 2, (1 + level) / 2))
    low, high = float(ranked[below - 1]), float(ranked[above])
    return Interval(float(np.quantile(array, p)), low, high, level, count, f"order statistics of {count:,}")


def _least_count(p: float, level: float) -> int:
    """The least n for which all or none of n lie below the quantile with a probability of at most (1 - level)/2."""
    return math.ceil(math.log((1 - level) / 2) / math.log(max(p, 1 - p)))
