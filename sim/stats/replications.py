"""Intervals over independent replications: the same experiment under several seeds, start-up cut off each.

Replications are independent by construction, so Student's t needs only that their values be nearly normal, which means
of long replications are (Law, Simulation Modeling and Analysis, 9.5.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sim.stats.interval import PER_REPLICATION, Interval, Refused, as_values, check_share, student_interval
from sim.stats.needed import MARGIN, observations_for_quantile, quantile_rule
from sim.stats.sections import quantiles_of, tail_shares

LEAST_REPLICATIONS = 3
"""Two have Student's t at 12.7, a statement about nothing; three 4.3, five 2.8, ten 2.3."""


def mean_interval(values: ArrayLike, level: float = 0.95) -> Interval | Refused:
    """The mean of one value a replication: its mean latency, its throughput, its P99."""
    check_share(level, "level")
    array = as_values(values)
    count = len(array)
    if count < LEAST_REPLICATIONS:
        return _too_few(count)
    standard_error = float(array.std(ddof=1)) / math.sqrt(count)
    return student_interval(float(array.mean()), standard_error, count - 1, level, count, _method("mean", count))


def ratio_interval(numerators: ArrayLike, denominators: ArrayLike, level: float = 0.95) -> Interval | Refused:
    """Σy/Σx of one pair (y, x) a replication: tokens over seconds, cost over tokens, requests in time over requests.

    The mean of the replications' own ratios is another number. Standard error s(y - rx)/(√k·x̄), r being the ratio
    (delta method; Cochran, Sampling Techniques, 6.4). Raises ValueError where the denominators add up to 0.
    """
    check_share(level, "level")
    y, x = as_values(numerators, "numerators"), as_values(denominators, "denominators")
    if len(y) != len(x):
        raise ValueError(f"numerators and denominators: got {len(y)} and {len(x)}, must be as many")
    count = len(y)
    if count < LEAST_REPLICATIONS:
        return _too_few(count)
    if not x.sum():
        raise ValueError("denominators: must not add up to 0")
    ratio = float(y.sum() / x.sum())
    standard_error = float((y - ratio * x).std(ddof=1) / (math.sqrt(count) * abs(x.mean())))
    return student_interval(ratio, standard_error, count - 1, level, count, _method("ratio", count))


def quantile_interval(replications: Sequence[ArrayLike], p: float, level: float = 0.95) -> Interval | Refused:
    """The quantile p of all observations of all replications, which may be of different length.

    Refused under the rules of a long run, of which each replication is a batch (see `needed.py`).
    """
    check_share(level, "level")
    sections = [as_values(values, f"replications[{i}]") for i, values in enumerate(replications)]
    count, shortest = len(sections), min((len(section) for section in sections), default=0)
    if count < LEAST_REPLICATIONS:
        return _too_few(count)
    if not shortest:
        needed = observations_for_quantile(p, batches=count)
        return Refused(quantile_rule(p, count), 0, math.ceil(needed / count), PER_REPLICATION)
    quantiles = quantiles_of(sections, p)
    _, tau = tail_shares(sections, quantiles.overall)
    if count * shortest < observations_for_quantile(p, tau, count):
        needed = math.ceil(observations_for_quantile(p, MARGIN * tau, count) / count)
        return Refused(quantile_rule(p, count, count * shortest, tau), shortest, needed, PER_REPLICATION)
    n_effective = float(np.sum(quantiles.sizes)) / tau
    return quantiles.interval(level, n_effective, _method("quantile of all, sectioned", count))


def _too_few(count: int) -> Refused:
    """The refusal of fewer than three replications."""
    return Refused("an interval over replications", count, LEAST_REPLICATIONS, "replications")


def _method(name: str, count: int) -> str:
    return f"{name}, Student's t over {count} replications"
