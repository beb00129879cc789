"""Queues as recursions over arrival times: no engine, no clock, no events. Times in seconds.

What they share with the program is only the model, so agreement request by request is strong evidence for both. Those
that take arrays of several rows serve each row by itself: independent replications, all at once.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

TIE_S = 1e-9
"""An arrival so little behind a step boundary is at it."""


def lindley_waits(arrival_s: ArrayLike, service_s: ArrayLike) -> Floats:
    """Waits of a first-come-first-served single server: W[0] = 0, W[n+1] = max(0, W[n] + S[n] - (A[n+1] - A[n])).

    Without the loop: with X[n] = S[n-1] - (A[n] - A[n-1]) and C their running sum, W[n] = C[n] - min(C[0..n]). Rows are
    independent.
    """
    arrivals, services = np.asarray(arrival_s, float), np.asarray(service_s, float)
    steps = services[..., :-1] - np.diff(arrivals)
    drift = np.concatenate([np.zeros_like(arrivals[..., :1]), np.cumsum(steps, axis=-1)], axis=-1)
    return drift - np.minimum.accumulate(drift, axis=-1)


def ordered_waits(arrival_s: ArrayLike, service_s: ArrayLike, rank: ArrayLike) -> Floats:
    """Waits of a single server that takes the waiting request of least rank, of equals the first, and finishes it."""
    arrivals, services, ranks = (np.asarray(column).tolist() for column in (arrival_s, service_s, rank))
    waits_s, queue, free_s, arrived = [0.0] * len(arrivals), [], 0.0, 0
    for _ in arrivals:
        if not queue:
            free_s = max(free_s, arrivals[arrived])
        while arrived < len(arrivals) and arrivals[arrived] <= free_s:
            heappush(queue, (ranks[arrived], arrived))
            arrived += 1
        _, request = heappop(queue)
        waits_s[request] = free_s - arrivals[request]
        free_s += services[request]
    return np.array(waits_s)


class Served(NamedTuple):
    """What became of each request: its start (of service, or when it left without) and its end; who was served at all;
    and whether a seat was free when it came."""

    start_s: Floats
    end_s: Floats
    served: NDArray[np.bool_]
    at_once: NDArray[np.bool_]


def seats(
    arrival_s: ArrayLike,
    service_s: ArrayLike,
    count: int,
    step_s: float | None = None,
    patience_s: ArrayLike = np.inf,
    limit: int | None = None,
) -> Served:
    """First come, first served by `count` seats (Kiefer and Wolfowitz); each keeps its request to the end.

    With `step_s`, service begins at boundaries of steps, which go on from the arrival that found nobody there.
    Who has not begun when his patience ends leaves; who finds `limit` requests there is refused. Rows are independent.
    """
    arrivals, services, patience = np.broadcast_arrays(*map(np.atleast_2d, (arrival_s, service_s, patience_s)))
    rows = np.arange(len(arrivals))
    free_s, there_until_s = np.full((len(rows), count), -np.inf), np.full((len(rows), limit or 1), -np.inf)
    origin_s = np.zeros(len(rows))
    log = Served(*(np.empty(arrivals.shape, kind) for kind in (float, float, bool, bool)))
    for request, (now_s, lasts_s, patience_now_s) in enumerate(zip(arrivals.T, services.T, patience.T, strict=True)):
        seat = free_s.argmin(axis=1)
        at_once = free_s[rows, seat] <= now_s + TIE_S
        start_s = np.maximum(free_s[rows, seat], now_s)
        if step_s is not None:
            origin_s = np.where(free_s.max(axis=1) <= now_s, now_s, origin_s)
            start_s = origin_s + step_s * np.ceil((start_s - origin_s - TIE_S) / step_s)
        place = there_until_s.argmin(axis=1)
        admitted = there_until_s[rows, place] <= now_s + TIE_S if limit else np.ones(len(rows), bool)
        stays = start_s < now_s + patience_now_s - TIE_S
        end_s = np.where(stays, start_s + lasts_s, now_s + patience_now_s)
        free_s[rows, seat] = np.where(admitted & stays, end_s, free_s[rows, seat])
        there_until_s[rows, place] = np.where(admitted, end_s, there_until_s[rows, place])
        log.start_s[:, request], log.end_s[:, request] = np.minimum(start_s, end_s), end_s
        log.served[:, request], log.at_once[:, request] = admitted & stays, at_once
    return log


class Batches(NamedTuple):
    """Start and end of the batch each request is in."""

    start_s: Floats
    end_s: Floats


def batches(arrival_s: ArrayLike, steps: ArrayLike, step_s: float, seats: int, member_s: float = 0.0) -> Batches:
    """An idle server takes whoever waits, up to `seats`, at once; the batch lasts as long as its longest member.

    A request of `steps` steps finishes that many after the start; every member adds `member_s` to the batch. Rows are
    independent.
    """
    arrivals, lengths = np.broadcast_arrays(np.atleast_2d(np.asarray(arrival_s, float)), np.asarray(steps))
    count, rows, places = arrivals.shape[1], np.arange(len(arrivals)), np.arange(seats)
    arrivals = np.pad(arrivals, ((0, 0), (0, seats)), constant_values=np.inf)
    lengths = np.pad(lengths, ((0, 0), (0, seats)))
    log = Batches(np.empty(arrivals.shape), np.empty(arrivals.shape))
    first, free_s = np.zeros(len(rows), int), np.zeros(len(rows))
    while len(rows):
        members = (rows[:, None], first[:, None] + places)
        start_s = np.maximum(free_s, arrivals[rows, first])
        present = arrivals[members] <= start_s[:, None] + TIE_S
        sizes = present.sum(axis=1)
        free_s = start_s + step_s * np.where(present, lengths[members], 0).max(axis=1) + member_s * sizes
        log.start_s[members], log.end_s[members] = start_s[:, None], free_s[:, None]  # too many, until the next batch
        first = first + sizes
        rows, first, free_s = (column[first < count] for column in (rows, first, free_s))
    return Batches(*(np.squeeze(column[:, :count]) for column in log))


def full_batches(arrival_s: ArrayLike, batch_s: float, size: int) -> Batches:
    """Batches of exactly `size`, in order of arrival: a single server whose customers are whole batches."""
    last_s = np.asarray(arrival_s, float)[..., size - 1 :: size]
    starts = np.repeat(last_s + lindley_waits(last_s, np.full_like(last_s, batch_s)), size, axis=-1)
    return Batches(starts, starts + batch_s)
