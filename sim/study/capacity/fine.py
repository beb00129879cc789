"""The crossing itself: long replications on both sides of it and then at it, until the interval is narrow.

Stochastic root finding by retrospective approximation (Chen & Schmeiser 2001): the same seeds at every load make each
metric smooth in the load, a line through the runs nearby gives the crossing, and further replications are spent where
the line crosses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sim.errors import InputError
from sim.stats.crossing import Controls, Crossing, first_crossing
from sim.stats.interval import Interval, Refused
from sim.stats.replications import mean_interval
from sim.stats.sequential import progress
from sim.study.capacity.coarse import Coarse
from sim.study.capacity.load import MOST_USERS
from sim.study.capacity.measure import Measurement
from sim.study.capacity.runs import Order, Runs
from sim.study.capacity.servers import Expectations
from sim.study.capacity.window import MEASURED_SHARE, least_requests, requests_for

SATURATION = "saturation"
"""What binds where the SLO is met at every load that the engine can keep up with."""

EFFECTIVE_BEYOND_TAIL, STAYS = 10, 30
"""A run measures so many independent requests beyond the percentile, and lasts so many stays of one."""
SHARE_OF_BUDGET = 40
"""No run takes a larger part of the budget than one in so many, unless the percentile itself does."""
PAIRS = 5
SIDE, STEP = 1.04, 1.08
"""How far to the sides of the crossing the first replications are, and how far a step is that looks for it."""
BESIDE = 1.02
"""Loads within this factor of the crossing say whether the queue is kept up with there."""
MOST_MOVES = 12
NARROW, HALF_A_USER = 0.015, 0.5
"""When an interval's half-width is narrow: as a share of the value, and in users."""
POSSIBLE_GROWTH = 0.02
"""The queue is not kept up with if in the mean of all replications it grows by more than this share of the arrivals."""
FULL = 0.98
"""Users saturate the engine where it serves this share of all that it can."""


@dataclass(frozen=True)
class Found:
    """The load at which `first` (a name of the SLO, or saturation) is reached, and the runs nearby that say so.

    `requests` are those of each run. `is_narrow` says whether the interval is as narrow as was asked for.
    """

    interval: Interval
    first: str
    near: tuple[Measurement, ...]
    requests: int
    is_narrow: bool
    notes: tuple[str, ...] = ()


