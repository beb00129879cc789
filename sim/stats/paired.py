"""Two systems under common random numbers: the same requests served by both, seed by seed.

What the seed does to both cancels in the difference, so a difference is seen with far fewer replications than two
separate means would take (Law, Simulation Modeling and Analysis, 10.2.1 and 11.2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike

from sim.stats.interval import FloatArray, Interval, Refused, as_values, check_share
from sim.stats.replications import mean_interval, ratio_interval

Verdict = Literal["lower", "higher", "same", "unknown"]


@dataclass(frozen=True)
class Comparison:
    """How `other` differs from `baseline` in a metric.

    `difference` is other - baseline, `relative` that over the baseline's mean (None where this is 0).
    `variance_reduction` is the variance of the difference had the two been independent, over that of the paired one:
    so many times the replications would have been needed without pairing.
    """

    difference: Interval
    relative: Interval | None
    variance_reduction: float
    verdict: Verdict


def compare(
    baseline: ArrayLike, other: ArrayLike, level: float = 0.95, same_within: float = 0.0
) -> Comparison | Refused:
    """One value a replication of each system, in the same order of seeds.

    Relative differences of up to `same_within` (0.02) do not matter to the one who asks. Refused below 3 replications.
    """
    a, b = as_values(baseline, "baseline"), as_values(other, "other")
    if len(a) != len(b):
        raise ValueError(f"baseline and other: got {len(a)} and {len(b)} replications, must be paired")
    if not same_within >= 0:
        raise ValueError(f"same_within: got {same_within}, must be at least 0")
    difference = mean_interval(b - a, level)
    if isinstance(difference, Refused):
        return difference
    relative = ratio_interval(b - a, a, level) if a.sum() else None
    assert not isinstance(relative, Refused)  # it takes as many replications as the difference
    verdict = _verdict(difference, relative, same_within)
    return Comparison(difference, relative, _variance_reduction(a, b), verdict)


def compare_all(
    baseline: ArrayLike, others: Mapping[str, ArrayLike], level: float = 0.95, same_within: float = 0.0
) -> dict[str, Comparison | Refused]:
    """Several systems against one baseline, so that with probability `level` no interval of them all misses."""
    each = simultaneous_level(level, max(1, len(others)))
    return {name: compare(baseline, values, each, same_within) for name, values in others.items()}


def simultaneous_level(level: float, comparisons: int) -> float:
    """The level of each of several intervals that hold together at `level`: 1 - (1 - level)/k (Bonferroni)."""
    check_share(level, "level")
    if comparisons < 1:
        raise ValueError(f"comparisons: got {comparisons}, must be at least 1")
    return 1 - (1 - level) / comparisons


def _verdict(difference: Interval, relative: Interval | None, same_within: float) -> Verdict:
    """`same` where the whole interval does not matter, else the side of 0 it lies on, else unknown."""
    if difference.low == difference.high == 0:
        return "same"
    if relative is not None and -same_within <= relative.low and relative.high <= same_within:
        return "same"
    if difference.high < 0:
        return "lower"
    return "higher" if difference.low > 0 else "unknown"


def _variance_reduction(a: FloatArray, b: FloatArray) -> float:
    """(Var a + Var b)/Var(b - a): 1 where pairing gains nothing, below 1 where it harms."""
    independent, paired = float(a.var(ddof=1) + b.var(ddof=1)), float((b - a).var(ddof=1))
    if paired:
        return independent / paired
    return math.inf if independent else 1.0
