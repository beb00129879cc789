"""Several differences tested at once: Holm's step-down correction (Holm 1979, Scandinavian Journal of Statistics 6).

The chance that any of several equal systems is called different stays below 1 - level. It sees more than Bonferroni's
correction and never less; only it gives no intervals, which is why those are Bonferroni's (`paired.compare_all`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from numpy.typing import ArrayLike

from sim.stats.interval import as_values


def paired_p_value(baseline: ArrayLike, other: ArrayLike) -> float:
    """Of Student's two-sided t test on the paired differences: how often equal systems would differ this much."""
    a, b = as_values(baseline, "baseline"), as_values(other, "other")
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"baseline and other: got {len(a)} and {len(b)} replications, must be two pairs or more")
    differences = b - a
    mean, standard_error = float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(len(a))
    if not standard_error:
        return 0.0 if mean else 1.0
    from scipy.special import stdtr  # slow to import, and most commands test nothing

    return 2 * float(stdtr(len(a) - 1, -abs(mean) / standard_error))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p values to hold against 1 - level as if each were alone: the i-th smallest of k times k + 1 - i, rising."""
    corrected: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}
