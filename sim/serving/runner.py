"""The runner owns time: it asks the core what runs and the executor how long, waits, and applies the outcome."""

from __future__ import annotations

import math
from collections.abc import Generator

from simpy.events import Event

from sim.errors import ServesimError
from sim.scheduling.core import SchedulerCore
from sim.serving.clock import Clock
from sim.serving.executor import Executor
from sim.serving.front_end import FrontEnd
from sim.serving.recorder import Recorder


class Runner:
    """One engine as one process. It reads its inbox only between iterations, as real engines do."""

    def __init__(
        self, clock: Clock, core: SchedulerCore, executor: Executor, front_end: FrontEnd, recorder: Recorder
    ) -> None:
        self._clock = clock
        self._core = core
        self._executor = executor
        self._front_end = front_end
        self._recorder = recorder

    def run(self) -> Generator[Event, None, None]:
        """The process: iteration after iteration, for as long as requests come."""
        while True:
            yield from self._wait_for_batch()
            plan = self._core.schedule()
            if not plan.scheduled and not plan.preempted:
                raise ServesimError(
                    f"engine: at {self._clock.now:.6f} s nothing can run although {len(self._core.waiting)} requests "
                    "wait; raise engine.num_gpu_blocks or lower engine.watermark"
                )
            execution = self._executor.execute(plan)
            self._recorder.on_step(self._clock.now, plan, execution, self._core)
            yield self._clock.timeout(execution.duration_s)
            outcome = self._core.apply(plan)
            self._recorder.on_outcome(self._clock.now, outcome, self._core)
            for state in outcome.finished:
                self._front_end.on_finish(state.request)

    def _wait_for_batch(self) -> Generator[Event, None, None]:
        """Until there is something to run, and a forming static batch is full or has waited long enough."""
        yield from self._read_inbox()
        while not self._core.has_work:
            yield self._front_end.news()
            yield from self._read_inbox()
        while self._is_filling() and self._clock.now < self._deadline_s():
            news, deadline_s = self._front_end.news(), self._deadline_s()
            yield news if math.isinf(deadline_s) else news | self._clock.at(deadline_s)
            yield from self._read_inbox()

    def _is_filling(self) -> bool:
        """Whether an idle static engine holds a batch back that could still grow."""
        engine, core = self._core.engine, self._core
        if engine.formation_timeout_s == 0 or core.running or len(core.waiting) >= core.full_batch:
            return False
        return not (self._front_end.is_closed and math.isinf(engine.formation_timeout_s))

    def _deadline_s(self) -> float:
        """When the forming batch starts even if it is not full: the timer runs from its first request's arrival."""
        first_arrival_s = min(state.request.arrival_s for state in self._core.waiting)
        return first_arrival_s + self._core.engine.formation_timeout_s

    def _read_inbox(self) -> Generator[Event, None, None]:
        """Hand over to the core what arrived up to and including this instant."""
        yield self._clock.settle()
        for request in self._front_end.take_all():
            self._core.enqueue(request)
            self._recorder.on_queued(self._clock.now, request)
