"""The scheduler core: forms each iteration by the rules of an EngineSpec. It has no clock.

This is the plain core: one object a request, one walk over the running list an iteration, no shortcuts. Its order of
decisions is that of vLLM V1 (release 0.33.0, vllm/v1/core/sched/scheduler.py), of which Orca and static batching are
other values of the same axes:

    schedule()  running requests in order of admission, each as far as budget and blocks reach (preempting for blocks);
                then, if nobody was preempted, waiting requests in their order while seats, budget and blocks last
    apply()     every request that reached the end of what is known emits a token; finished ones leave
"""

from __future__ import annotations

from sim.scheduling.allocation import ALLOCATIONS
from sim.scheduling.block_pool import BlockPool
from sim.scheduling.formation import FORMATIONS
from sim.scheduling.formation.cadence import PrefillCadence
from sim.scheduling.gate import GATES
from sim.scheduling.order import ORDERS
from sim.scheduling.plan import Blocker, How, Outcome, Plan, Scheduled
from sim.scheduling.release import RELEASES
from sim.scheduling.state import RequestState
from sim.specs.engine import EngineSpec
from sim.specs.request import Request

UNLIMITED = 2**62


class SchedulerCore:
    """`enqueue`, `schedule`, `apply`; `running` is in order of admission, `waiting` in order of service.

    `stored_tokens` counts the tokens whose keys and values are in the pool, `dropped_tokens` those that preemptions
    threw away, to be computed again.
    """

    def __init__(self, engine: EngineSpec) -> None:
        self.engine = engine
        self.pool = BlockPool(engine.usable_blocks)
        self.waiting = ORDERS[engine.order]()
        self.running: list[RequestState] = []
        self.stored_tokens = 0
        self.dropped_tokens = 0
        self._batch_members = 0
        self._done_members: list[RequestState] = []
        self._blocks_held = ALLOCATIONS[engine.kv_allocation]
        self._blocks_required = GATES[engine.gate]
        self._may_join = FORMATIONS[engine.formation]
        self._leaving = RELEASES[engine.release]
        self._cadence = PrefillCadence(engine.prefill_schedule_interval)
        self._seats = min(engine.max_num_active_seqs or engine.max_num_seqs, engine.max_num_seqs)
        self._watermark_blocks = int(engine.watermark * (engine.num_gpu_blocks or 0))
        self._arrivals = 0

    @property
    def has_work(self) -> bool:
        """Whether a call of `schedule` has anything to decide."""
        return bool(self.running) or len(self.waiting) > 0

    @property
    def full_batch(self) -> int:
        """Requests in a batch that cannot grow: all seats, or all slots of reserved memory."""
        if self.engine.kv_allocation == "reserved":
            return min(self._seats, self.pool.total_blocks // self.engine.slot_blocks)
        return self._seats

    @property
    def idle_slots(self) -> int:
        """Slots of a static batch whose member has finished, and which nobody may take before the batch ends."""
        if self.engine.formation == "continuous" or not self.running:
            return 0
        return self._batch_members - self.active_members

    @property
    def active_members(self) -> int:
        """Running requests whose answer is not complete."""
        return len(self.running) - len(self._done_members)

    def never_used_tokens(self, state: RequestState) -> int:
        """Room of a reserved slot that this request will never fill; its last output is not stored."""
        if self.engine.kv_allocation == "paged":
            return 0
        final_tokens = state.request.prompt_tokens + state.output_tokens - 1
        return self.engine.slot_blocks * self.engine.block_size - final_tokens

    def enqueue(self, request: Request) -> RequestState:
        """A request joins the waiting queue; the model stops at its output length, its limit or `max_model_len`."""
        output_tokens = min(request.output_tokens, self.engine.resolved_max_model_len - request.prompt_tokens)
        if request.max_new_tokens is not None:
            output_tokens = min(output_tokens, request.max_new_tokens)
        state = RequestState(request, arrival_rank=self._arrivals, output_tokens=output_tokens)
        self._arrivals += 1
        self.waiting.push(state)
        return state

    def schedule(self) -> Plan:
        """Decide the next iteration and account for it as computed: blocks taken, tokens counted."""
        plan = Plan(padding_rows=list(self._done_members))
        threshold = self._prefill_threshold()
        held = self._cadence.holds(self.running)
        budget = self._schedule_running(plan, threshold, held)
        if plan.preempted:
            plan.blocked_by = "preemption"
        elif self._may_join(self.running):
            plan.blocked_by = self._admit(plan, budget, threshold, held)
            self._batch_members = len(self.running)
        elif len(self.waiting):
            plan.blocked_by = "batch not over"
        for part in plan.scheduled:
            part.state.computed_tokens += part.tokens
            self.stored_tokens += part.tokens
        self._cadence.note(plan, held, left_waiting=len(self.waiting) > 0)
        return plan

    def apply(self, plan: Plan) -> Outcome:
        """The iteration has run: emit tokens, and let finished requests leave."""
        emitted = [part.state for part in plan.scheduled if part.state.wanted_tokens == 0]
        for state in emitted:
            state.emitted_tokens += 1
        just_done = [state for state in emitted if state.is_done]
        if not just_done:
            return Outcome(emitted, finished=[])
        self._done_members += just_done
        finished = self._leaving(just_done, self.running)
        for state in finished:
            self.running.remove(state)
            self._done_members.remove(state)
            self._drop_blocks(state)
        return Outcome(emitted, finished)

    # ---- running requests -------------------------------------------------------------------------------------------

    def _schedule_running(self, plan: Plan, threshold: int, held: bool) -> int:
        """Give every running request its tokens in order of admission; returns the budget that is left."""
        budget = self.engine.max_num_batched_tokens or UNLIMITED
        index = 0
        while index < len(self.running) and budget > 0:
            state = self.running[index]
            tokens = 0 if held and not state.is_decoding else self._next_tokens(state, threshold, budget)
            needed = self._blocks_needed(state, tokens)
            while needed > self.pool.free_blocks:
                victim = self.waiting.victim(self.running)
                index -= self.running.index(victim) < index
                budget += self._preempt(victim, plan)
                if victim is state:
                    break
            else:
                if tokens:
                    plan.scheduled.append(self._grow(state, "running", tokens, needed))
                    budget -= tokens
                index += 1
        return budget

    def _next_tokens(self, state: RequestState, threshold: int, budget: int) -> int:
        """Tokens a running request computes now: what it wants, cut by threshold, budget and the model length."""
        if state.is_done:
            return 0
        room = self.engine.resolved_max_model_len - state.computed_tokens - 1
        return min(state.wanted_tokens, threshold, budget, room)

    def _preempt(self, victim: RequestState, plan: Plan) -> int:
        """Recompute later: blocks go, outputs stay, and the request waits again.

        Returns the tokens this iteration had already given it, which go back to the budget.
        """
        returned = [part for part in plan.scheduled if part.state is victim]
        for part in returned:
            plan.scheduled.remove(part)
        self.running.remove(victim)
        self.dropped_tokens += victim.computed_tokens
        self._drop_blocks(victim)
        victim.computed_tokens = 0
        victim.preemptions += 1
        self.waiting.push_preempted(victim)
        plan.preempted.append(victim)
        return sum(part.tokens for part in returned)

    # ---- waiting requests -------------------------------------------------------------------------------------------

    def _admit(self, plan: Plan, budget: int, threshold: int, held: bool) -> Blocker | None:
        """Start waiting requests in their order; the first that cannot start ends the pass, and why is returned."""
        while len(self.waiting):
            state = self.waiting.head()
            uncut = min(state.wanted_tokens, threshold)
            tokens = min(uncut, budget)
            if tokens == 0 or (tokens < uncut and not self.engine.enable_chunked_prefill):
                return "token budget"
            if len(self.running) >= self._seats:
                return "seats"
            if held and state.wanted_tokens > 1:
                return "prefill cadence"
            if self._blocks_to_admit(state, tokens) > self.pool.free_blocks:
                return "kv blocks"
            self.waiting.pop()
            self.running.append(state)
            how: How = "resumed" if state.preemptions else "new"
            plan.scheduled.append(self._grow(state, how, tokens, self._blocks_needed(state, tokens)))
            budget -= tokens
        return None

    def _blocks_to_admit(self, state: RequestState, tokens: int) -> int:
        """What the gate asks, and the watermark on top unless the engine is idle."""
        watermark_blocks = self._watermark_blocks if self.running else 0
        return self._blocks_required(state.known_tokens, tokens, self.engine) + watermark_blocks

    def _prefill_threshold(self) -> int:
        """Tokens one request may compute in an iteration; lifted for a request that is alone."""
        threshold = self.engine.long_prefill_token_threshold
        present = len(self.running) + len(self.waiting)
        if not threshold or present <= 1:
            return UNLIMITED
        if self.engine.long_prefill_token_threshold_adaptive and self.engine.max_num_batched_tokens:
            return max(threshold, self.engine.max_num_batched_tokens // present)
        return threshold

    # ---- blocks -----------------------------------------------------------------------------------------------------

    def _blocks_needed(self, state: RequestState, tokens: int) -> int:
        """Blocks to take before `tokens` more tokens can be stored."""
        if tokens == 0:
            return 0
        return self._blocks_held(state.computed_tokens + tokens, self.engine) - state.held_blocks

    def _grow(self, state: RequestState, how: How, tokens: int, new_blocks: int) -> Scheduled:
        self.pool.allocate(new_blocks)
        state.held_blocks += new_blocks
        return Scheduled(state, how, state.computed_tokens, tokens, new_blocks)

    def _drop_blocks(self, state: RequestState) -> None:
        self.pool.release(state.held_blocks)
        self.stored_tokens -= state.computed_tokens
        state.held_blocks = 0
