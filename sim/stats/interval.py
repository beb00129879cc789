"""What a statistic is worth: an interval, or the reason why there is none.

Functions of this package that estimate return `Interval | Refused`, so that no caller can print an interval that the
data does not carry, nor lose a whole report to one thin column.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

OBSERVATIONS, PER_REPLICATION = "observations", "observations a replication"
"""Units of refusals."""


@dataclass(frozen=True)
class Interval:
    """A point estimate and its confidence interval, at `level` (0.95).

    `n_effective` is the number of independent observations that would say as much. `method` is for people.
    """

    value: float
    low: float
    high: float
    level: float
    n_effective: float
    method: str

    @property
    def half_width(self) -> float:
        """Half of the interval's width."""
        return (self.high - self.low) / 2

    @property
    def relative_half_width(self) -> float:
        """Half-width as a share of the value; of an uncertain zero infinite."""
        if not self.half_width:
            return 0.0
        return self.half_width / abs(self.value) if self.value else math.inf

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high


@dataclass(frozen=True)
class Refused:
    """No interval: `have` of the `unit` do not carry one, about `needed` would. `reason` begins the sentence."""

    reason: str
    have: int
    needed: int
    unit: str = OBSERVATIONS

    def __str__(self) -> str:
        return f"{self.reason}; needs about {self.needed:,} {self.unit}, have {self.have:,}"


def student_interval(
    value: float, standard_error: float, degrees: int, level: float, n_effective: float, method: str
) -> Interval:
    """value ± t·standard error, t the (1 + level)/2 quantile of Student's t with this many degrees of freedom."""
    half_width = t_quantile((1 + level) / 2, degrees) * standard_error
    return Interval(value, value - half_width, value + half_width, level, n_effective, method)


def t_quantile(probability: float, degrees: int) -> float:
    """Of Student's t distribution."""
    from scipy.special import stdtrit  # slow to import, and most commands print no interval

    return float(stdtrit(degrees, probability))


def as_values(values: ArrayLike, name: str = "values") -> FloatArray:
    """A series of finite numbers. Raises ValueError for anything else."""
    array = np.asarray(values, np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name}: must be one series, got {array.ndim} dimensions")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: must be finite; drop what is missing first")
    return array


def check_share(share: float, name: str) -> None:
    """Raises ValueError unless 0 < share < 1."""
    if not 0 < share < 1:
        raise ValueError(f"{name}: got {share}, must lie between 0 and 1")
