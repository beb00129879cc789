"""The crossing itself: replications on both sides of it until the interval is narrow.

Stochastic root finding by retrospective approximation (Chen & Schmeiser 2001): the same seeds at every load make each
metric smooth in the load, which finds the neighbourhood; a line through replications on both sides of it gives the
crossing, and as many more are run as its interval takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sim.errors import InputError
from sim.stats.crossing import Crossing, first_crossing
from sim.stats.interval import Interval, Refused
from sim.stats.sequential import progress
from sim.study.capacity.coarse import Coarse
from sim.study.capacity.measure import MEASURED_SHARE, Measurement, least_requests, requests_for
from sim.study.capacity.refusals import refuse_idle, refuse_met
from sim.study.capacity.runs import Order, Runs

STAYS = 30
"""A run lasts so many stays of one request."""
SHARE_OF_BUDGET = 40
"""No run takes a larger part of the budget than one in so many, unless the percentile itself does."""
PAIRS = 5
STEP = 1.08
"""A first step that looks for the crossing."""
CHANGE, NEAREST, FURTHEST = 0.1, 0.02, 0.1
"""The two sides are so far away that the metric changes by about such a share, within these shares of the load: far
enough to see its slope behind the noise, near enough for a line."""
STRAIGHT = 0.005
"""A metric is a line between the two sides where runs in the middle move the crossing by no more than this share."""
BESIDE = 1.02
"""Loads within this factor of the crossing say whether the queue is kept up with there."""
MOST_MOVES = 12
TOO_FAR = 4
"""Beyond so many times the load that short runs missed the SLO at, nothing more is looked for."""
NARROW, HALF_A_USER = 0.02, 0.5
"""When an interval's half-width is narrow: as a share of the value, and in users."""
POSSIBLE_GROWTH = 0.02
"""The queue is not kept up with if in the mean of all replications it grows by more than this share of the arrivals."""


@dataclass(frozen=True)
class Found:
    """The load at which `first`, a name of the SLO, reaches its limit, and the runs nearby that say so.

    `requests` are those of each run. `is_narrow` says whether the interval is as narrow as was asked for.
    """

    interval: Interval
    first: str
    near: tuple[Measurement, ...]
    requests: int
    is_narrow: bool


