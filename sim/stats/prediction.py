"""Where a further value would lie, as seen from some."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike
from scipy.stats import t as student

from sim.stats.interval import as_values, check_share


def prediction(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """(middle, half width) of the interval in which a further value falls, of nearly normal ones, three at least.

    Student's t with s √(1 + 1/n): the spread of one value and the uncertainty of the middle (Hahn, Meeker, Statistical
    Intervals, 4.7).
    """
    check_share(level, "level")
    array = as_values(values)
    count = len(array)
    quantile = float(student.ppf((1 + level) / 2, count - 1))
    return float(array.mean()), quantile * float(array.std(ddof=1)) * math.sqrt(1 + 1 / count)
