"""Estimates from sections of data that hardly depend on each other: batches of one run, or whole replications.

The estimate is that of all data together: the number that a summary prints. Its error comes from how the sections
scatter around it (sectioning: Asmussen & Glynn 2007, Stochastic Simulation, III.5; for quantiles Nakayama 2014). A mean
of the sections' quantiles would inherit the bias of short samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.stats.interval import FloatArray, Interval, student_interval

ROUNDING = 1e-12
"""Numbers that differ by less than this share differ by rounding alone."""


@dataclass(frozen=True)
class Sections:
    """What was estimated: in each section, in all, and from how many observations each."""

    estimates: FloatArray
    overall: float
    sizes: FloatArray

    def standard_error(self) -> float:
        """√(Σ nᵢ(yᵢ - y)² / (n(k - 1))) over k sections: the variance of one is as 1/nᵢ."""
        scatter = float((self.sizes * (self.estimates - self.overall) ** 2).sum())
        return float(np.sqrt(scatter / (self.sizes.sum() * (len(self.sizes) - 1))))

    def interval(self, level: float, n_effective: float, method: str) -> Interval:
        """Student's t, with as many degrees of freedom as there are sections less one."""
        return student_interval(self.overall, self.standard_error(), len(self.sizes) - 1, level, n_effective, method)

    def correlation_time(self, variance: float) -> float:
        """τ of sections' means: how many observations are worth one independent one; at least 1.

        n·(standard error)² over the variance of one observation; 1 where nothing varies.
        """
        if self._is_constant():
            return 1.0
        return max(1.0, float(self.sizes.sum()) * self.standard_error() ** 2 / variance)

    def lag1_z(self) -> float:
        """How significant it is that neighbouring sections are alike: N(0, 1) when they are independent.

        C = 1 - Σ(yᵢ - yᵢ₊₁)²/(2Σ(yᵢ - ȳ)²), times √((k² - 1)/(k - 2)): von Neumann's ratio (Fishman 1978).
        """
        if self._is_constant():
            return 0.0
        count, scatter = len(self.estimates), float(((self.estimates - self.estimates.mean()) ** 2).sum())
        alike = 1 - float((np.diff(self.estimates) ** 2).sum()) / (2 * scatter)
        return alike * math.sqrt((count**2 - 1) / (count - 2))

    def _is_constant(self) -> bool:
        """Whether the estimates differ by rounding alone."""
        return bool(np.ptp(self.estimates) <= ROUNDING * np.abs(self.estimates).max())


def means_of(sections: Sequence[FloatArray]) -> Sections:
    """The mean of each section and of all."""
    sizes = np.array([len(section) for section in sections], float)
    means = np.array([section.mean() for section in sections])
    return Sections(means, float(np.concatenate(sections).mean()), sizes)


def quantiles_of(sections: Sequence[FloatArray], p: float) -> Sections:
    """The quantile p of each section and of all, as `numpy.quantile`."""
    sizes = np.array([len(section) for section in sections], float)
    quantiles = np.array([np.quantile(section, p) for section in sections])
    return Sections(quantiles, float(np.quantile(np.concatenate(sections), p)), sizes)


def tail_shares(sections: Sequence[FloatArray], quantile: float) -> tuple[Sections, float]:
    """The share of each section and of all above the quantile, and the correlation time of lying there."""
    shares = means_of([(section > quantile).astype(float) for section in sections])
    return shares, shares.correlation_time(shares.overall * (1 - shares.overall))
