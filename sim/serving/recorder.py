"""What happened: columns of requests and of runs of iterations, and totals that the audit holds against them."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import isnan

import numpy as np
from numpy.typing import NDArray

from sim.cost.batch import COUNTED
from sim.scheduling.core import SchedulerCore
from sim.scheduling.plan import BLOCKERS, Chunk, Plan
from sim.scheduling.schedule_log import Record, decision_record, outcome_record
from sim.scheduling.state import RequestState
from sim.serving.columns import (
    ANYBODY,
    DRAFT_COLUMNS,
    GAP_COLUMNS,
    ITERATION_COLUMNS,
    SWAP_COLUMNS,
    UNSERVED_COLUMNS,
    Columns,
    RequestTimes,
)
from sim.serving.executor import Execution
from sim.specs.request import Request

NO_SESSION = -1
COUNTED_FIELDS = len(COUNTED)

FloatArray = NDArray[np.float64]


@dataclass(slots=True)
class Totals:
    """What the tables do not say, or what the audit holds against what they say.

    `arrivals` are the requests that were let in, others were `refused`; `departures` have their answers, `abandoned`
    left before they were scheduled, after `abandoned_request_s` in all. `in_system_request_s` is ∫N(t)dt, N being the
    requests that have arrived and not left; `waiting_request_s` the time integral of the queue that the engine knows
    of, and `peak_waiting` its length at most. `rounds` counts those that verified so many drafts and accepted so many.
    """

    arrivals: int = 0
    departures: int = 0
    refused: int = 0
    abandoned: int = 0
    abandoned_request_s: float = 0.0
    emitted_tokens: int = 0
    accepted_tokens: int = 0
    rounds: Counter[tuple[int, int]] = field(default_factory=Counter)
    in_system_request_s: float = 0.0
    waiting_request_s: float = 0.0
    peak_waiting: int = 0

    @property
    def lost(self) -> int:
        """Requests that left without an answer."""
        return self.refused + self.abandoned


class Recorder:
    """Listens to front end and runner; `on_record` receives each iteration's schedule-log line, if given.

    `logs` says whether it is. `start_s` is the first arrival, `end_s` the end of the last iteration.
    """

    def __init__(
        self, on_record: Callable[[Record], None] | None = None, speculates: bool = False, swaps: bool = False
    ) -> None:
        self.requests = RequestTimes()
        self._speculates, self._swaps = speculates, swaps
        more = DRAFT_COLUMNS if speculates else SWAP_COLUMNS if swaps else {}
        self.iterations = Columns(ITERATION_COLUMNS | more)
        self.gaps = Columns(GAP_COLUMNS)
        self.unserved = Columns(UNSERVED_COLUMNS)
        self.totals = Totals()
        self.start_s = 0.0
        self.end_s = 0.0
        self.logs = on_record is not None
        self._on_record = on_record
        self._decisions: list[Record] = []
        self._outcome: Record = {}
        self._calls = 0
        self._read_since_step: list[int] = []
        self._preempted_s: dict[RequestState, float] = {}
        self._paused_s: dict[RequestState, float] = {}
        self._stalled, self._stalled_s = 0, 0.0
        self._last_chunks: list[Chunk] = []
        self._growth = array("i")
        self._requeued_s = array("d")
        self._resumed_s = array("d")

    def on_queued(self, requests: Sequence[Request], boundaries_s: Iterable[float]) -> None:
        """The engine read requests from its inbox, each at a boundary."""
        totals, times = self.totals, self.requests
        if requests and not totals.arrivals:
            self.start_s = requests[0].arrival_s
        totals.arrivals += len(requests)
        for request, boundary_s in zip(requests, boundaries_s, strict=False):
            request_id, arrival_s = request.request_id, request.arrival_s
            if request_id >= times.rows:
                times.make_room(request_id)
            totals.in_system_request_s -= arrival_s
            times.arrival_s[request_id] = arrival_s
            times.queued_s[request_id] = boundary_s
            if request.session_id is not None:
                times.session_id[request_id] = request.session_id
        if self.logs:
            self._read_since_step += [request.request_id for request in requests]

    def on_refused(self, request: Request) -> None:
        """A request found the system full."""
        self.totals.refused += 1
        self.unserved.append(request.request_id, request.arrival_s, request.arrival_s)

    def on_abandoned(self, request: Request, left_s: float) -> None:
        """A request that was let in left before it was scheduled, and perhaps before the engine had read of it."""
        totals, request_id = self.totals, request.request_id
        totals.abandoned += 1
        totals.abandoned_request_s += left_s - request.arrival_s
        totals.in_system_request_s += left_s
        self.unserved.append(request_id, request.arrival_s, left_s)
        if left_s > self.requests.queued_s[request_id]:
            self._resumed_s.append(left_s)
        else:
            self.requests.queued_s[request_id] = float("nan")

    def on_plan(self, plan: Plan, core: SchedulerCore) -> None:
        """An iteration starts: the first half of its log line."""
        self._decisions.append(decision_record(self._calls, self._read_since_step, plan, core))
        self._calls += 1
        self._read_since_step.clear()

    def on_executed(
        self, start_s: float, end_s: float, plan: Plan, execution: Execution, leaving: list[RequestState]
    ) -> None:
        """The iterations of a plan ended: tokens came out, and some requests left."""
        if plan.stalled or plan.preempted or plan.paused or self._paused_s or self._stalled:
            self._note_late(start_s, end_s, plan)
        for state in plan.swapped_in:
            self._resumed_s.append(start_s)
            self.gaps.append(
                state.request.request_id, 1, end_s - self._preempted_s.pop(state), end_s, len(self.iterations)
            )
        self._last_chunks = plan.chunks
        batch, first_s, increment_s, padding_tokens, _ = execution
        if plan.grown_blocks:
            self._growth.extend(plan.growth)
        self.totals.emitted_tokens += plan.iterations * plan.decode_requests
        more: tuple[int, ...] = ()
        if self._speculates:
            more = self._note_drafts(end_s, plan)
        elif self._swaps:
            more = (batch.swapped_blocks,)
        self.iterations.append(
            start_s, plan.iterations, first_s, increment_s,
            *batch[:COUNTED_FIELDS],
            padding_tokens + plan.wasted_requests, plan.padding_requests + plan.wasted_requests,
            plan.running, plan.waiting, plan.idle_slots,
            plan.used_blocks, plan.grown_blocks, 0.0, plan.stored_tokens,
            len(plan.preempted), BLOCKERS[plan.blocked_by],
            *more,
        )  # fmt: skip
        if plan.chunks:
            self._note_chunks(start_s, end_s, plan.chunks)
        if leaving:
            self._note_leaving(end_s, leaving)
        self.end_s = end_s

    def on_end(self, now_s: float) -> None:
        """The run ends here, whoever is still there."""
        totals, times = self.totals, self.requests.arrays()
        for name in ("queued_s", "scheduled_s"):  # what came within a tie of a boundary came before it
            np.maximum(times[name], times["arrival_s"], out=times[name])
        totals.in_system_request_s += (totals.arrivals - totals.departures - totals.abandoned) * now_s
        self._note_growth()
        joined_s = np.concatenate([times["queued_s"], self._requeued_s])
        left_s = np.concatenate([times["scheduled_s"], self._resumed_s])
        totals.waiting_request_s, totals.peak_waiting = _queue(joined_s, left_s, now_s)

    def _note_growth(self) -> None:
        """Block-seconds of blocks that runs took after their first iteration: how often tick j comes, and what is left.

        Tick j begins j steps after the run, which take j first_s + j (j - 1)/2 increment_s.
        """
        if not self._growth:
            return
        runs = self.iterations.arrays()
        which = np.flatnonzero(runs["kv_grown_blocks"])
        lap = np.frombuffer(self._growth, np.int32).reshape(len(which), -1)
        ticks, first_s, increment_s = (runs[name][which] for name in ("iterations", "first_step_s", "step_increment_s"))
        ticks = ticks - 1.0
        run_s = (ticks + 1) * first_s + ticks * (ticks + 1) / 2 * increment_s
        size, held_s = lap.shape[1], np.zeros(len(which))
        for tick, blocks in enumerate(lap.T, start=1):
            turns = np.maximum((ticks - tick) // size + 1, 0)
            further = turns * (turns - 1) / 2
            sum_j = turns * tick + size * further
            sum_jj = turns * tick**2 + 2 * tick * size * further + size**2 * further * (2 * turns - 1) / 3
            held_s += blocks * (turns * run_s - sum_j * first_s - (sum_jj - sum_j) / 2 * increment_s)
        runs["kv_grown_block_s"][which] = held_s
        self._growth = array("i")

    def log(self, start_s: float, seconds: float, plan: Plan, leaving: list[RequestState], core: SchedulerCore) -> None:
        """The line of a call: what it decided, and the outcome that was applied after it.

        That is its own, or under asynchronous scheduling that of the call before; then the last call decides nothing.
        """
        assert self._on_record is not None
        decision = self._decisions.pop(0)
        outcome = outcome_record(decision, plan, leaving, core)
        if not core.engine.async_scheduling:
            self._outcome = outcome
        self._on_record(decision | {"start_s": start_s, "duration_s": seconds} | self._outcome)
        self._outcome = outcome
        if self._decisions and not self._decisions[0]["scheduled"] and not self._decisions[0]["preempted"]:
            self._on_record(self._decisions.pop(0) | {"start_s": start_s + seconds, "duration_s": 0.0} | outcome)
            self._outcome = {}

    # ---- requests ---------------------------------------------------------------------------------------------------

    def _note_chunks(self, start_s: float, end_s: float, chunks: list[Chunk]) -> None:
        """Parts of prompts ran. After the last a token came out: the first, or the next after a preemption."""
        times = self.requests
        for chunk in chunks:
            state, how = chunk.state, chunk.how
            request_id = state.request.request_id
            if how == "new":
                times.scheduled_s[request_id] = start_s
            elif how != "running":
                self._resumed_s.append(start_s)
            if chunk.completes:
                self.totals.emitted_tokens += 1
                if state in self._preempted_s:
                    self.gaps.append(request_id, 1, end_s - self._preempted_s.pop(state), end_s, -1)
                else:
                    times.first_token_s[request_id] = end_s

    def _note_drafts(self, end_s: float, plan: Plan) -> tuple[int, int, int]:
        """Right drafts come out with the token after them, so with no gap between."""
        self.totals.emitted_tokens += plan.accepted_tokens - plan.wasted_requests
        self.totals.accepted_tokens += plan.accepted_tokens
        verified = (done for done in plan.rounds if done.draft_tokens and done.emitted)
        self.totals.rounds.update((done.draft_tokens, done.accepted) for done in verified)
        if plan.accepted_tokens:
            self.gaps.append(ANYBODY, plan.accepted_tokens, 0.0, end_s, -1)
        return plan.draft_tokens, plan.draft_pairs, plan.accepted_tokens

    def _note_late(self, now_s: float, end_s: float, plan: Plan) -> None:
        """Who was preempted waits, and so does who was left out. Keep the time of the last token of each.

        Where no decode runs, those that decoded before are counted together, and who joins them later is not: its last
        token came later than theirs. Whoever is not left out again, nor preempted, has decoded in this iteration.
        """
        for state in plan.preempted:
            self._requeued_s.append(now_s)
            if not isnan(self.requests.first_token_s[state.request.request_id]):
                self._preempted_s.setdefault(state, self._last_token_s(state, now_s))
        if plan.stalled:
            self._note_stalled(now_s, plan.stalled)
            return
        if self._paused_s:
            for state in self._paused_s.keys() - set(plan.paused):
                gap_s = end_s - self._paused_s.pop(state)
                self.gaps.append(state.request.request_id, 1, gap_s, end_s, len(self.iterations))
        for state in plan.paused:
            if state not in self._paused_s and isnan(self.requests.finish_s[state.request.request_id]):
                self._paused_s[state] = self._last_token_s(state, now_s)
        if self._stalled and plan.decode_requests:
            self.gaps.append(ANYBODY, self._stalled, end_s - self._stalled_s, end_s, len(self.iterations))
            self._stalled = 0

    def _note_stalled(self, now_s: float, decodes: int) -> None:
        """So many decodes are left out, all of them; those that joined after the first such iteration one by one."""
        if self._stalled:
            for chunk in self._last_chunks:
                if chunk.completes and (chunk.state.decoding or chunk.state.verifying):
                    self._paused_s[chunk.state] = now_s
        else:
            self._stalled, self._stalled_s = decodes - len(self._paused_s), now_s

    def _last_token_s(self, state: RequestState, now_s: float) -> float:
        """When the last token of a decode came that stops now; of those counted together it is one."""
        if state in self._paused_s:
            return self._paused_s.pop(state)
        if not self._stalled or any(chunk.state is state for chunk in self._last_chunks):
            return now_s
        self._stalled -= 1
        return self._stalled_s

    def _note_leaving(self, now_s: float, leaving: list[RequestState]) -> None:
        """Answers are complete, also of those preempted while their last token was on the way."""
        totals, times = self.totals, self.requests
        totals.departures += len(leaving)
        totals.in_system_request_s += len(leaving) * now_s
        for state in leaving:
            request_id = state.request.request_id
            if not state.computed_tokens:
                self._resumed_s.append(now_s)
            times.finish_s[request_id] = now_s
            times.output_tokens[request_id] = state.emitted_tokens
            times.cached_tokens[request_id] = state.cached_tokens
            times.preemptions[request_id] = state.preemptions


def _queue(joined_s: FloatArray, left_s: FloatArray, now_s: float) -> tuple[float, int]:
    """Time integral and peak of a queue's length, until now; lengths that last no time do not count. NaN is never."""
    joined_s, left_s = np.sort(joined_s[~np.isnan(joined_s)]), np.sort(left_s[~np.isnan(left_s)])
    length = np.arange(1, len(joined_s) + 1) - np.searchsorted(left_s, joined_s, side="right")
    still_there = len(joined_s) - len(left_s)
    return float(left_s.sum() - joined_s.sum() + still_there * now_s), int(length.max(initial=0))
