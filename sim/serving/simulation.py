"""One run, from an experiment to the raw log of what happened."""

from __future__ import annotations

import gc
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from sim.cost import cost_model
from sim.errors import InputError
from sim.scheduling.core import SchedulerCore
from sim.scheduling.schedule_log import Record
from sim.serving.admission import front_end_of
from sim.serving.clock import Clock
from sim.serving.closed_loop import ClosedLoopUsers
from sim.serving.conversations import Conversations
from sim.serving.executor import Executor
from sim.serving.recorder import Recorder
from sim.serving.runner import Runner
from sim.specs.cost import PerRequestCost
from sim.specs.experiment import Experiment
from sim.workload.acceptance import Acceptance
from sim.workload.workload import Workload

LONGEST_RUN = 2**31 - 1
OBJECTS_BETWEEN_COLLECTIONS = 50_000


@dataclass(frozen=True)
class Performance:
    """What simulating cost; the clock of the machine, not of the model."""

    cpu_s: float
    wall_s: float
    simpy_events: int
    peak_memory_bytes: int


@dataclass(frozen=True)
class RunLog:
    """The raw result of a run. `interrupted` is true when Ctrl-C ended it before every request had its answer."""

    recorder: Recorder
    core: SchedulerCore
    performance: Performance
    interrupted: bool


Watch = Callable[[Callable[[], int], int], AbstractContextManager[None]]
"""Entered while a run lasts, with a function that says how many requests have been answered, and how many there are."""


def simulate(
    experiment: Experiment,
    workload: Workload,
    on_record: Callable[[Record], None] | None = None,
    watch: Watch | None = None,
) -> RunLog:
    """Serve `workload` on the experiment's engine until the last answer, or until Ctrl-C.

    `on_record` receives one schedule-log line an iteration.
    """
    speculation = experiment.engine.speculation
    clock, recorder = Clock(), Recorder(on_record, speculation is not None, experiment.engine.preemption_mode == "swap")
    accepts = Acceptance(speculation, experiment.seed).of if speculation else None
    core = SchedulerCore(experiment.engine, accepts)
    executor = Executor(experiment.engine, cost_model(experiment), isinstance(experiment.cost, PerRequestCost))
    front_end = front_end_of(clock, core, recorder, workload)
    runner = Runner(clock, core, executor, front_end, recorder, longest_run=1 if on_record else LONGEST_RUN)
    if workload.turn_taking is not None:
        _refuse_endless_forming_of_turns(core)
        Conversations(clock, front_end, workload).begin()
    elif workload.users is None:
        front_end.expect(iter(workload))
    else:
        _refuse_endless_forming(core, workload.users)
        front_end.has_users = True
        users = ClosedLoopUsers(clock, front_end, workload)
        for session_id in range(workload.users):
            clock.process(users.user(session_id))
    clock.process(runner.run())
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    with _rare_collections(), watch(lambda: recorder.totals.departures, len(workload)) if watch else nullcontext():
        interrupted = clock.run_to_the_end()
    if interrupted:
        runner.break_off()
    recorder.on_end(max(runner.now_s, recorder.end_s))
    performance = Performance(
        cpu_s=time.process_time() - cpu_s,
        wall_s=time.perf_counter() - wall_s,
        simpy_events=clock.scheduled_events,
        peak_memory_bytes=_peak_memory_bytes(),
    )
    return RunLog(recorder, core, performance, interrupted)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let Python look for cyclic garbage less often: there is next to none, and each time it visits all that lives."""
    before = gc.get_threshold()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _refuse_endless_forming(core: SchedulerCore, users: int) -> None:
    """A batch that waits without end for more requests than there are users would never start."""
    if math.isinf(core.engine.formation_timeout_s) and users < core.full_batch:
        raise InputError(
            f"engine.formation_timeout_s: is inf, so a batch waits for {core.full_batch} requests, but "
            f"workload.arrivals.users {users} never send as many at once; give a timeout or lower engine.max_num_seqs"
        )


def _refuse_endless_forming_of_turns(core: SchedulerCore) -> None:
    """A batch that waits without end may be waiting for turns that wait for its answers."""
    if math.isinf(core.engine.formation_timeout_s) and core.full_batch > 1:
        raise InputError(
            f"engine.formation_timeout_s: is inf, so a batch waits for {core.full_batch} requests, but the next turns "
            "of workload.conversations wait for answers; give a timeout"
        )


def _peak_memory_bytes() -> int:
    """Largest resident size of this process so far; the kernel counts in KiB, on macOS in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
