"""What is said where there is no answer: an SLO that is missed at every load, or met at every load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from sim.errors import InputError
from sim.study.capacity.coarse import Coarse
from sim.study.capacity.measure import Measurement
from sim.study.capacity.runs import Runs
from sim.study.capacity.slo import ATTAINMENT


def refuse_idle(runs: Runs, idle: Sequence[Measurement]) -> NoReturn:
    """Of runs at a load where requests hardly meet, which miss the SLO."""
    names, bounds = runs.slo.names, np.array(runs.slo.bounds)
    values = np.mean([one.values for one in idle], axis=0)
    worst = int((values / bounds).argmax())
    name, value, bound = names[worst], float(values[worst]), float(bounds[worst])
    where = f"even at {idle[0].load:g} {runs.dial.unit}, where requests hardly meet"
    if name == ATTAINMENT:
        raise InputError(
            f"attainment: {1 - value:.2%} of requests keep their limits {where}, {1 - bound:.2%} must; lower it, raise "
            "the limits, or take a faster accelerator"
        )
    raise InputError(
        f"slo.{name}: is {value:.3g} s {where}, and must be at most {bound:g} s; raise the limit above {value:.3g} s, "
        "or take a faster accelerator, more of them, or shorter requests"
    )


def refuse_met(runs: Runs, coarse: Coarse) -> NoReturn:
    """Of an SLO that nobody misses as long as the engine keeps up, or however many users there are."""
    seen = coarse.met or coarse.idle
    values = ", ".join(f"{name} {value:.3g}" for name, value in zip(runs.slo.names, seen.values, strict=True))
    if runs.dial.is_whole:
        raise InputError(
            f"slo: {runs.slo} is met with any number of users: with {seen.load:g} of them, who are answered "
            f"{seen.served:.3g} requests/s, {values}; lower a limit, or limit ttft or e2e, which grow with the users"
        )
    raise InputError(
        f"slo: {runs.slo} is met at every rate that the engine keeps up with, which is up to about "
        f"{coarse.saturation:.3g} {runs.dial.unit} ({values} at {seen.load:g}); that is the capacity then; to search "
        "for a lower one lower a limit, or limit p99_ttft, which grows with the queue"
    )
