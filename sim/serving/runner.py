"""The runner owns time: it asks the core what runs and the executor how long, waits, and applies the outcome.

A pure decode is repeated without asking again, for as long as the core says that it would decide the same: one event
for the whole run of iterations. An arrival that could change the plan cuts the run at a step boundary.

      arrival
         v
    |--------|--------|--------|--------|--------|     a run of five iterations, one event at its end
    |--------|                                         cut: the event is brought forward to the next boundary
    |--------|--------|                                asynchronous: that iteration's successor was decided already

Under asynchronous scheduling an iteration is decided when the one before it begins, so without that one's outcome and
without what arrives meanwhile. Here it is decided at its own beginning, but knowing no more: the same comes of it.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from itertools import repeat

from simpy.events import Event

from sim.errors import ServesimError
from sim.scheduling.core import SchedulerCore
from sim.scheduling.plan import Plan
from sim.serving.clock import Clock
from sim.serving.executor import NOTHING, Execution, Executor
from sim.serving.front_end import TIE_S, FrontEnd
from sim.serving.recorder import Recorder
from sim.specs.request import Request


class Runner:
    """One engine as one process. It reads its inbox only between iterations, as real engines do.

    `now_s` is the end of what it has executed. `longest_run` limits the iterations that one event may cover.
    """

    def __init__(
        self,
        clock: Clock,
        core: SchedulerCore,
        executor: Executor,
        front_end: FrontEnd,
        recorder: Recorder,
        longest_run: int,
    ) -> None:
        self._clock = clock
        self._core = core
        self._executor = executor
        self._front_end = front_end
        self._recorder = recorder
        self._longest_run = longest_run
        self._asynchronous = core.engine.async_scheduling
        self.now_s = 0.0
        self._begun_s = self._last_start_s = 0.0
        self._under_way: Plan | None = None
        self._execution = NOTHING
        self._iterations = self._last_iterations = 1
        self._somebody_left = False
        self._end_s = 0.0
        self._cut_for: Request | None = None
        self._end: Event | None = None
        front_end.on_arrival = self._on_arrival

    def run(self) -> Generator[Event, None, None]:
        """The process: plan after plan, for as long as requests come."""
        while True:
            if not self._core.running:
                yield from self._until_a_batch_starts()
            elif self._front_end.has_users:  # the last decision was empty; who was just answered may ask again
                yield self._clock.settle(TIE_S)
            plan = self._decide(self.now_s)
            if plan.is_empty:
                raise self._stalled()
            while not plan.is_empty:
                self._begin(plan)
                if not self._clock.pass_until(self._end_s):
                    self._end = self._clock.at(self._end_s)
                    yield self._end
                self._advance(plan)
                if self._asynchronous:
                    if self._last_start_s == self.now_s:  # it took no time: who was just answered may ask again
                        yield self._clock.settle(TIE_S)
                    plan, done = self._decide(self._last_start_s), plan
                    self._close(done)
                    if self._somebody_left or done.rounds:
                        self._core.take_stock(plan)
                else:
                    self._close(plan)
                    if self._front_end.has_users:
                        yield self._clock.settle(TIE_S)
                    if not self._core.running:
                        break
                    plan = self._decide(self.now_s)

    # ---- one plan ---------------------------------------------------------------------------------------------------

    def _decide(self, known_until_s: float) -> Plan:
        """What the core decides, knowing the requests that had arrived by then."""
        if self._front_end.has_news(known_until_s):
            self._read_inbox(known_until_s)
        plan = self._core.schedule()
        if self._recorder.logs:
            self._recorder.on_plan(plan, self._core)
        return plan

    def _begin(self, plan: Plan) -> None:
        """Start executing `plan`, as often as it will come out the same."""
        self._under_way = plan
        self._execution = execution = self._executor.execute(plan, self._core)
        self._iterations, self._end_s = 1, self.now_s + execution.first_s
        if not plan.chunks:
            self._iterations = self._repetitions(plan, execution)
            self._end_s = self.now_s + execution.duration_s(self._iterations)

    def _repetitions(self, plan: Plan, execution: Execution) -> int:
        """How often to repeat a plan: until its horizon, or until a decision will know of what could change it."""
        if self._asynchronous and self._somebody_left and self._core.waiting:
            return 1
        iterations = min(self._core.horizon(plan), self._longest_run, execution.iterations_alike)
        if iterations > 1 and self._front_end.selects:
            deadline_s = self._front_end.next_deadline_s()
            if deadline_s < self.now_s + execution.duration_s(iterations):
                iterations = min(iterations, self._iterations_until_known(deadline_s, execution))
        if iterations > 1:
            for request in self._front_end.coming(self.now_s + execution.duration_s(iterations)):
                if self._core.heeds(request):
                    until_heard = self._iterations_until_known(request.arrival_s, execution)
                    if until_heard <= iterations:
                        iterations, self._cut_for = until_heard, request
                    break
        return iterations

    def _iterations_until_known(self, time_s: float, execution: Execution) -> int:
        """How many iterations of the run that begins now come before the first decision that knows what was then."""
        since_start_s = time_s - TIE_S - self.now_s
        begun = execution.iterations_within(since_start_s) if since_start_s > 0 else 0
        return max(begun + self._asynchronous, 1)

    def _advance(self, plan: Plan) -> None:
        """The time of all iterations of the plan has passed."""
        self._begun_s = self._last_start_s = self.now_s
        self.now_s = self._end_s
        self._last_iterations = iterations = self._iterations
        if iterations > 1:
            self._core.repeat(plan, iterations)
            self._last_start_s = self.now_s - self._execution.last_s(iterations)

    def _close(self, plan: Plan) -> None:
        """The outcome of a plan: who is done leaves and has his answer."""
        self._under_way = None
        leaving = self._core.apply(plan) if plan.finishing or plan.rounds else []
        self._recorder.on_executed(self._begun_s, self.now_s, plan, self._execution, leaving)
        if self._recorder.logs:
            self._recorder.log(self._begun_s, self._execution.first_s, plan, leaving, self._core)
        self._somebody_left = bool(leaving)
        if self._front_end.hears_answers:
            for state in leaving:
                self._front_end.on_finish(state.request)

    def break_off(self) -> None:
        """The simulation was stopped: of the run under way, the iterations that are over count."""
        if self._under_way is not None and self._clock.now > self.now_s:
            plan = self._under_way
            over = self._execution.iterations_over(self._clock.now - self.now_s)
            if over:
                self._iterations = min(self._iterations, over)
                self._end_s = self.now_s + self._execution.duration_s(self._iterations)
                self._advance(plan)
                self._close(plan)
        self._read_inbox(self.now_s)

    # ---- arrivals ---------------------------------------------------------------------------------------------------

    def _on_arrival(self, request: Request) -> None:
        """Cut the run of iterations under way if the newcomer could change what is decided."""
        if self._iterations == 1 or self._under_way is None or not self._core.heeds(request):
            return
        iterations = self._iterations_until_known(request.arrival_s, self._execution)
        if iterations < self._iterations:
            self._cut_for = request
            self._iterations, self._end_s = iterations, self.now_s + self._execution.duration_s(iterations)
            assert self._end is not None
            self._clock.bring_forward(self._end, self._end_s)

    def _read_inbox(self, known_until_s: float) -> None:
        """Hand over to the core what had arrived by then."""
        requests = self._front_end.take(known_until_s)
        states = [self._core.enqueue(request) for request in requests]
        if self._last_iterations == 1:
            self._recorder.on_queued(requests, repeat(known_until_s))
        else:
            self._recorder.on_queued(requests, [self._first_boundary_s(each, known_until_s) for each in requests])
        if self._front_end.selects:
            self._front_end.on_queued(states)

    def _first_boundary_s(self, request: Request, known_until_s: float) -> float:
        """The first boundary after a request came, inside the run just over: the last one known of, if it cut it."""
        if request is self._cut_for:
            return known_until_s
        start_s = self._begun_s
        if request.arrival_s <= start_s + TIE_S:
            return start_s
        iterations = self._execution.iterations_within(request.arrival_s - TIE_S - start_s)
        return min(known_until_s, start_s + self._execution.duration_s(iterations))

    # ---- idle -------------------------------------------------------------------------------------------------------

    def _until_a_batch_starts(self) -> Generator[Event, None, None]:
        """Until there is something to run, and a forming static batch is full or has waited long enough."""
        yield from self._let_time_pass(None)
        while True:
            if self._core.swapped:
                return
            if not self._core.waiting:
                self._core.rest()
                yield from self._let_time_pass(self._front_end.news())
            elif self._is_filling() and self.now_s < self._deadline_s():
                news, until_s = self._front_end.news(), min(self._deadline_s(), self._front_end.next_deadline_s())
                yield from self._let_time_pass(news if math.isinf(until_s) else news | self._clock.at(until_s))
            else:
                return

    def _let_time_pass(self, event: Event | None) -> Generator[Event, None, None]:
        """Until `event` if given, and until its instant has settled; then the inbox is read."""
        if event is not None:
            yield event
            self._last_iterations = 1
            self.now_s = max(self.now_s, self._clock.now)
        if self._front_end.has_users:
            yield self._clock.settle(TIE_S)
        self._read_inbox(self.now_s)

    def _is_filling(self) -> bool:
        """Whether an idle static engine holds a batch back that could still grow."""
        engine, core = self._core.engine, self._core
        if engine.formation_timeout_s == 0 or len(core.waiting) >= core.full_batch:
            return False
        return not (self._front_end.is_closed and math.isinf(engine.formation_timeout_s))

    def _deadline_s(self) -> float:
        """When the forming batch starts even if it is not full: the timer runs from its first request's arrival."""
        first_arrival_s = min(state.request.arrival_s for state in self._core.waiting)
        return first_arrival_s + self._core.engine.formation_timeout_s

    def _stalled(self) -> ServesimError:
        core = self._core
        remedy = "raise engine.num_gpu_blocks or lower engine.watermark"
        if core.engine.own_rules:
            remedy += f", or correct your own rule of {' or '.join(core.engine.own_rules)}"
        if core.swapped:
            remedy = (
                "who was swapped out comes back only if there is room, and only with all that is left of a prompt in "
                "one iteration; raise engine.num_gpu_blocks or max_num_batched_tokens, or set preemption_mode recompute"
            )
        return ServesimError(
            f"engine: at {self.now_s:.6f} s nothing can run although {len(core.waiting) + len(core.swapped)} requests "
            f"wait; {remedy}"
        )
