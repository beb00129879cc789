"""One run, from an experiment to the raw log of what happened."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from sim.cost import cost_model
from sim.scheduling.core import SchedulerCore
from sim.scheduling.schedule_log import Record
from sim.serving.clock import Clock
from sim.serving.executor import Executor
from sim.serving.front_end import FrontEnd
from sim.serving.recorder import Recorder
from sim.serving.runner import Runner
from sim.specs.experiment import Experiment
from sim.workload.source import Workload


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


def simulate(experiment: Experiment, workload: Workload, on_record: Callable[[Record], None] | None = None) -> RunLog:
    """Serve `workload` on the experiment's engine until the last answer, or until Ctrl-C.

    `on_record` receives one schedule-log line an iteration.
    """
    clock, recorder = Clock(), Recorder(on_record)
    core = SchedulerCore(experiment.engine)
    executor = Executor(experiment.engine, cost_model(experiment))
    front_end = FrontEnd(clock, recorder)
    runner = Runner(clock, core, executor, front_end, recorder)
    clock.process(front_end.feed(workload))
    clock.process(runner.run())
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    interrupted = clock.run_to_the_end()
    if interrupted:
        recorder.close_interrupted()
    performance = Performance(
        cpu_s=time.process_time() - cpu_s,
        wall_s=time.perf_counter() - wall_s,
        simpy_events=clock.scheduled_events,
        peak_memory_bytes=_peak_memory_bytes(),
    )
    return RunLog(recorder, core, performance, interrupted)


def _peak_memory_bytes() -> int:
    """Largest resident size of this process so far; the kernel counts in KiB, on macOS in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
