"""Where to look: what the engine can do at most, and a ladder of short runs from an idle engine up to that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sim.errors import InputError
from sim.estimate.machine import Case, Machine
from sim.specs.experiment import Experiment
from sim.specs.workload import WorkloadSpec
from sim.stats.crossing import first_crossing
from sim.study.capacity.load import FLOOD_RATE, MOST_USERS
from sim.study.capacity.measure import Measurement
from sim.study.capacity.runs import Order, Runs
from sim.study.capacity.servers import Servers, can_be_drawn
from sim.study.capacity.slo import Slo
from sim.study.capacity.window import MEASURED_SHARE, least_requests, requests_for
from sim.workload.source import build_workload

LADDER = (0.01, 0.1, 0.25, 0.5, 0.7, 0.85, 0.95, 1.05)
"""Shares of what the engine served under overload; the first is an engine that is all but idle."""
LEAST_REQUESTS, STAYS = 2000, 10
SHARE_OF_BUDGET = 100
"""A run on the ladder lasts at least as many stays of one request, and else takes at most such a part of the budget."""
OVERLOAD, STEP, MOST_STEPS = 1.5, 1.25, 30
KEPT_UP = 0.95
"""An engine that answers this share of the load is not overloaded."""
NO_GAIN = 1.03
"""Twice the users, and less throughput gained: the engine is saturated."""
BATCHES_IN_FLOOD, MOST_IN_FLOOD = 10, 20_000
SAMPLE_REQUESTS = 1000
LEAST_MEDIAN = 0.5
SHARE_OF_LADDER = 4
"""The ladder takes no more than about such a part of what is left of the budget for its next step."""


@dataclass(frozen=True)
class Coarse:
    """What short runs say. `met` is the highest load that met the SLO before the first that `missed` it.

    `missed` is None where users saturate the engine and still are served well enough, at `saturation`, which else is
    the rate that an overloaded engine serves. `idle` is the run at the lowest load.
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


def closed_form(experiment: Experiment) -> tuple[float, float] | None:
    """Requests per second at the speed of light, and the largest batch; None where no closed form knows the machine."""
    try:
        sample = experiment.model_copy(update={"workload": _few(experiment)})
        table = build_workload(sample).table
        lengths = (float(table[f"{part}_tokens"].mean()) for part in ("prompt", "output"))
        machine = Machine(Case(experiment.model, experiment.accelerator, experiment.engine, *lengths))
    except InputError:
        return None
    return (machine.requests_per_s, machine.largest_batch) if machine.fits else None


def _few(experiment: Experiment) -> WorkloadSpec:
    """The workload with as many requests as it takes to know mean lengths."""
    workload = experiment.workload
    return workload if workload.trace else workload.model_copy(update={"num_requests": SAMPLE_REQUESTS})


# ---- rates ---------------------------------------------------------------------------------------------------------


def _rates(runs: Runs) -> Coarse:
    saturation, stay_requests, overload = _saturation(runs)
    requests = _requests(runs, stay_requests)
    ladder = runs.make(Order(runs.dial.fit(share * saturation), requests, 0) for share in LADDER)
    for _ in range(MOST_STEPS):
        if runs.misses(ladder[-1:]):
            break
        ladder += runs.make([Order(runs.dial.fit(ladder[-1].load * STEP), requests, 0)])
    if can_be_drawn(runs.dial):
        runs.servers = _servers(ladder[0], overload, runs.slo)
    return _coarse(runs, saturation, ladder)


def _servers(idle: Measurement, overload: Measurement, slo: Slo) -> Servers:
    """As fast as an idle engine computes prompts, and as a saturated one does everything."""
    prompt_s, saturated = idle.speed.prompt_token_s, overload.speed
    left = max(1 - prompt_s * saturated.prompt_tokens_per_s, 0.0)
    output_s = left / saturated.output_tokens_per_s if saturated.output_tokens_per_s else 0.0
    return Servers(prompt_s, output_s, None if slo.tail > LEAST_MEDIAN else 1 - slo.tail)


def _saturation(runs: Runs) -> tuple[float, float, Measurement]:
    """The load that the engine serves when more comes than it can serve, how many requests it runs at once then, and
    the run that says so."""
    known = closed_form(runs.dial.experiment)
    batch = known[1] if known else runs.dial.experiment.engine.max_num_seqs
    requests = int(min(max(BATCHES_IN_FLOOD * batch, LEAST_REQUESTS), MOST_IN_FLOOD))
    flood = runs.make([Order(FLOOD_RATE, requests, 0)])[0]
    running, load = flood.facts["mean_running"], flood.overall * OVERLOAD
    for _ in range(MOST_STEPS):
        overload = runs.make([Order(runs.dial.fit(load), _requests(runs, running), 0)])[0]
        if overload.served < KEPT_UP * overload.load:
            break
        load *= OVERLOAD
    return max(overload.served, flood.overall / OVERLOAD), running, overload


def _requests(runs: Runs, stay_requests: float) -> int:
    """Requests of a run on the ladder: as many as the percentile takes, but no more than a small part of the budget."""
    affordable = max(runs.budget / SHARE_OF_BUDGET * MEASURED_SHARE, LEAST_REQUESTS)
    return requests_for(math.ceil(max(min(least_requests(runs.slo.tail), affordable), STAYS * stay_requests)))


# ---- users ---------------------------------------------------------------------------------------------------------


def _users(runs: Runs) -> Coarse:
    """Twice as many users again and again, until the SLO is missed or more users bring nothing more."""
    ladder = [_with_users(runs, 1)]
    while len(ladder) < 2 or not _is_over(runs, ladder):
        ladder.append(_with_users(runs, 2 * ladder[-1].load))
    return _coarse(runs, ladder[-1].served, ladder)


def _with_users(runs: Runs, users: float) -> Measurement:
    return runs.make([Order(runs.dial.fit(users), _requests(runs, users), 0)])[0]


def _is_over(runs: Runs, ladder: Sequence[Measurement]) -> bool:
    """Saturated, missed twice after it was met, or too many users to go on."""
    before, last = ladder[-2:]
    if last.served <= NO_GAIN * before.served:
        return True
    if runs.misses([last]) and runs.misses([before]) and any(not runs.misses([one]) for one in ladder):
        return True
    return last.load >= MOST_USERS / 2 or runs.left < SHARE_OF_LADDER * requests_for(round(STAYS * 2 * last.load))


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
