"""Where to look: what the engine can do at most, and a ladder of short runs from an idle engine up to that."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sim.stats.crossing import first_crossing
from sim.study.capacity.load import FLOOD_RATE, MOST_USERS
from sim.study.capacity.measure import MEASURED_SHARE, Measurement, least_requests, requests_for
from sim.study.capacity.runs import Order, Runs

LADDER = (0.01, 0.1, 0.25, 0.5, 0.7, 0.85, 0.95, 1.05)
"""Shares of what the engine served under overload; the first is an engine that is all but idle."""
LEAST_REQUESTS, STAYS = 2000, 10
SHARE_OF_BUDGET = 100
"""A run on the ladder lasts at least as many stays of one request, and else takes at most such a part of the budget."""
OVERLOAD, STEP, MOST_STEPS = 1.5, 1.25, 30
KEPT_UP = 0.95
"""An engine that answers this share of the load is not overloaded."""
ALIKE = 1.02
"""Twice the users, and neither what is served nor any metric higher by more: still more of them change nothing."""
BATCHES_IN_FLOOD, MOST_IN_FLOOD = 10, 20_000
SHARE_OF_LADDER = 4
"""The ladder takes no more than about such a part of what is left of the budget for its next step."""


@dataclass(frozen=True)
class Coarse:
    """What short runs say. `met` is the highest load that met the SLO before the first that `missed` it.

    `missed` is None where no number of users misses it. `saturation` is the rate that an overloaded engine serves, or
    that the most users got. `idle` is the run at the lowest load.
    """

    saturation: float
    idle: Measurement
    met: Measurement | None
    missed: Measurement | None
    notes: tuple[str, ...] = ()

    def guess(self, runs: Runs) -> float:
        """Where the SLO is first missed, by a line between the two."""
        if self.met is None or self.missed is None:
            return (self.met or self.missed or self.idle).load
        points = (self.met, self.missed)
        loads, values = [one.load for one in points], [one.values for one in points]
        place = first_crossing(loads, [0, 0], values, runs.slo.bounds).place
        return min(max(place, self.met.load), self.missed.load)


def look(runs: Runs) -> Coarse:
    """Climb the ladder."""
    return _users(runs) if runs.dial.over == "users" else _rates(runs)


# ---- rates ---------------------------------------------------------------------------------------------------------


def _rates(runs: Runs) -> Coarse:
    saturation, stay_requests = _saturation(runs)
    requests = _requests(runs, stay_requests)
    ladder = runs.make(Order(runs.dial.fit(share * saturation), requests, 0) for share in LADDER)
    for _ in range(MOST_STEPS):
        if runs.misses(ladder[-1:]):
            break
        ladder += runs.make([Order(runs.dial.fit(ladder[-1].load * STEP), requests, 0)])
    return _coarse(runs, saturation, ladder)


def _saturation(runs: Runs) -> tuple[float, float]:
    """The load that the engine serves when more comes than it can serve, and how many requests it runs at once then."""
    batch = runs.dial.experiment.engine.max_num_seqs
    requests = int(min(max(BATCHES_IN_FLOOD * batch, LEAST_REQUESTS), MOST_IN_FLOOD))
    flood = runs.make([Order(FLOOD_RATE, requests, 0)])[0]
    running, load = flood.facts["mean_running"], flood.overall * OVERLOAD
    for _ in range(MOST_STEPS):
        overload = runs.make([Order(runs.dial.fit(load), _requests(runs, running), 0)])[0]
        if overload.served < KEPT_UP * overload.load:
            break
        load *= OVERLOAD
    return max(overload.served, flood.overall / OVERLOAD), running


def _requests(runs: Runs, stay_requests: float) -> int:
    """Requests of a run on the ladder: as many as the percentile takes, but no more than a small part of the budget."""
    affordable = max(runs.budget / SHARE_OF_BUDGET * MEASURED_SHARE, LEAST_REQUESTS)
    return requests_for(math.ceil(max(min(least_requests(runs.slo.tail), affordable), STAYS * stay_requests)))


# ---- users ---------------------------------------------------------------------------------------------------------


def _users(runs: Runs) -> Coarse:
    """Twice as many users again and again, until the SLO is missed twice or more users change nothing."""
    ladder = [_with_users(runs, 1)]
    while len(ladder) < 2 or not _is_over(runs, *ladder[-2:]):
        ladder.append(_with_users(runs, 2 * ladder[-1].load))
    return _coarse(runs, ladder[-1].served, ladder)


def _with_users(runs: Runs, users: float) -> Measurement:
    return runs.make([Order(runs.dial.fit(users), _requests(runs, users), 0)])[0]


def _is_over(runs: Runs, before: Measurement, last: Measurement) -> bool:
    """Missed twice, nothing changes any more, or too many users to go on."""
    if runs.misses([last]) and runs.misses([before]):
        return True
    if all(high <= ALIKE * low for low, high in zip(_seen(before), _seen(last), strict=True)):
        return True
    return last.load >= MOST_USERS / 2 or runs.left < SHARE_OF_LADDER * requests_for(round(STAYS * 2 * last.load))


def _seen(one: Measurement) -> tuple[float, ...]:
    return one.served, *one.values


# ---- both ----------------------------------------------------------------------------------------------------------


def _coarse(runs: Runs, saturation: float, ladder: list[Measurement]) -> Coarse:
    """The last step up from a load that meets the SLO to one that misses it."""
    met = [index for index, one in enumerate(ladder) if not runs.misses([one])]
    if not met:
        return Coarse(saturation, ladder[0], None, ladder[0])
    last = met[-1]
    missed = ladder[last + 1] if last + 1 < len(ladder) else None
    notes = []
    if last + 1 > len(met):
        lower = max(one.load for one in ladder[:last] if runs.misses([one]))
        unit = runs.dial.unit
        notes.append(f"the SLO is also missed at lower loads, such as {lower:g} {unit}: this is the highest that holds")
    return Coarse(saturation, ladder[0], ladder[last], missed, tuple(notes))
