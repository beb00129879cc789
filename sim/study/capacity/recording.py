"""The capacity for one recorded trace: nothing in it is random, so there is one run a rate and no sampling error."""

from __future__ import annotations

from sim.stats.crossing import first_crossing
from sim.stats.interval import Interval
from sim.study.capacity.coarse import Coarse
from sim.study.capacity.fine import Found
from sim.study.capacity.measure import Measurement
from sim.study.capacity.refusals import refuse_idle, refuse_met
from sim.study.capacity.runs import Order, Runs

NARROW = 1.003
MOST_RUNS = 20


def bisect(runs: Runs, coarse: Coarse) -> Found:
    """Between the highest rate of the ladder that meets the SLO and the next, until they are all but the same.

    The interval is these two rates: it says how far the search went.
    """
    met, missed = coarse.met, coarse.missed
    if met is None:
        refuse_idle(runs, [coarse.idle])
    if missed is None:
        refuse_met(runs, coarse)
    near = [met, missed]
    for _ in range(MOST_RUNS):
        load = runs.dial.fit((met.load * missed.load) ** 0.5)
        if missed.load <= NARROW * met.load or load in (met.load, missed.load) or runs.left < met.requests:
            break
        one = runs.make([Order(load, met.requests, 0)])[0]
        near.append(one)
        met, missed = (met, one) if runs.misses([one]) else (one, missed)
    if not runs.exceeds([missed]):
        refuse_met(runs, coarse)
    return _found(runs, met, missed, near)


def _found(runs: Runs, met: Measurement, missed: Measurement, near: list[Measurement]) -> Found:
    crossing = first_crossing([met.load, missed.load], [0, 0], [met.values, missed.values], runs.slo.bounds)
    value = min(max(crossing.place, met.load), missed.load)
    method = "one recording: from the last rate that meets the SLO to the first that misses it, no sampling error"
    interval = Interval(value, met.load, missed.load, 1.0, 1, method)
    close = tuple(sorted(near, key=lambda one: abs(one.load - value))[:2])
    return Found(interval, runs.slo.names[crossing.first], close, met.requests, missed.load <= 2 * NARROW * met.load)
