"""What happened: tables of requests, iterations and token gaps, and totals that the audit holds against them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from sim.scheduling.core import SchedulerCore
from sim.scheduling.plan import Outcome, Plan
from sim.scheduling.schedule_log import Record, decision_record, outcome_record
from sim.scheduling.state import RequestState
from sim.serving.columns import GAP_COLUMNS, ITERATION_COLUMNS, REQUEST_COLUMNS, Columns
from sim.serving.executor import Execution
from sim.specs.request import Request

NO_SESSION = -1


@dataclass
class Totals:
    """Sums over a run, counted as things happen and not from the tables, so that the audit compares two accounts.

    Names ending in `_request_s`, `_block_s`, `_token_s` and `_slot_s` are integrals over time: amount times seconds.
    `in_system_request_s` is ∫N(t)dt, N being the requests that have arrived and not left. `group_s` is time by
    operation group and the resource that set it; `blocked_s` is time by what kept the head of the queue from starting.
    `flops` and `memory_bytes` are what the iterations computed and moved on one GPU, where the cost model counts them.
    """

    arrivals: int = 0
    departures: int = 0
    emitted_tokens: int = 0
    computed_tokens: int = 0
    executed_tokens: int = 0
    busy_s: float = 0.0
    flops: float = 0.0
    memory_bytes: float = 0.0
    in_system_request_s: float = 0.0
    kv_used_block_s: float = 0.0
    kv_stored_token_s: float = 0.0
    kv_never_used_token_s: float = 0.0
    idle_slot_s: float = 0.0
    active_slot_s: float = 0.0
    waiting_request_s: float = 0.0
    peak_waiting: int = 0
    group_s: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    blocked_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))


@dataclass(slots=True)
class _Trip:
    """The times of one request in flight, seconds."""

    queued_s: float = float("nan")
    scheduled_s: float = float("nan")
    first_token_s: float = float("nan")
    last_token_s: float = float("nan")


class Recorder:
    """Listens to front end and runner; `on_record` receives each iteration's schedule-log line, if given.

    `start_s` is the first arrival, `end_s` the end of the last iteration.
    """

    def __init__(self, on_record: Callable[[Record], None] | None = None) -> None:
        self.requests = Columns(REQUEST_COLUMNS)
        self.iterations = Columns(ITERATION_COLUMNS)
        self.gaps = Columns(GAP_COLUMNS)
        self.totals = Totals()
        self.start_s = 0.0
        self.end_s = 0.0
        self._on_record = on_record
        self._record: Record = {}
        self._read_since_step: list[int] = []
        self._trips: dict[int, _Trip] = {}
        self._in_system_since_s = 0.0
        self._never_used_tokens = 0
        self._waiting = 0
        self._waiting_since_s = 0.0

    def on_arrival(self, request: Request) -> None:
        """A request reached the front end."""
        if not self.totals.arrivals:
            self.start_s = request.arrival_s
        self._extend_in_system(request.arrival_s)
        self.totals.arrivals += 1
        self._trips[request.request_id] = _Trip()

    def on_queued(self, now_s: float, request: Request) -> None:
        """The engine read a request from its inbox."""
        self._note_waiting(now_s, self._waiting + 1)
        self._trips[request.request_id].queued_s = now_s
        self._read_since_step.append(request.request_id)

    def on_step(self, now_s: float, plan: Plan, execution: Execution, core: SchedulerCore) -> None:
        """An iteration starts."""
        self._note_waiting(now_s, len(core.waiting))
        if self._on_record:
            self._record = decision_record(len(self.iterations), self._read_since_step, plan, core)
            self._record |= {"start_s": now_s, "duration_s": execution.duration_s}
        self._read_since_step.clear()
        for part in plan.scheduled:
            if part.how == "new":
                self._trips[part.state.request.request_id].scheduled_s = now_s
                self._never_used_tokens += core.never_used_tokens(part.state)
        self._note_iteration(now_s, plan, execution, core)
        self._integrate(plan, execution, core)

    def on_outcome(self, now_s: float, outcome: Outcome, core: SchedulerCore) -> None:
        """An iteration ended: tokens came out, and some requests left."""
        self._note_tokens(now_s, outcome)
        self._extend_in_system(now_s)
        self.totals.departures += len(outcome.finished)
        for state in outcome.finished:
            self._note_finish(now_s, state)
            self._never_used_tokens -= core.never_used_tokens(state)
        self.end_s = now_s
        if self._on_record:
            self._on_record(self._record | outcome_record(len(self.iterations) - 1, outcome, core))

    def close_interrupted(self) -> None:
        """The run was broken off: the iteration under way counts whole, though its outcome never came."""
        if len(self.iterations):
            columns = self.iterations.arrays
            self.end_s = max(self.end_s, columns["start_s"][-1] + columns["first_step_s"][-1])

    def _note_iteration(self, now_s: float, plan: Plan, execution: Execution, core: SchedulerCore) -> None:
        """The iteration's row, without the padding that was executed for members already finished."""
        decode_requests = execution.batch.decode_requests - len(plan.padding_rows)
        context_tokens = execution.batch.decode_context_tokens
        context_tokens -= sum(state.computed_tokens for state in plan.padding_rows)
        prefill_tokens = plan.total_tokens - decode_requests
        self.iterations.append(
            now_s, 1, execution.duration_s, 0.0, decode_requests, context_tokens, prefill_tokens,
            len(core.running), len(core.waiting), core.pool.used_blocks, len(plan.preempted),
        )  # fmt: skip

    def _integrate(self, plan: Plan, execution: Execution, core: SchedulerCore) -> None:
        """Add this iteration to the sums and time integrals."""
        totals, duration_s = self.totals, execution.duration_s
        totals.computed_tokens += plan.total_tokens
        totals.executed_tokens += execution.batch.tokens
        totals.busy_s += duration_s
        totals.kv_used_block_s += core.pool.used_blocks * duration_s
        totals.kv_stored_token_s += core.stored_tokens * duration_s
        totals.kv_never_used_token_s += self._never_used_tokens * duration_s
        totals.idle_slot_s += core.idle_slots * duration_s
        totals.active_slot_s += core.active_members * duration_s
        if plan.blocked_by:
            totals.blocked_s[plan.blocked_by] += duration_s
        for group, seconds, bound, flops, memory_bytes in execution.times:
            totals.group_s[group, bound] += seconds
            totals.flops += flops
            totals.memory_bytes += memory_bytes

    def _note_tokens(self, now_s: float, outcome: Outcome) -> None:
        """Stamp the emitted tokens. Nearly all have waited just this step: those gaps are counted as one run."""
        common_gap_s, common = now_s - self.end_s, 0
        for state in outcome.emitted:
            trip = self._trips[state.request.request_id]
            if state.emitted_tokens == 1:
                trip.first_token_s = now_s
            elif trip.last_token_s == self.end_s:
                common += 1
            else:
                self.gaps.append(now_s - trip.last_token_s, 1, now_s)
            trip.last_token_s = now_s
        if common:
            self.gaps.append(common_gap_s, common, now_s)
        self.totals.emitted_tokens += len(outcome.emitted)

    def _note_finish(self, now_s: float, state: RequestState) -> None:
        request, trip = state.request, self._trips.pop(state.request.request_id)
        cached_tokens = 0
        self.requests.append(
            request.request_id, request.arrival_s, trip.queued_s, trip.scheduled_s, trip.first_token_s, now_s,
            request.prompt_tokens, cached_tokens, state.emitted_tokens, state.preemptions,
            NO_SESSION if request.session_id is None else request.session_id,
        )  # fmt: skip

    def _note_waiting(self, now_s: float, waiting: int) -> None:
        """The queue the engine knows of has a new length from now on; lengths that last no time do not count."""
        if now_s > self._waiting_since_s:
            self.totals.waiting_request_s += self._waiting * (now_s - self._waiting_since_s)
            self.totals.peak_waiting = max(self.totals.peak_waiting, self._waiting)
        self._waiting, self._waiting_since_s = waiting, now_s

    def _extend_in_system(self, now_s: float) -> None:
        """Extend ∫N(t)dt to this instant."""
        in_system = self.totals.arrivals - self.totals.departures
        self.totals.in_system_request_s += in_system * (now_s - self._in_system_since_s)
        self._in_system_since_s = now_s
