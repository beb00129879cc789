"""The runs of a search: side by side or one by one, counted against a budget, all of them kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from typing import NamedTuple, TypeVar

import numpy as np

from sim.errors import InputError
from sim.study.capacity.load import Dial
from sim.study.capacity.measure import Job, Measurement, measure
from sim.study.capacity.slo import Slo
from sim.study.workers import submit

Watch = Callable[[int, int], None]
"""Hears how many requests have been simulated, and how many there may be."""
Answer = TypeVar("Answer")

CERTAIN_GROWTH = 0.05
"""A single run in which the number in the system grows by more than this share of the arrivals is taken as unstable."""


class Order(NamedTuple):
    """A run to be made: its load, how many requests, and which replication of those at this load it is."""

    load: float
    requests: int
    replication: int


class Runs:
    """`measurements` of all runs so far, in order, and how many requests they `simulated` of at most `budget`."""

    def __init__(self, dial: Dial, slo: Slo, budget: int, pool: Executor | None, on_progress: Watch | None) -> None:
        self.dial, self.slo, self.budget = dial, slo, budget
        self.measurements: list[Measurement] = []
        self.simulated = 0
        self._pool, self._on_progress = pool, on_progress

    @property
    def left(self) -> int:
        """Requests that may still be simulated."""
        return self.budget - self.simulated

    def make(self, orders: Iterable[Order]) -> list[Measurement]:
        """Measure every order, in their order. Raises InputError where the budget does not suffice for them."""
        jobs, found = list(orders), []
        if sum(order.requests for order in jobs) > self.left:
            raise InputError(
                f"budget_requests: {self.budget:,} simulated requests are too few: {self.simulated:,} are spent and "
                f"there is no answer yet; raise it (--budget {2 * self.budget})"
            )
        for one in self.each(measure, [self.job(order) for order in jobs]):
            self.keep(one)
            found.append(one)
        return found

    def keep(self, one: Measurement) -> None:
        """Put a measurement on record."""
        self.measurements.append(one)
        self.simulated += one.requests
        if self._on_progress:
            self._on_progress(self.simulated, self.budget)

    def job(self, order: Order) -> Job:
        """What a worker needs to know of an order; a recording keeps its own number of requests."""
        return Job(self.dial.at(*order), order.load, order.replication, self.slo)

    def each(self, work: Callable[[Job], Answer], jobs: Sequence[Job]) -> Iterator[Answer]:
        """`work` done on every job, in the processes of the pool or here."""
        if self._pool is None:
            yield from map(work, jobs)
            return
        futures = [submit(self._pool, work, job) for job in jobs]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()

    def misses(self, some: Sequence[Measurement]) -> bool:
        """Whether these runs, all at one load, miss the SLO on average, or their queue cannot be kept up with."""
        return self.exceeds(some) or bool(np.mean([one.growth for one in some]) > CERTAIN_GROWTH)

    def exceeds(self, some: Sequence[Measurement]) -> bool:
        """Whether a limit is exceeded on average."""
        return bool((np.mean([one.values for one in some], axis=0) > np.array(self.slo.bounds)).any())
