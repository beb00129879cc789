"""Exact Markov chains embedded at step boundaries: continuous and static batching, at any parameters.

The number in the system at a boundary is a Markov chain when arrivals are Poisson and outputs geometric, whoever has
run for how long. Means per unit of time are the stationary means per cycle over the mean length of a cycle; a cycle is
a step, and the wait for a request where nobody is there. Times in seconds; the chain is cut at `most` requests.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

NEVER = 1e-15
"""Probabilities below this are left out."""


def continuous_batching(
    lam: float, alpha: float, beta: float, p: float, seats: int, most: int = 400
) -> dict[str, float]:
    """Poisson arrivals, outputs of a geometric number of tokens (p = 1: of one), steps of alpha + beta·B.

    A request that comes during a step joins at its end if there is a seat; an idle engine starts at once.
    """
    start = np.maximum(np.arange(most + 1), 1)
    batch = np.minimum(start, seats)
    step_s = alpha + beta * batch
    idle = start != np.arange(most + 1)
    leaving = [stats.binom.pmf(np.arange(size + 1), size, p) for size in range(seats + 1)]
    coming = {size: _arrivals(lam * (alpha + beta * size), most) for size in range(1, min(seats, most) + 1)}
    moves = [_row(start[n], leaving[batch[n]], coming[batch[n]], most) for n in range(most + 1)]
    share = _stationary(moves)
    cycle_s = step_s + np.where(idle, 1 / lam, 0.0)
    mean_cycle_s = share @ cycle_s
    waiting = (start - batch) * step_s + lam * step_s**2 / 2
    present = start * step_s + lam * step_s**2 / 2
    first_s = _mean_first_step(share, start, batch, leaving, coming, step_s)
    wait_s = share @ waiting / mean_cycle_s / lam
    return {
        "E2E": share @ present / mean_cycle_s / lam,
        "N": share @ present / mean_cycle_s,
        "Wq": wait_s,
        "wait_to_first_step": wait_s,
        "mean_first_step": first_s,
        "TTFT": wait_s + first_s,
        "utilisation": share @ step_s / mean_cycle_s,
        "mean_batch": share @ batch,
        "mean_batch_per_step": share @ batch,
        "steps_per_s": 1 / mean_cycle_s,
        "tokens_per_s": share @ batch / mean_cycle_s,
        "beyond": share[-1],
    }


def static_batching(lam: float, step_s: float, p: float, seats: int, most: int = 400) -> dict[str, float]:
    """Static batching of geometric outputs: an idle engine takes who waits, up to its seats, until all are done.

    `E2E_hold` is to the end of the batch, `E2E_own` to a request's own last token.
    """
    start = np.maximum(np.arange(most + 1), 1)
    batch = np.minimum(start, seats)
    longest = [_longest(p, size) for size in range(1, seats + 1)]
    coming = [_mixed_arrivals(lam * step_s, law, most) for law in longest]
    moves = [_row(start[n] - batch[n], np.ones(1), coming[batch[n] - 1], most) for n in range(most + 1)]
    share = _stationary(moves)
    mean_s = step_s * np.array([law @ np.arange(len(law)) for law in longest])[batch - 1]
    square = step_s**2 * np.array([law @ np.arange(len(law)) ** 2 for law in longest])[batch - 1]
    mean_cycle_s = share @ (mean_s + np.where(np.arange(most + 1) == 0, 1 / lam, 0.0))
    wait_s = share @ ((start - batch) * mean_s + lam * square / 2) / mean_cycle_s / lam
    held_s = share @ (batch * mean_s) / (share @ batch)
    return {
        "Wq": wait_s,
        "E2E_hold": wait_s + held_s,
        "E2E_own": wait_s + step_s / p,
        "mean_batch": share @ batch,
        "utilisation": share @ mean_s / mean_cycle_s,
        "beyond": share[-1],
    }


def _arrivals(expected: float, most: int) -> Floats:
    """Probabilities of 0, 1, 2 … arrivals, as far as they matter."""
    count = min(int(stats.poisson.isf(NEVER, expected)) + 2, most + 1)
    return stats.poisson.pmf(np.arange(count), expected)


def _row(present: int, leaving: Floats, coming: Floats, most: int) -> tuple[int, Floats]:
    """(the least number at the next boundary, probabilities from there on), of which none is beyond `most`."""
    law = np.convolve(leaving[::-1], coming)
    least = present - (len(leaving) - 1)
    kept = law[: most + 1 - least]
    kept[-1] += law[len(kept) :].sum()
    return least, kept / kept.sum()


def _stationary(moves: list[tuple[int, Floats]]) -> Floats:
    """The stationary law of a chain whose rows are given from their first possible state on.

    By elimination without subtraction (Grassmann, Taksar, Heyman), so that small probabilities are right too.
    """
    chances = np.zeros((len(moves), len(moves)))
    for n, (least, law) in enumerate(moves):
        chances[n, least : least + len(law)] = law
    for n in range(len(moves) - 1, 0, -1):
        chances[:n, n] /= chances[n, :n].sum()
        chances[:n, :n] += np.outer(chances[:n, n], chances[n, :n])
    law = np.ones(len(moves))
    for n in range(1, len(moves)):
        law[n] = law[:n] @ chances[:n, n]
    return law / law.sum()


def _mean_first_step(
    share: Floats, start: Floats, batch: Floats, leaving: list[Floats], coming: dict[int, Floats], step_s: Floats
) -> float:
    """Mean first step of a request: steps weighted by how many requests they admit.

    After a step with B running, `gone` of whom leave, the next one's batch minus the B - gone who stay is new.
    """
    admitted = weighted_s = 0.0
    for n in np.flatnonzero(share > NEVER):
        stay = batch[n] - np.arange(batch[n] + 1)
        following = start[n] - np.arange(batch[n] + 1)[:, None] + np.arange(len(coming[batch[n]]))
        following = np.minimum(following, len(start) - 1)
        chances = share[n] * leaving[batch[n]][:, None] * coming[batch[n]]
        new = batch[following] - stay[:, None]
        admitted += (chances * new).sum()
        weighted_s += (chances * new * step_s[following]).sum()
    return weighted_s / admitted


def _longest(p: float, size: int) -> Floats:
    """Law of the longest of `size` geometric outputs: P(longest <= k) = (1 - (1 - p)^k)^size."""
    steps = np.arange(int(np.log(NEVER / size) / np.log1p(-p)) + 2)
    up_to: Callable[[Floats], Floats] = lambda k: (1 - (1 - p) ** k) ** size  # noqa: E731
    return np.diff(up_to(steps), prepend=0.0)


def _mixed_arrivals(expected_per_step: float, longest: Floats, most: int) -> Floats:
    """Probabilities of 0, 1, 2 … arrivals during a batch of a random number of steps."""
    counts = np.arange(most + 1)
    return longest[1:] @ stats.poisson.pmf(counts, expected_per_step * np.arange(1, len(longest))[:, None])
