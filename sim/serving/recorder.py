"""What happened: columns of requests and of runs of iterations, and totals that the audit holds against them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan

from sim.scheduling.core import SchedulerCore
from sim.scheduling.plan import BLOCKERS, Chunk, Plan
from sim.scheduling.schedule_log import Record, decision_record, outcome_record
from sim.scheduling.state import RequestState
from sim.serving.columns import GAP_COLUMNS, ITERATION_COLUMNS, Columns, RequestTimes
from sim.serving.executor import Execution
from sim.specs.request import Request

NO_SESSION = -1


@dataclass(slots=True)
class Totals:
    """What the tables do not say, or what the audit holds against what they say.

    `in_system_request_s` is ∫N(t)dt, N being the requests that have arrived and not left; `waiting_request_s` the time
    integral of the queue that the engine knows of.
    """

    arrivals: int = 0
    departures: int = 0
    emitted_tokens: int = 0
    in_system_request_s: float = 0.0
    waiting_request_s: float = 0.0
    peak_waiting: int = 0


class Recorder:
    """Listens to front end and runner; `on_record` receives each iteration's schedule-log line, if given.

    `start_s` is the first arrival, `end_s` the end of the last iteration.
    """

    def __init__(self, on_record: Callable[[Record], None] | None = None) -> None:
        self.requests = RequestTimes()
        self.iterations = Columns(ITERATION_COLUMNS)
        self.gaps = Columns(GAP_COLUMNS)
        self.totals = Totals()
        self.start_s = 0.0
        self.end_s = 0.0
        self._on_record = on_record
        self._decisions: list[Record] = []
        self._outcome: Record = {}
        self._calls = 0
        self._read_since_step: list[int] = []
        self._in_system_since_s = 0.0
        self._preempted_s: dict[RequestState, float] = {}
        self._paused_s: dict[RequestState, float] = {}
        self._waiting = 0
        self._waiting_since_s = 0.0

    def on_arrival(self, request: Request) -> None:
        """A request reached the front end."""
        totals, times, request_id = self.totals, self.requests, request.request_id
        if not totals.arrivals:
            self.start_s = request.arrival_s
        self._extend_in_system(request.arrival_s)
        totals.arrivals += 1
        if request_id >= len(times.arrival_s):
            times.make_room(request_id)
        times.arrival_s[request_id] = request.arrival_s
        if request.session_id is not None:
            times.session_id[request_id] = request.session_id

    def on_queued(self, now_s: float, request: Request) -> None:
        """The engine read a request from its inbox, at the boundary `now_s`."""
        self._note_waiting(now_s, self._waiting + 1)
        self.requests.queued_s[request.request_id] = max(now_s, request.arrival_s)
        if self._on_record:
            self._read_since_step.append(request.request_id)

    def on_plan(self, plan: Plan, core: SchedulerCore) -> None:
        """An iteration starts: the first half of its log line."""
        if self._on_record:
            self._decisions.append(decision_record(self._calls, self._read_since_step, plan, core))
            self._calls += 1
            self._read_since_step.clear()

    def on_executed(
        self,
        start_s: float,
        end_s: float,
        plan: Plan,
        execution: Execution,
        leaving: list[RequestState],
        core: SchedulerCore,
    ) -> None:
        """The iterations of a plan ended: tokens came out, and some requests left."""
        if plan.preempted or plan.paused or self._paused_s:
            self._note_late(start_s, end_s, plan)
        grown_blocks, grown_block_s = 0, 0.0
        if plan.iterations > 1:
            grown_blocks = sum(plan.growth_blocks)
            if grown_blocks:
                grown_block_s = _growth_block_s(plan.growth_blocks, execution, end_s - start_s)
        self.totals.emitted_tokens += plan.iterations * plan.decode_requests
        decodes, context, prefills, prefill_tokens, pairs, prefill_context, _ = execution.batch
        self.iterations.append(
            start_s, plan.iterations, execution.first_s, execution.increment_s,
            decodes, context, prefills, prefill_tokens, pairs, prefill_context,
            execution.padding_tokens, plan.padding_requests, plan.running, plan.waiting, plan.idle_slots,
            plan.used_blocks, grown_blocks, grown_block_s, plan.stored_tokens,
            len(plan.preempted), BLOCKERS[plan.blocked_by],
        )  # fmt: skip
        for chunk in plan.chunks:
            self._note_chunk(start_s, end_s, chunk)
        if leaving:
            self._note_leaving(end_s, leaving)
        self.end_s = end_s
        if self._on_record:
            self._log(start_s, execution.first_s, leaving, core)

    def _log(self, start_s: float, seconds: float, leaving: list[RequestState], core: SchedulerCore) -> None:
        """The line of a call: what it decided, and the outcome that was applied after it.

        That is its own, or under asynchronous scheduling that of the call before; then the last call decides nothing.
        """
        assert self._on_record is not None
        decision = self._decisions.pop(0)
        outcome = outcome_record(decision, leaving, core)
        if not core.engine.async_scheduling:
            self._outcome = outcome
        self._on_record(decision | {"start_s": start_s, "duration_s": seconds} | self._outcome)
        self._outcome = outcome
        if self._decisions and not self._decisions[0]["scheduled"] and not self._decisions[0]["preempted"]:
            self._on_record(self._decisions.pop(0) | {"start_s": start_s + seconds, "duration_s": 0.0} | outcome)
            self._outcome = {}

    def on_broken_off(self, now_s: float) -> None:
        """The run ends here, whoever still waits."""
        self._note_waiting(now_s, self._waiting)

    # ---- totals -----------------------------------------------------------------------------------------------------

    def _note_waiting(self, now_s: float, waiting: int) -> None:
        """The queue the engine knows of has a new length from now on; lengths that last no time do not count."""
        if now_s > self._waiting_since_s:
            self.totals.waiting_request_s += self._waiting * (now_s - self._waiting_since_s)
            self.totals.peak_waiting = max(self.totals.peak_waiting, self._waiting)
            self._waiting_since_s = now_s
        self._waiting = waiting

    def _extend_in_system(self, now_s: float) -> None:
        """Extend ∫N(t)dt to this instant."""
        totals = self.totals
        totals.in_system_request_s += (totals.arrivals - totals.departures) * (now_s - self._in_system_since_s)
        self._in_system_since_s = now_s

    # ---- requests ---------------------------------------------------------------------------------------------------

    def _note_chunk(self, start_s: float, end_s: float, chunk: Chunk) -> None:
        """Part of a prompt ran. If it was the last, a token came out: the first, or the next after a preemption."""
        request, times = chunk.state.request, self.requests
        if chunk.how != "running":
            self._note_waiting(start_s, self._waiting - 1)
            if chunk.how == "new":
                times.scheduled_s[request.request_id] = max(start_s, request.arrival_s)
        if chunk.completes:
            self.totals.emitted_tokens += 1
            if isnan(times.first_token_s[request.request_id]):
                times.first_token_s[request.request_id] = end_s
            else:
                self.gaps.append(request.request_id, end_s - self._preempted_s.pop(chunk.state), end_s, -1)

    def _note_late(self, now_s: float, end_s: float, plan: Plan) -> None:
        """Who was preempted waits. Keep the time of the last token, which has just come, of those whose next is late.

        Who was paused, and is neither paused again nor preempted, has decoded in this iteration.
        """
        if plan.preempted:
            self._note_waiting(now_s, self._waiting + len(plan.preempted))
        for state in plan.preempted:
            if not isnan(self.requests.first_token_s[state.request.request_id]):
                self._preempted_s.setdefault(state, self._paused_s.pop(state, now_s))
        if self._paused_s:
            for state in self._paused_s.keys() - set(plan.paused):
                gap_s = end_s - self._paused_s.pop(state)
                self.gaps.append(state.request.request_id, gap_s, end_s, len(self.iterations))
        for state in plan.paused:
            self._paused_s.setdefault(state, now_s)

    def _note_leaving(self, now_s: float, leaving: list[RequestState]) -> None:
        """Answers are complete, also of those preempted while their last token was on the way."""
        self._extend_in_system(now_s)
        self.totals.departures += len(leaving)
        times = self.requests
        for state in leaving:
            if not state.computed_tokens:
                self._note_waiting(now_s, self._waiting - 1)
            request_id = state.request.request_id
            times.finish_s[request_id] = now_s
            times.cached_tokens[request_id] = state.cached_tokens
            times.output_tokens[request_id] = state.emitted_tokens
            times.preemptions[request_id] = state.preemptions


def _growth_block_s(growth_blocks: Sequence[int], execution: Execution, seconds: float) -> float:
    """Block-seconds of blocks that were taken after the first iteration, until the end of the last."""
    left_s, step_s, increment_s = seconds, execution.first_s, execution.increment_s
    block_s = 0.0
    for blocks in growth_blocks:
        left_s -= step_s
        step_s += increment_s
        block_s += blocks * left_s
    return block_s
