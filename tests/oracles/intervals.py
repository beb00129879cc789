"""Confidence intervals of a mean from independent replications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


class Interval(NamedTuple):
    """mean ± half_width."""

    mean: float
    half_width: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float)) and abs(value - self.mean) <= self.half_width

    @property
    def relative_half_width(self) -> float:
        return self.half_width / self.mean


def student_interval(replications: Sequence[float], level: float = 0.99) -> Interval:
    """The Student-t interval of independent, nearly normal values: the mean of each replication."""
    values = np.asarray(replications, float)
    standard_error = values.std(ddof=1) / np.sqrt(len(values))
    quantile = stats.t.ppf((1 + level) / 2, df=len(values) - 1)
    return Interval(float(values.mean()), float(quantile * standard_error))


def steady_mean(values: ArrayLike, warm_up: float = 0.1, cool_down: float = 0.02) -> float:
    """The mean of a replication in order of arrival, without the first 10 % (which found an empty system) and the last
    2 % (behind which nobody came)."""
    array = np.asarray(values, float)
    return float(array[int(len(array) * warm_up) : len(array) - int(len(array) * cool_down)].mean())
