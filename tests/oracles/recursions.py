"""Queues as recursions over arrival times: no engine, no clock, no events. Times in seconds.

What they share with the program is only the model, so agreement request by request is strong evidence for both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def lindley_waits(arrival_s: ArrayLike, service_s: ArrayLike) -> Floats:
    """Waits of a first-come-first-served single server: W[0] = 0, W[n+1] = max(0, W[n] + S[n] - (A[n+1] - A[n])).

    Without the loop: with X[n] = S[n-1] - (A[n] - A[n-1]) and C their running sum, W[n] = C[n] - min(C[0..n]).
    """
    arrivals, services = np.asarray(arrival_s, float), np.asarray(service_s, float)
    drift = np.concatenate([[0.0], np.cumsum(services[:-1] - np.diff(arrivals))])
    return drift - np.minimum.accumulate(drift)


def static_batches(arrival_s: ArrayLike, steps: ArrayLike, step_s: float, seats: int) -> tuple[Floats, Floats]:
    """Start and end of the batch each request is in, when an idle server takes whoever waits, up to `seats`, at once.

    A request of `steps` steps finishes that many after the start; the batch lasts as long as its longest member.
    """
    arrivals, lengths = np.asarray(arrival_s, float), np.asarray(steps)
    starts, ends = np.empty(len(arrivals)), np.empty(len(arrivals))
    first, free_s = 0, 0.0
    while first < len(arrivals):
        start_s = max(free_s, arrivals[first])
        present = int(np.searchsorted(arrivals[first : first + seats], start_s, side="right"))
        members = slice(first, first + present)
        free_s = start_s + step_s * lengths[members].max()
        starts[members], ends[members] = start_s, free_s
        first += present
    return starts, ends