class Fine:
    """A search around a first guess; `replications` in all if given, else as many as it takes.

    It leaves `reserve` runs of the budget to others.
    """

    def __init__(self, runs: Runs, coarse: Coarse, level: float, replications: int | None, reserve: int) -> None:
        self.runs, self.coarse, self.level, self.replications = runs, coarse, level, replications
        near = coarse.met or coarse.idle
        stay_requests = near.load if runs.dial.is_whole else near.stay_requests
        least = least_requests(runs.slo.tail)
        most = max(least, math.floor(runs.budget / SHARE_OF_BUDGET * MEASURED_SHARE))
        self.requests = requests_for(min(max(least, math.ceil(STAYS * stay_requests)), most))
        self.reserve = reserve * self.requests
        self.side = _side(runs, coarse)

    def find(self) -> Found:
        """The crossing. Raises InputError where the SLO is met, or missed, at every load that is kept up with."""
        coarse, runs = self.coarse, self.runs
        if coarse.met is None:
            self._check_idle()
        if coarse.missed is None or not runs.exceeds([coarse.missed]):
            refuse_met(runs, coarse)
        met, missed = self._bracket(coarse.guess(runs))
        place = self._line([met, missed]).place
        low, high = self._fit_around(min(max(place, met.load), missed.load))
        self._pair(low, high)
        found = self._narrow(*self._straighten(low, high))
        if self._grows(found):
            refuse_met(runs, coarse)
        return found

    # ---- the crossing ----------------------------------------------------------------------------------------------

    def _bracket(self, guess: float) -> tuple[Measurement, Measurement]:
        """Neighbouring loads of which the lower one meets the SLO and the higher one misses it, one run each."""
        load, factor, met, missed = self.runs.dial.fit(guess), STEP, None, None
        while met is None or missed is None:
            one = self._runs_at(load, [0])[0]
            if self._misses(one):
                missed, load = one, self._next(load, 1 / factor)
                if load == one.load or load < self.coarse.idle.load / STEP:
                    refuse_idle(self.runs, [one])
            else:
                met, load = one, self._next(load, factor)
                if self.coarse.missed is not None and load > TOO_FAR * self.coarse.missed.load:
                    refuse_met(self.runs, self.coarse)
            factor = min(factor**1.5, 2.0)
        if not self.runs.exceeds([missed]):
            refuse_met(self.runs, self.coarse)
        return met, missed

    def _next(self, load: float, factor: float) -> float:
        """A step up or down; of whole users at least one."""
        fit = self.runs.dial.fit
        if self.runs.dial.is_whole:
            return fit(max(load + 1, load * factor) if factor > 1 else min(load - 1, load * factor))
        return fit(load * factor)

    def _fit_around(self, centre: float) -> tuple[float, float]:
        fit, whole = self.runs.dial.fit, self.runs.dial.is_whole
        if not whole:
            return fit(centre / self.side), fit(centre * self.side)
        low = fit(math.floor(centre / self.side))
        return low, fit(max(low + 1, math.ceil(centre * self.side)))

    def _narrow(self, low: float, high: float) -> Found:
        """Further seeds on the two sides in turn until the interval is narrow, or the budget spent.

        Where a line crosses in the middle is as well known from runs at its ends as from runs there; its slope only
        from those. Seeds of their own say more than the same ones, which go up and down together on both sides.
        """
        while True:
            low, high = self._follow(low, high)
            near = self._near(low, high)
            crossing = self._line(near)
            more, narrow = self._more(crossing)
            if more <= 0:
                return self._found(crossing, near, narrow)
            done = 1 + max(one.replication for one in near)
            self._make(Order((low, high)[number % 2], self.requests, number) for number in range(done, done + more))

    def _follow(self, low: float, high: float) -> tuple[float, float]:
        """Move the two sides until the crossing is between them, or no further away than it is wide."""
        for _ in range(MOST_MOVES):
            place, width = self._line(self._near(low, high)).place, high - low
            if low - width / 2 <= place <= high + width / 2 or not self._affords(PAIRS):
                break
            if place > high:
                low, high = high, self._next(high, self.side**2)
            else:
                low, high = self._next(low, self.side**-2), low
                if low == high:
                    refuse_idle(self.runs, self._near(high, high))
            self._pair(low, high)
        return low, high

    def _straighten(self, low: float, high: float) -> tuple[float, float]:
        """Closer sides until the metric is a line between them: one that bends reaches its limit elsewhere."""
        while True:
            low, high = self._follow(low, high)
            crossing = self._line(self._near(low, high))
            place = self.runs.dial.fit(crossing.place)
            if not low < place < high or not self._affords(3 * PAIRS):
                return low, high
            self._pair(place)
            means = [np.mean([one.values[crossing.first] for one in self._near(at, at)]) for at in (low, place, high)]
            bent = float(np.interp(self.runs.slo.bounds[crossing.first], means, (low, place, high)))
            if abs(bent - place) <= STRAIGHT * place or self.side <= 1 + NEAREST:
                return low, high
            self.side = 1 + (self.side - 1) / 2
            low, high = self._fit_around(bent)
            self._pair(low, high)

    def _more(self, crossing: Crossing) -> tuple[int, bool]:
        """How many replications to run before the next look, and whether it is narrow enough already."""
        target = max(NARROW, HALF_A_USER / crossing.place) if self.runs.dial.is_whole else NARROW
        plan = progress(crossing.pseudo_values, target, self.level)
        more = plan.more if self.replications is None else self.replications - len(crossing.pseudo_values)
        affordable = (self.runs.left - self.reserve) // self.requests
        narrow = plan.met or (isinstance(plan.interval, Interval) and plan.interval.relative_half_width <= target)
        return min(more, affordable), narrow

    def _found(self, crossing: Crossing, near: list[Measurement], narrow: bool) -> Found:
        interval = crossing.interval(self.level)
        if isinstance(interval, Refused):
            raise InputError(
                f"budget_requests: {self.runs.budget:,} simulated requests are spent before there is an interval "
                f"({interval}); raise it"
            )
        count = len(crossing.pseudo_values)
        method = f"line through {len(near)} runs at nearby loads, jackknife over {count} seeds"
        interval = replace(interval, low=max(interval.low, 0.0), method=method)
        return Found(interval, self.runs.slo.names[crossing.first], tuple(near), self.requests, narrow)

    # ---- runs ------------------------------------------------------------------------------------------------------

    def _line(self, some: Sequence[Measurement]) -> Crossing:
        loads, groups = [one.load for one in some], [one.replication for one in some]
        return first_crossing(loads, groups, [one.values for one in some], self.runs.slo.bounds)

    def _misses(self, one: Measurement) -> bool:
        return self.runs.exceeds([one]) if self.runs.dial.is_whole else self.runs.misses([one])

    def _grows(self, found: Found) -> bool:
        """Whether the queue is not kept up with where the limit is reached."""
        if self.runs.dial.over == "users":
            return False
        value = found.interval.value
        close = [one for one in found.near if value / BESIDE <= one.load <= value * BESIDE] or found.near
        return float(np.mean([one.growth for one in close])) > POSSIBLE_GROWTH

    def _near(self, low: float, high: float) -> list[Measurement]:
        """Runs of full length between two loads or at them."""
        return [one for one in self.runs.measurements if one.requests == self.requests and low <= one.load <= high]

    def _pair(self, *loads: float) -> None:
        """The first few seeds at each of these loads."""
        self._replicate(loads, range(min(PAIRS, self.replications or PAIRS)))

    def _replicate(self, loads: Sequence[float], replications: Sequence[int]) -> None:
        """The same seeds at each of these loads."""
        self._make(Order(load, self.requests, number) for number in replications for load in loads)

    def _make(self, orders: Iterable[Order]) -> None:
        """Those that are not made yet."""
        done = {(one.load, one.replication) for one in self._near(0, math.inf)}
        self.runs.make(order for order in orders if (order.load, order.replication) not in done)

    def _runs_at(self, load: float, replications: Sequence[int]) -> list[Measurement]:
        self._replicate((load,), replications)
        return [one for one in self._near(load, load) if one.replication in replications]

    def _affords(self, runs: int) -> bool:
        return self.runs.left - self.reserve >= runs * self.requests

    def _check_idle(self) -> None:
        """Refuse an SLO that is missed even at the lowest load, in runs of full length."""
        idle = self._runs_at(self.coarse.idle.load, range(PAIRS))
        if self.runs.exceeds(idle):
            refuse_idle(self.runs, idle)


def _side(runs: Runs, coarse: Coarse) -> float:
    """How far the sides are from the crossing, as a factor, by how steeply the metric rises between the short runs."""
    met, missed = coarse.met or coarse.idle, coarse.missed
    if missed is None or missed.load <= met.load:
        return 1 + NEAREST
    crossing = first_crossing([met.load, missed.load], [0, 0], [met.values, missed.values], runs.slo.bounds)
    before, after = met.values[crossing.first], missed.values[crossing.first]
    if not 0 < before < after:
        return 1 + NEAREST
    elasticity = math.log(after / before) / math.log(missed.load / met.load)
    return 1 + min(max(CHANGE / elasticity, NEAREST), FURTHEST)
