"""The highest load that meets a joint SLO: `capacity(experiment, "p99_ttft<0.5,p99_tpot<0.05")`.

What is looked for, so that brute force finds the same: the load at which the mean over replications of the first
statistic reaches its limit (or the mean share of requests within all limits falls to the attainment asked for). Every
replication is a run of one length, the same at every load near the answer; its statistic is of the requests between the
first tenth, by arrival, and the last twentieth. A load whose queue is not kept up with counts as missed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import replace

from sim.errors import InputError
from sim.specs.experiment import Experiment
from sim.stats.replications import LEAST_REPLICATIONS
from sim.study.capacity.binding import explain
from sim.study.capacity.coarse import Coarse, look
from sim.study.capacity.fine import NARROW, Fine, Found
from sim.study.capacity.load import Dial, dial_for
from sim.study.capacity.measure import MEASURED_SHARE, least_requests, requests_for
from sim.study.capacity.recording import bisect
from sim.study.capacity.result import Capacity, Point, cliff_of, curve_of
from sim.study.capacity.runs import Order, Runs, Watch
from sim.study.capacity.slo import Slo, slo_from

__all__ = ["BUDGET", "LEVEL", "Capacity", "Point", "capacity"]

LEVEL, BUDGET = 0.95, 1_500_000
"""Of the interval; requests that a search may simulate."""
LEAST_RUNS = 30
"""Of full length that a search takes at least."""
BEYOND_TAIL_OF_RECORDING = 20
EXPLAINED = 3
"""Runs at the capacity that say what binds."""


def capacity(
    experiment: Experiment,
    slo: str | Mapping[str, float] | None = None,
    *,
    attainment: float | None = None,
    over: str | None = None,
    level: float = LEVEL,
    replications: int | None = None,
    budget_requests: int = BUDGET,
    pool: Executor | None = None,
    on_progress: Watch | None = None,
) -> Capacity:
    """The highest arrival rate, or number of closed-loop users, that meets an SLO, with an interval at `level`.

    `slo` is text or seconds by metric name, that of the experiment if not given. With `attainment` so large a share of
    the requests must also keep every limit as their own. `replications` fixes their number; else there are as many as
    it takes for an interval of ±2 %, within `budget_requests`. `workload.num_requests` is not used but of a trace.
    Raises InputError where there is no answer, and says why.
    """
    target = slo_from(_given(experiment, slo), attainment)
    _check(level, replications)
    dial = dial_for(experiment, over)
    _check_length(dial, target, budget_requests)
    runs = Runs(dial, target, budget_requests, pool, on_progress)
    coarse = look(runs)
    found = bisect(runs, coarse) if dial.is_fixed else Fine(runs, coarse, level, replications, EXPLAINED).find()
    return _explained(runs, coarse, _fitted(found, dial))


def _given(experiment: Experiment, slo: str | Mapping[str, float] | None) -> str | Mapping[str, float]:
    given = experiment.slo if slo is None else slo
    if not given:
        raise InputError('slo: nothing to meet; give one, such as "p99_ttft<0.5,p99_tpot<0.05"')
    return given


def _check(level: float, replications: int | None) -> None:
    if not 0 < level < 1 or (1 + level) / 2 == 1:
        raise InputError(f"level: got {level:g}, must be above 0 and below 1, such as 0.95")
    if replications is not None and replications < LEAST_REPLICATIONS:
        raise InputError(
            f"replications: got {replications}, must be at least {LEAST_REPLICATIONS}, or left out: then as many run "
            "as the interval takes"
        )


def _check_length(dial: Dial, slo: Slo, budget: int) -> None:
    """Refuse a percentile that runs within the budget, or the recording, do not carry."""
    thin = min(slo.on_statistics, key=lambda limit: limit.tail, default=None)
    name = thin.name if thin is not None and thin.tail == slo.tail else f"attainment {slo.attainment}"
    if dial.recording is not None:
        wanted = math.ceil(round(BEYOND_TAIL_OF_RECORDING / slo.tail, 6))
        if dial.recording * MEASURED_SHARE < wanted:
            raise InputError(
                f"slo.{name}: takes {requests_for(wanted):,} requests, and the trace has {dial.recording:,}; limit a "
                "lower percentile, such as p90 or p50, or take a longer trace"
            )
    run_requests = dial.recording or requests_for(least_requests(slo.tail))
    if run_requests * LEAST_RUNS > budget:
        remedy = "set workload.num_requests" if dial.recording else "limit a lower percentile"
        raise InputError(
            f"slo.{name}: takes runs of {run_requests:,} requests, and a search about {LEAST_RUNS} of them, together "
            f"{run_requests * LEAST_RUNS:,}; the budget is {budget:,} simulated requests; {remedy}, or raise "
            f"budget_requests (--budget {run_requests * LEAST_RUNS})"
        )


def _fitted(found: Found, dial: Dial) -> Found:
    """Users come whole: the largest number that still meets the SLO."""
    if not dial.is_whole:
        return found
    value, low, high = (
        float(max(math.floor(round(each, 9)), 1))
        for each in (found.interval.value, found.interval.low, found.interval.high)
    )
    return replace(found, interval=replace(found.interval, value=value, low=low, high=high))


def _explained(runs: Runs, coarse: Coarse, found: Found) -> Capacity:
    """The answer, with what binds there, in further runs at the capacity."""
    dial, slo, value = runs.dial, runs.slo, found.interval.value
    order = Order(dial.fit(value), found.requests, 1 + max(one.replication for one in runs.measurements))
    binding, at = explain(runs, order, 1 if dial.is_fixed else EXPLAINED, found.first, coarse.idle)
    for one in at:
        runs.keep(one)
    curve = curve_of(runs.measurements, slo)
    return Capacity(
        name=dial.experiment.name,
        slo=slo,
        over=dial.over,
        interval=found.interval,
        unit=dial.unit,
        binding=binding,
        kv=cliff_of(curve, at, value),
        curve=curve,
        saturation=coarse.saturation,
        definition=_definition(runs, found),
        simulated_requests=runs.simulated,
        notes=(*coarse.notes, *_notes(runs, found)),
    )


def _definition(runs: Runs, found: Found) -> str:
    measured = math.floor(found.requests * MEASURED_SHARE)
    every = (
        f"{measured:,} requests in a row, of runs of {found.requests:,}, of which the first tenth and the last "
        "twentieth are left out"
    )
    if runs.dial.is_fixed:
        return f"the rate at which {found.first} of the recording reaches its limit; of {every}"
    return f"the load at which the mean over replications of {found.first} reaches its limit, each of {every}"


def _notes(runs: Runs, found: Found) -> tuple[str, ...]:
    if found.is_narrow:
        return ()
    width = found.interval.relative_half_width
    return (
        f"the interval is within ±{width:.1%}, not ±{NARROW:.0%}: the replications asked for are done, or the budget "
        f"of {runs.budget:,} simulated requests is spent; raise it (--budget)",
    )
