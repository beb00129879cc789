"""Where start-up ends: how many observations to delete from the beginning of each replication.

A simulation begins empty, and its first requests wait less than those of a system that has been running. MSER (White
1997, Simulation 69(6); in batches of 5: Spratt 1998) deletes as many as make the standard error of what is left least.

Within one short run that does harm: it takes whole busy spells for start-up, cuts them off and so biases the mean
downwards. That is why everything here asks for replications: in their average the spells of each even out, and what all
have in common is left. One long run does without; its first tenth is cut off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sim.stats.interval import PER_REPLICATION, FloatArray, Refused, as_values
from sim.stats.sections import ROUNDING, means_of

BATCH = 5
LEAST_REPLICATIONS = 10
LEAST_LENGTH = 100
FORGOTTEN_AFTER = 4
"""Correlation times: e⁻⁴ is 2 %."""


def warm_up(replications: Sequence[ArrayLike]) -> int | Refused:
    """How many observations to delete from the beginning of each replication: MSER-5's, at least 4 correlation times.

    MSER deletes what can be told from noise, and in few or short replications that is too little: at 90 % load half of
    what the mean needs. But a system forgets how it began as it forgets everything else, within a few correlation
    times, and those are known. Refused when that is more than half of the shortest replication.
    """
    deleted = mser5(replications)
    if isinstance(deleted, Refused):
        return deleted
    series = [as_values(values)[deleted:] for values in replications]
    tau = means_of(series).correlation_time(float(np.concatenate(series).var()))
    count = max(deleted, math.ceil(FORGOTTEN_AFTER * tau))
    length = deleted + min(len(values) for values in series)
    if 2 * count > length:
        reason = f"start-up of {FORGOTTEN_AFTER} correlation times, {tau:,.0f} observations each, in half of a run"
        return Refused(reason, length, 2 * count, PER_REPLICATION)
    return count


def mser5(replications: Sequence[ArrayLike]) -> int | Refused:
    """The truncation point of MSER-5 in the average of replications, given in order of time and cut to the shortest.

    Refused where replications are too few, and where it would delete half of them or more: then start-up may last
    longer than they do.
    """
    if len(replications) < LEAST_REPLICATIONS:
        reason = "MSER-5, which in few replications takes busy spells for start-up"
        return Refused(reason, len(replications), LEAST_REPLICATIONS, "replications")
    series = [as_values(values, f"replications[{i}]") for i, values in enumerate(replications)]
    length = min(len(values) for values in series)
    if length < LEAST_LENGTH:
        return Refused("MSER-5", length, LEAST_LENGTH, PER_REPLICATION)
    averages = np.mean([values[: length // BATCH * BATCH] for values in series], axis=0)
    means = averages.reshape(-1, BATCH).mean(axis=1)
    least, most = _least_error(means), len(means) // 2
    if least == most:
        reason = "MSER-5 finds no end of start-up in the first half of a run"
        return Refused(reason, length, 2 * length, PER_REPLICATION)
    return BATCH * least


def _least_error(means: FloatArray) -> int:
    """The d in [0, n/2] at which Σ(yᵢ - ȳ)²/(n - d)², over the means from d on, is least."""
    reverse = (means - means.mean())[::-1]
    left = np.arange(1, len(means) + 1)
    squares = np.cumsum(reverse**2) - np.cumsum(reverse) ** 2 / left
    rounding = ROUNDING * (reverse**2).sum() + len(means) * (ROUNDING * np.abs(means).max()) ** 2
    squares[squares <= rounding] = 0
    errors = (squares / left**2)[::-1]
    return int(np.argmin(errors[: len(means) // 2 + 1]))
