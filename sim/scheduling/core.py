"""The scheduler core: forms each iteration by the rules of an EngineSpec. It has no clock.

Its order of decisions is that of vLLM V1 (release 0.33.0, vllm/v1/core/sched/scheduler.py), of which Orca and static
batching are other values of the same axes:

    schedule()  running requests in order of admission, each as far as budget and blocks reach (preempting for blocks);
                then, if nobody was preempted, waiting requests in their order while seats, budget and blocks last
    horizon()   for how many iterations that plan would come out the same
    repeat()    it was executed so many times
    apply()     finished requests leave

Requests past their prompt are counted together (`DecodeGroup`), so an iteration in which everybody gets all he wants
costs the same for one request as for a thousand. Only when budget or blocks run short does `walk.py` go through the
running list one by one.
"""

from __future__ import annotations

from itertools import islice

from sim.scheduling.allocation import ALLOCATIONS
from sim.scheduling.block_pool import BlockPool, CachingBlockPool
from sim.scheduling.decode_group import DecodeGroup
from sim.scheduling.findable import findable_tokens, publish
from sim.scheduling.formation import FORMATIONS
from sim.scheduling.formation.cadence import PrefillCadence
from sim.scheduling.gate import GATES
from sim.scheduling.order import ORDERS
from sim.scheduling.own_texts import OwnTexts
from sim.scheduling.plan import Blocker, Chunk, How, Plan
from sim.scheduling.prefix_cache import NOTHING_FOUND, Hit
from sim.scheduling.release import RELEASES
from sim.scheduling.state import RequestState
from sim.scheduling.walk import make_room, walk_running
from sim.specs.engine import EngineSpec
from sim.specs.request import Request

UNLIMITED = 2**62


