"""Who of those that come is served: the front end refuses requests at a limit, and waiting clients lose patience.

Only requests that come by the clock can be refused or leave: users of a closed loop and of conversations wait for whole
answers, by definition.
"""

from __future__ import annotations

import math

from sim.errors import InputError
from sim.scheduling.core import SchedulerCore
from sim.serving.admission.control import AdmissionControl
from sim.serving.admission.limit import ConcurrencyLimit
from sim.serving.admission.patience import Patience
from sim.serving.clock import Clock
from sim.serving.front_end import FrontEnd
from sim.serving.recorder import Recorder
from sim.workload.workload import Workload


def front_end_of(clock: Clock, core: SchedulerCore, recorder: Recorder, workload: Workload) -> FrontEnd:
    """The front end of a run: one that lets everybody in, unless there is a limit or somebody's patience ends."""
    most = core.engine.max_concurrent_requests
    if most is not None:
        _check_limit(most, core, workload)
    patience_s = workload.table["patience_s"].to_numpy() if "patience_s" in workload.table else None
    if patience_s is None and (most is None or workload.users is not None):
        return FrontEnd(clock)
    limit = None if most is None else ConcurrencyLimit(most)
    patience = None if patience_s is None else Patience(patience_s, core)
    return AdmissionControl(clock, recorder, limit, patience)


def _check_limit(most: int, core: SchedulerCore, workload: Workload) -> None:
    """A limit must leave room for users who wait for their answers, and for a batch that waits until it is full."""
    key = f"engine.max_concurrent_requests: got {most}"
    if workload.turn_taking is not None:
        raise InputError(f"{key}, but workload.conversations go on only with an answer; drop one of them")
    if workload.users is not None and workload.users > most:
        raise InputError(
            f"{key}, but workload.arrivals.users {workload.users} wait for an answer each; raise it or lower users"
        )
    if math.isinf(core.engine.formation_timeout_s) and most < core.full_batch:
        raise InputError(
            f"{key}, but engine.formation_timeout_s is inf, so a batch waits for {core.full_batch} requests; "
            "raise it or give a timeout"
        )