class Fine:
    """A search around a first guess; `replications` in all if given, else as many as it takes.

    `limits` are those of the SLO, and of what is served: users who get no more throughput have saturated the engine.
    """

    def __init__(self, runs: Runs, coarse: Coarse, level: float, replications: int | None, reserve: int) -> None:
        self.runs, self.coarse, self.level, self.replications = runs, coarse, level, replications
        self.limits = np.array([*runs.slo.bounds, math.inf])
        near = coarse.met or coarse.idle
        stay = runs.dial.fit(near.load) if runs.dial.over == "users" else near.memory_requests
        self.stay_requests = stay
        self.measured = max(least_requests(runs.slo.tail), math.ceil(STAYS * stay))
        self.measured = min(self.measured, max(least_requests(runs.slo.tail), self._most()))
        self.reserve = reserve * self.requests
        self._expectations: Expectations | None = None
        self._full_at: float | None = None

    @property
    def requests(self) -> int:
        """Of each run."""
        return self.runs.dial.recording or requests_for(self.measured)

    def find(self) -> Found:
        """The crossing, or saturation where the SLO is met up to it."""
        if self.coarse.met is None:
            self._check_idle()
        if self.runs.dial.over == "users" and self.coarse.missed is None:
            return self._saturating_users()
        if self.coarse.missed is not None and not self.runs.exceeds([self.coarse.missed]):
            at_saturation = self._saturation()
            if self._meets_at(at_saturation.interval.value):
                return at_saturation
        found = self._crossing_near(self.coarse.guess(self.runs))
        if found is None or self._grows(found):
            return self._saturation()
        return found

    # ---- the crossing ----------------------------------------------------------------------------------------------

    def _crossing_near(self, guess: float) -> Found | None:
        """None where only an overloaded engine misses the SLO."""
        bracket = self._bracket(guess)
        if bracket is None:
            return None
        met, missed = bracket
        place = self._line([met, missed]).place
        self._lengthen(max(met.correlation_time, missed.correlation_time))
        centre = min(max(place, met.load), missed.load)
        low, high = self._fit_around(centre)
        self._replicate((low, high), range(min(PAIRS, self.replications or PAIRS)))
        low, high = self._follow(low, high)
        return self._narrow(low, high)

    def _bracket(self, guess: float) -> tuple[Measurement, Measurement] | None:
        """Neighbouring loads of which the lower one meets the SLO and the higher one misses it, one run each."""
        load, factor, met, missed = self.runs.dial.fit(guess), STEP, None, None
        while met is None or missed is None:
            one = self._runs_at(load, [0])[0]
            if self._misses(one):
                missed, load = one, self._next(load, 1 / factor)
                if load == one.load or load < self.coarse.idle.load / STEP:
                    self._refuse_idle([one])
            else:
                met, load = one, self._next(load, factor)
                if load >= MOST_USERS and self.runs.dial.is_whole:
                    return None
            factor = min(factor**1.5, 2.0)
        return (met, missed) if self._exceeds([missed]) else None

    def _next(self, load: float, factor: float) -> float:
        """A step up or down; of whole users at least one."""
        fit = self.runs.dial.fit
        if self.runs.dial.is_whole:
            return fit(max(load + 1, load * factor) if factor > 1 else min(load - 1, load * factor))
        return fit(load * factor)

    def _fit_around(self, centre: float) -> tuple[float, float]:
        fit, whole = self.runs.dial.fit, self.runs.dial.is_whole
        if not whole:
            return fit(centre / SIDE), fit(centre * SIDE)
        low = fit(math.floor(centre / SIDE))
        return low, fit(max(low + 1, math.ceil(centre * SIDE)))

    def _follow(self, low: float, high: float) -> tuple[float, float]:
        """Move the two sides until the crossing is between them."""
        for _ in range(MOST_MOVES):
            place = self._line(self._near(low, high)).place
            if low <= place <= high or not self._affords(PAIRS):
                break
            if place > high:
                low, high = high, self._next(high, STEP)
                self._replicate((high,), self._replications_at(low))
            else:
                low, high = self._next(low, 1 / STEP), low
                if low == high:
                    self._refuse_idle(self._near(high, high))
                self._replicate((low,), self._replications_at(high))
        return low, high

    def _narrow(self, low: float, high: float) -> Found:
        """Replicate where the line crosses until the interval is narrow, or the budget spent."""
        while True:
            near = self._near(low, high)
            crossing = self._line(near)
            place = min(max(crossing.place, low), high)
            more, narrow = self._more(crossing, place)
            if more <= 0:
                return self._found(crossing, near, narrow)
            done = 1 + max(one.replication for one in near)
            self._replicate((self.runs.dial.fit(place),), range(done, done + more))

    def _more(self, crossing: Crossing, place: float) -> tuple[int, bool]:
        """How many replications to run before the next look, and whether it is narrow enough already."""
        groups = len(crossing.pseudo_values)
        target = max(NARROW, HALF_A_USER / place) if self.runs.dial.is_whole else NARROW
        plan = progress(crossing.pseudo_values, target, self.level)
        more = plan.more if self.replications is None else self.replications - groups
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
        name = (*self.runs.slo.names, SATURATION)[crossing.first]
        return Found(replace(interval, method=method), name, tuple(near), self.requests, narrow)

    # ---- saturation ------------------------------------------------------------------------------------------------

    def _saturation(self) -> Found:
        """What the engine serves while more comes than it can serve."""
        load, done = self.runs.dial.fit(self.coarse.saturation * 1.3), 0
        more, near = PAIRS * 2, list[Measurement]()
        while more > 0:
            near += self._runs_at(load, range(done, done + more))
            done += more
            plan = progress([one.served for one in near], NARROW, self.level)
            more = min(plan.more, (self.runs.left - self.reserve) // self.requests - PAIRS)
            if self.replications is not None:
                more = self.replications - done
        interval = mean_interval([one.served for one in near], self.level)
        assert isinstance(interval, Interval)
        method = f"what {done} overloaded runs served, Student's t"
        return Found(replace(interval, method=method), SATURATION, tuple(near), self.requests, plan.met)

    def _meets_at(self, saturation: float) -> bool:
        """Whether the SLO holds even where the engine can just keep up."""
        return not self._exceeds(self._runs_at(self.runs.dial.fit(saturation), range(PAIRS)))

    def _grows(self, found: Found) -> bool:
        """Whether the queue is not kept up with where the limit is reached."""
        if self.runs.dial.over == "users":
            return False
        value = found.interval.value
        close = [one for one in found.near if value / BESIDE <= one.load <= value * BESIDE] or found.near
        return float(np.mean([one.growth for one in close])) > POSSIBLE_GROWTH

    def _saturating_users(self) -> Found:
        """How many users it takes to have nearly all the throughput that the most of them get under the same seed."""
        assert self.coarse.met is not None
        self._full_at, self.limits[-1] = self.coarse.met.load, FULL
        found = self._crossing_near(self.coarse.met.load / 2)
        assert found is not None
        return found

    # ---- runs ------------------------------------------------------------------------------------------------------

    def _line(self, some: Sequence[Measurement]) -> Crossing:
        loads, groups = [one.load for one in some], [one.replication for one in some]
        return first_crossing(loads, groups, self._values(some), self.limits, self._controls(some))

    def _controls(self, some: Sequence[Measurement]) -> Controls | None:
        """What the servers say of these runs, less what they are expected to."""
        if self.runs.servers is None or len({one.replication for one in some}) < 2:
            return None
        if self._expectations is None or self._expectations.requests != self.requests:
            self._expectations = Expectations(self.runs.dial, self.runs.servers, self.requests)
        expected = [self._expectations.at(one.load) for one in some]
        deviations = np.array([one.controls for one in some]) - np.array([each.mean for each in expected])
        return Controls(deviations, np.mean([each.covariance for each in expected], axis=0))

    def _values(self, some: Sequence[Measurement]) -> list[tuple[float, ...]]:
        return [(*one.values, self._share_of_full(one)) for one in some]

    def _share_of_full(self, one: Measurement) -> float:
        """What is served, as a share of what is served to the most users; 0 if nobody asks."""
        if self._full_at is None:
            return 0.0
        return one.served / self._runs_at(self._full_at, [one.replication])[0].served

    def _exceeds(self, some: Sequence[Measurement]) -> bool:
        return bool((np.mean(self._values(some), axis=0) > self.limits).any())

    def _misses(self, one: Measurement) -> bool:
        return self._exceeds([one]) or (self.runs.dial.over == "rate" and self.runs.misses([one]))

    def _near(self, low: float, high: float) -> list[Measurement]:
        """Runs of full length between two loads or at them."""
        full = (one for one in self.runs.measurements if one.requests == self.requests)
        return [one for one in full if low <= one.load <= high and (self.runs.servers is None or one.controls)]

    def _replications_at(self, load: float) -> list[int]:
        return [one.replication for one in self._near(load, load)]

    def _replicate(self, loads: Sequence[float], replications: Sequence[int]) -> None:
        done = {(one.load, one.replication) for one in self._near(0, math.inf)}
        orders = [Order(load, self.requests, number) for number in replications for load in loads]
        self.runs.make(order for order in orders if (order.load, order.replication) not in done)

    def _runs_at(self, load: float, replications: Sequence[int]) -> list[Measurement]:
        self._replicate((load,), replications)
        return [one for one in self._near(load, load) if one.replication in replications]

    def _affords(self, runs: int) -> bool:
        return self.runs.left - self.reserve >= runs * self.requests

    def _most(self) -> int:
        return math.floor(self.runs.budget / SHARE_OF_BUDGET * MEASURED_SHARE)

    def _lengthen(self, correlation_time: float) -> None:
        """Longer runs where exceeding a limit comes in long spells."""
        wanted = math.ceil(EFFECTIVE_BEYOND_TAIL * correlation_time / self.runs.slo.tail)
        self.measured = max(self.measured, min(wanted, self._most()))

    def _check_idle(self) -> None:
        """Refuse an SLO that is missed even at the lowest load, in runs of full length."""
        idle = self._runs_at(self.coarse.idle.load, range(PAIRS))
        if self._exceeds(idle):
            self._refuse_idle(idle)

    def _refuse_idle(self, idle: Sequence[Measurement]) -> None:
        slo, load = self.runs.slo, idle[0].load
        means = dict(zip(slo.names, np.mean([one.values for one in idle], axis=0), strict=True))
        bounds = dict(zip(slo.names, slo.bounds, strict=True))
        worst = max(means, key=lambda name: means[name] / bounds[name])
        raise InputError(missed_when_idle(worst, means[worst], bounds[worst], load, self.runs.dial.unit))


def missed_when_idle(name: str, value: float, bound: float, load: float, unit: str) -> str:
    """What is wrong, and the remedy."""
    where = f"even at {load:g} {unit}, where requests hardly meet"
    if name == "attainment":
        return (
            f"attainment: {1 - value:.2%} of requests keep their limits {where}, {1 - bound:.2%} must; lower it, raise "
            "the limits, or take a faster accelerator"
        )
    return (
        f"slo.{name}: is {value:.3g} s {where}, and must be at most {bound:g} s; raise the limit above {value:.3g} s, "
        "or take a faster accelerator, more of them, or shorter requests"
    )