class SchedulerCore:
    """`running` is in order of admission, `waiting` in order of service.

    `blocks_held` says how many blocks a request holds for so many stored tokens. `prefilling` are the running requests
    that do not decode yet. `stored_tokens` counts the tokens whose keys and values are in the pool, `dropped_tokens`
    those that preemptions threw away, to be computed again. `before` is the plan that was decided last.
    """

    def __init__(self, engine: EngineSpec) -> None:
        self.engine = engine
        self._block_size, self._max_model_len = engine.block_size, engine.resolved_max_model_len
        self._caches = engine.enable_prefix_caching
        blocks = engine.usable_blocks
        self.pool = CachingBlockPool(blocks, engine.block_size) if self._caches else BlockPool(blocks)
        self.waiting = ORDERS[engine.order]()
        self.running: dict[RequestState, None] = {}
        self.prefilling: list[RequestState] = []
        self.decodes = DecodeGroup(engine.block_size if engine.kv_allocation == "paged" else 0)
        self.done_members: list[RequestState] = []
        self.stored_tokens = 0
        self.dropped_tokens = 0
        self.is_static = engine.formation != "continuous"
        self.batch_members = 0
        self.blocks_held = ALLOCATIONS[engine.kv_allocation](engine)
        self._blocks_required = GATES[engine.gate](engine)
        self._may_join = FORMATIONS[engine.formation]
        self._leaving = RELEASES[engine.release]
        self._cadence = PrefillCadence(engine.prefill_schedule_interval)
        self.budget = engine.max_num_batched_tokens or UNLIMITED
        self._seats = min(engine.max_num_active_seqs or engine.max_num_seqs, engine.max_num_seqs)
        self._watermark_blocks = int(engine.watermark * (engine.num_gpu_blocks or 0))
        self._threshold = engine.long_prefill_token_threshold
        self._shares_budget = self._threshold > 0 and engine.long_prefill_token_threshold_adaptive
        self._own_texts = OwnTexts()
        self.before = Plan()
        self._arrivals = 0
        self._admissions = 0

    @property
    def full_batch(self) -> int:
        """Requests in a batch that cannot grow: all seats, or all slots of reserved memory."""
        if self.engine.kv_allocation == "reserved":
            return min(self._seats, self.pool.total_blocks // self.engine.slot_blocks)
        return self._seats

    def enqueue(self, request: Request) -> RequestState:
        """A request joins the waiting queue; the model stops at its output length, its limit or `max_model_len`."""
        prompt_tokens = request.prompt_tokens
        final_tokens = min(prompt_tokens + request.output_tokens, self._max_model_len)
        if request.max_new_tokens is not None:
            final_tokens = min(final_tokens, prompt_tokens + request.max_new_tokens)
        state = RequestState(request, self._arrivals, final_tokens)
        self._arrivals += 1
        if self._caches:
            self._own_texts.join(state, self._block_size)
        self.waiting.push(state)
        return state

    def schedule(self) -> Plan:
        """Decide the next iteration and account for it as computed: blocks taken, tokens counted."""
        plan = Plan()
        threshold = self._prefill_threshold() if self._threshold else UNLIMITED
        held = self._cadence.counts and self._cadence.holds(self._past_prompt())
        if self.done_members:
            plan.padding_requests = len(self.done_members)
            plan.padding_context_tokens = sum(state.computed_tokens for state in self.done_members)
        budget = None
        if self._own_texts.overheard:
            publish(self)
        else:
            budget = self._run_everybody(plan, threshold, held)
        if budget is None:
            budget = walk_running(self, plan, threshold, held)
        if plan.preempted:
            plan.blocked_by = "preemption"
        elif self.waiting:
            if self._may_join(self.running):
                plan.blocked_by = self._admit(plan, budget, threshold, held)
                self.batch_members = len(self.running)
            else:
                plan.blocked_by = "batch not over"
        self.take_stock(plan)
        if self._cadence.counts:
            self._cadence.note(plan, held)
        plan.unpauses = len(self.before.paused) > 0
        self.before = plan
        return plan

    def take_stock(self, plan: Plan) -> None:
        """Note in the plan who and what is in the engine while it runs."""
        plan.running, plan.waiting = len(self.running), len(self.waiting)
        if self.is_static:
            plan.idle_slots = self.batch_members - plan.running + plan.padding_requests
        plan.used_blocks = self.pool.total_blocks - self.pool.free_blocks
        plan.stored_tokens = self.stored_tokens - self.pool.saved_blocks * self._block_size

    def horizon(self, plan: Plan) -> int:
        """How many times in a row `plan` would be decided, itself included, as long as nobody arrives.

        A pure decode goes on until somebody finishes or blocks run out: the queue's head stays blocked as long.
        """
        if plan.chunks or plan.preempted or plan.paused or plan.unpauses or plan.finishing or self.prefilling:
            return 1
        if self._own_texts.overheard:  # what waiting requests find grows with every block
            return 1
        if not plan.decode_requests or (self.waiting and self._cadence.counts):
            return 1
        return 1 + self.decodes.ticks_with(self.pool.free_blocks, self.decodes.ticks_to_finish())

    def heeds(self, request: Request) -> bool:
        """Whether a request that arrived now could change the next plan.

        One that queues up behind somebody who cannot start does not, unless the head's chunk depends on how many wait.
        """
        return self._shares_budget or self.waiting.would_be_first(request)

    def repeat(self, plan: Plan, iterations: int) -> None:
        """`plan` was executed `iterations` times, which is at most its horizon."""
        more = iterations - 1
        plan.iterations = iterations
        plan.grown_blocks, plan.growth = self.decodes.growth(more)
        if plan.grown_blocks:
            self.pool.allocate(plan.grown_blocks)
        self.stored_tokens += more * self.decodes.count
        if self._cadence.counts:
            self._cadence.skip(more)
        plan.finishing = self.decodes.tick(more)

    def apply(self, plan: Plan) -> list[RequestState]:
        """The iterations have run: finished requests leave, with their seats and blocks, and are returned."""
        self.done_members += plan.finishing
        anybody_left = self.decodes.count > 0 or len(self.prefilling) > 0
        leaving = self._leaving(self.done_members, anybody_left)
        self.done_members = [] if leaving else self.done_members
        if len(leaving) > 1:
            leaving.sort(key=_by_admission)
        running = self.running
        for state in leaving:
            if self._caches:
                self._own_texts.leave(state)
            if state in running:
                del running[state]
                self._drop_blocks(state)
            else:  # preempted while its last token was on the way
                self.waiting.remove(state)
        return leaving

    def has_started(self, state: RequestState) -> bool:
        """Whether a request was ever scheduled."""
        return state in self.running or state.is_done or state.preemptions > 0

    def withdraw(self, state: RequestState) -> None:
        """A request that was never scheduled leaves the queue."""
        self.waiting.remove(state)
        if self._caches:
            self._own_texts.leave(state)

    # ---- running requests -------------------------------------------------------------------------------------------

    def _run_everybody(self, plan: Plan, threshold: int, held: bool) -> int | None:
        """Give all running requests the tokens they want, and return the budget that is left.

        When only decodes run and blocks do not suffice, the last admitted make room. Changes nothing and returns None
        when the running list's order decides otherwise who goes short of blocks or budget.
        """
        decodes, growth = self.decodes, self.decodes.blocks_in_next_tick()
        budget, free = self.budget - decodes.count, self.pool.free_blocks - growth
        grants = []
        if self.prefilling and not held:
            for state in self.prefilling:
                wanted = min(state.known_tokens - state.computed_tokens, threshold)
                tokens = min(wanted, max(budget, 0))
                if tokens < wanted and not self._prompts_come_last():
                    return None
                if tokens:
                    new_blocks = self.new_blocks(state, tokens)
                    grants.append((state, tokens, new_blocks))
                    budget -= tokens
                    free -= new_blocks
        if budget < 0 or free < 0:
            if budget < 0 or self.prefilling or not self.waiting.last_admitted_gives_way:
                return None
            growth = make_room(self, plan, growth)
            budget = self.budget - decodes.count
        if decodes.count:
            if growth:
                self.pool.allocate(growth)
            self.decode_all(plan)
        for state, tokens, new_blocks in grants:
            self.take_blocks(state, tokens, new_blocks)
            self.compute(plan, state, "running", tokens, new_blocks)
        return budget

    def tokens_wanted(self, state: RequestState, threshold: int, budget: int, held: bool) -> int:
        """Tokens that a running request would compute now: a decode one, a prompt what threshold and budget allow."""
        if state.decoding:
            return 1
        if held or state.is_done:
            return 0
        return min(state.known_tokens - state.computed_tokens, threshold, budget)

    def decode_all(self, plan: Plan) -> None:
        """Every member of the decode group that was not paused computes a token."""
        decodes, paused = self.decodes, len(plan.paused)
        plan.decode_requests = decodes.count - paused
        plan.decode_context_tokens = decodes.context_tokens + decodes.count
        plan.longest_context_tokens = decodes.longest_tokens() + 1
        if paused:
            plan.decode_context_tokens -= sum(decodes.computed_tokens(state) + 1 for state in plan.paused)
            running = (state for state in self.running if state.decoding and state not in plan.paused)
            plan.longest_context_tokens = max(map(decodes.computed_tokens, running)) + 1
        self.stored_tokens += plan.decode_requests
        plan.finishing = decodes.tick()

    def compute(self, plan: Plan, state: RequestState, how: How, tokens: int, new_blocks: int) -> None:
        """Add a chunk to the plan and count it as computed; what completes emits, and then decodes or is finished."""
        start = state.computed_tokens
        state.computed_tokens = end = start + tokens
        self.stored_tokens += tokens
        completes = end == state.known_tokens
        plan.prefills |= how == "running" or tokens > 1 or not completes
        plan.chunks.append(Chunk(state, how, start, tokens, new_blocks, completes))
        if not completes:
            if how != "running":
                self.prefilling.append(state)
            return
        if how == "running":
            self.prefilling.remove(state)
        if end + 1 < state.final_tokens:
            self.decodes.join(state)
        else:
            state.known_tokens += 1
            plan.finishing.append(state)

    def preempt(self, plan: Plan, victim: RequestState, granted_tokens: int) -> None:
        """Recompute later: blocks go, outputs stay, and the request waits again.

        The tokens that it was granted in this call will not run. As in vLLM, the blocks that they would have filled can
        be found all the same.
        """
        findable = findable_tokens(self, victim, granted_tokens)
        if victim.decoding:
            self.decodes.leave(victim)
        elif not victim.is_done:
            self.prefilling.remove(victim)
        del self.running[victim]
        if not victim.is_done:  # its last output is on the way: nothing of it will be computed again
            self.dropped_tokens += victim.computed_tokens
        self.pool.release(
            victim, self.blocks_held(victim.computed_tokens + granted_tokens), findable // self._block_size
        )
        self.stored_tokens -= victim.computed_tokens
        victim.computed_tokens = 0
        victim.preemptions += 1
        self.waiting.push_preempted(victim)
        plan.preempted = [*plan.preempted, victim]

    def _past_prompt(self) -> int:
        """Running requests that decode, or whose last output is on its way."""
        return len(self.running) - len(self.prefilling) - len(self.done_members)

    def _prompts_come_last(self) -> bool:
        """Whether all that decode stand before all that do not, so that decodes are served first."""
        last = islice(reversed(self.running), len(self.prefilling))
        return not any(state.decoding for state in last)

    # ---- waiting requests -------------------------------------------------------------------------------------------

    def _admit(self, plan: Plan, budget: int, threshold: int, held: bool) -> Blocker | None:
        """Start waiting requests in their order; the first that cannot start ends the pass, and why is returned."""
        waiting, running, pool, hit = self.waiting, self.running, self.pool, NOTHING_FOUND
        while waiting:
            state = waiting.head()
            if self._caches:
                hit = pool.find(state)
            wanted = state.known_tokens - hit.blocks * self._block_size
            uncut = wanted if wanted < threshold else threshold
            tokens = uncut if uncut < budget else budget
            if tokens == 0 or (tokens < uncut and not self.engine.enable_chunked_prefill):
                return "token budget"
            if len(running) >= self._seats:
                return "seats"
            if held and wanted > 1:
                return "prefill cadence"
            if self._blocks_to_admit(state, tokens, hit) > pool.free_blocks:
                return "kv blocks"
            waiting.pop()
            if hit.blocks:
                self._start_from(state, hit)
            running[state] = None
            state.admission_rank = self._admissions
            self._admissions += 1
            new_blocks = self.new_blocks(state, tokens)
            self.take_blocks(state, tokens, new_blocks)
            self.compute(plan, state, "resumed" if state.preemptions else "new", tokens, new_blocks)
            budget -= tokens
        return None

    def _blocks_to_admit(self, state: RequestState, tokens: int, hit: Hit) -> int:
        """What the gate asks but for what was found held by others, and the watermark unless the engine is idle."""
        watermark_blocks = self._watermark_blocks if self.running else 0
        required = self._blocks_required(state.known_tokens, hit.blocks * self._block_size + tokens)
        return required - hit.blocks + hit.idle_blocks + watermark_blocks

    def _start_from(self, state: RequestState, hit: Hit) -> None:
        """A waiting request begins with what was found of it in the prefix cache."""
        self.pool.hold(state, hit)
        tokens = hit.blocks * self._block_size
        state.computed_tokens = tokens
        self.stored_tokens += tokens
        if state.preemptions:
            self.dropped_tokens -= tokens
        else:
            state.cached_tokens = tokens

    def _prefill_threshold(self) -> int:
        """Tokens one request may compute in an iteration; lifted for a request that is alone."""
        threshold = self._threshold
        present = len(self.running) + len(self.waiting)
        if present <= 1:
            return UNLIMITED
        if self.engine.long_prefill_token_threshold_adaptive and self.engine.max_num_batched_tokens:
            return max(threshold, self.engine.max_num_batched_tokens // present)
        return threshold

    # ---- blocks -----------------------------------------------------------------------------------------------------

    def new_blocks(self, state: RequestState, tokens: int) -> int:
        """Blocks to take before `tokens` more tokens of a request can be stored."""
        stored = self.computed_tokens(state)
        return self.blocks_held(stored + tokens) - self.blocks_held(stored)

    def take_blocks(self, state: RequestState, tokens: int, new_blocks: int) -> None:
        """Take the blocks for `tokens` more tokens; what others may want of those that fill up can be found at once."""
        if new_blocks:
            self.pool.allocate(new_blocks)
        if state.shared_blocks > state.stored_blocks:
            self.pool.store(state, findable_tokens(self, state, tokens) // self._block_size)

    def computed_tokens(self, state: RequestState) -> int:
        """Tokens of a request that are computed; the decode group counts for its members."""
        return self.decodes.computed_tokens(state) if state.decoding else state.computed_tokens

    def _drop_blocks(self, state: RequestState) -> None:
        """Give back the blocks of a request that leaves."""
        tokens = state.computed_tokens
        self.pool.release(state, self.blocks_held(tokens), tokens // self._block_size)
        self.stored_tokens -= tokens


def _by_admission(state: RequestState) -> int:
    return state.admission_rank
