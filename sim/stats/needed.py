"""How much data a statistic needs: the rules by which intervals are refused, and the run lengths that meet them.

Observations of a run depend on each other. With the correlation time τ = 1 + 2Σρ(k), n of them are worth n/τ
independent ones. A quantile p is about the tail beyond it: of n observations (1 - p)n lie there, worth (1 - p)n/τ where
τ is that of the series "lies in the tail".

The numbers of this page were found on single servers at 70, 80 and 90 % load and on autoregressive series: with them a
nominal 95 % interval covers 92 % or more, at whatever length it is first granted.
"""

from __future__ import annotations

import math

from sim.stats.interval import check_share

BATCHES = 20
"""More shorten the batches and gain little: 20 give a Student factor of 2.09, infinitely many 1.96 (Schmeiser 1982)."""

TAIL_PER_BATCH = 100
"""Observations of a batch beyond its quantile: a batch holds 100/(1 - p) in all."""

EFFECTIVE_IN_TAIL = 2
"""Independent observations of a batch beyond its quantile, of 20 batches at least. The first rule does not see how long
a busy spell lasts: at 90 % load a batch of 100/(1 - p) holds the tail of one spell or of none."""

EFFECTIVE_FOR_MEAN = 30
"""Independent observations of a batch under a mean, of 20 batches at least: waits are skewed."""

MARGIN = 3
"""What is asked for has three times the τ that was seen, an estimate that is too low in short runs. One who is asked
for just enough looks again and again, and stops at the run that happens to look calm."""


def batch_size_for_quantile(p: float) -> int:
    """100/(1 - p) observations: 2,000 for P95, 10,000 for P99, 100,000 for P99.9."""
    return _whole(TAIL_PER_BATCH / tail(p))


def observations_for_quantile(p: float, correlation_time: float = 1.0, batches: int = BATCHES) -> int:
    """Observations that an interval of quantile p requires in all: max(100k, 2·max(k, 20)τ)/(1 - p) in k batches."""
    by_correlation = _whole(effective_in_tail(batches) * correlation_time / tail(p))
    return max(batches * batch_size_for_quantile(p), by_correlation)


def effective_in_tail(batches: int) -> int:
    """Independent observations beyond the quantile, in all batches: 40 in 20."""
    return EFFECTIVE_IN_TAIL * max(batches, BATCHES)


def observations_for_mean(correlation_time: float = 1.0, batches: int = BATCHES) -> int:
    """Observations that an interval of the mean of one run requires: 30·max(k, 20)τ in k batches."""
    return _whole(EFFECTIVE_FOR_MEAN * max(batches, BATCHES) * correlation_time)


def observations_for_half_width(asymptotic_variance: float, half_width: float, level: float = 0.95) -> int:
    """Observations for a mean ± half_width: z²σ²/h², σ² = lim n·Var(mean of n) = τ·Var of one (Whitt 1989)."""
    check_share(level, "level")
    from scipy.special import ndtri  # slow to import, and most commands plan nothing

    return math.ceil(float(ndtri((1 + level) / 2)) ** 2 * asymptotic_variance / half_width**2)


def mm1_wait_variance(utilisation: float) -> float:
    """lim n·Var(mean wait of n) of M/M/1, in squared service times: ρ(2 + 5ρ - 4ρ² + ρ³)/(1 - ρ)⁴ (Whitt 1989).

    To plan runs of a system that nobody has simulated yet: ±2 % at 90 % load takes four million requests.
    """
    check_share(utilisation, "utilisation")
    rho = utilisation
    return rho * (2 + 5 * rho - 4 * rho**2 + rho**3) / (1 - rho) ** 4


def mm1_relaxation_time(utilisation: float) -> float:
    """1/(1 - √ρ)² service times: how long M/M/1 remembers (Cohen 1982). A start-up lasts a few of these."""
    check_share(utilisation, "utilisation")
    return 1 / (1 - math.sqrt(utilisation)) ** 2


def quantile_rule(p: float, batches: int, observations: int = 0, correlation_time: float = 1.0) -> str:
    """What an interval of quantile p takes, and what of it there is, for people."""
    beyond = observations * tail(p)
    return (
        f"P{100 * p:g} takes {TAIL_PER_BATCH} observations beyond it in each of {batches} parts "
        f"(now {int(beyond / batches)}) and {effective_in_tail(batches)} independent ones in all "
        f"(now {int(beyond / correlation_time)})"
    )


def tail(p: float) -> float:
    """min(p, 1 - p): the share of observations beyond the quantile, on its thinner side."""
    check_share(p, "p")
    return min(p, 1 - p)


def _whole(number: float) -> int:
    """Rounded up, unless it is whole but for rounding."""
    return math.ceil(round(number, 6))
