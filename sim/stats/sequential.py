"""Replicate until the interval is narrow enough: is it, and about how many more does it take?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sim.stats.interval import Interval, Refused
from sim.stats.replications import LEAST_REPLICATIONS as LEAST_FOR_INTERVAL
from sim.stats.replications import mean_interval

LEAST_REPLICATIONS = 10
"""Before the first look: the variance of fewer is a guess, and a lucky one would end the study."""

GROWTH = 2
"""At a time the number of replications at most doubles: the estimate of what is needed is as shaky as the variance."""


@dataclass(frozen=True)
class Progress:
    """Whether to stop. `needed` replications in all would do, `more` of them are to run before the next look.

    `needed` is None where the mean is 0, of which no half-width is a small share.
    """

    interval: Interval | Refused
    met: bool
    needed: int | None
    more: int


def progress(
    values: ArrayLike, relative_half_width: float, level: float = 0.95, least: int = LEAST_REPLICATIONS
) -> Progress:
    """Of one value a replication so far, towards a half-width of this share of the mean.

    The half-width h of n replications takes about n(h/target)² of them (two stages: Stein 1945; Law, Simulation
    Modeling and Analysis, 9.4.1).
    """
    if not relative_half_width > 0:
        raise ValueError(f"relative_half_width: got {relative_half_width}, must be above 0")
    interval = mean_interval(values, level)
    count, least = np.size(values), max(least, LEAST_FOR_INTERVAL)
    if isinstance(interval, Refused) or count < least:
        return Progress(interval, False, least, least - count)
    if interval.relative_half_width <= relative_half_width:
        return Progress(interval, True, count, 0)
    if not interval.value:
        return Progress(interval, False, None, (GROWTH - 1) * count)
    needed = max(count + 1, math.ceil(count * (interval.relative_half_width / relative_half_width) ** 2))
    return Progress(interval, False, needed, min(needed, GROWTH * count) - count)
