"""The scheduler core: forms each iteration by the rules of an EngineSpec. It has no clock.

    schedule()  the composition decides who runs: `composition/`, with `admission.py` for those who wait and `walk.py`
                for those who run while tokens or blocks are short
    horizon()   for how many iterations that plan would come out the same
    repeat()    it was executed so many times
    apply()     finished requests leave

Requests past their prompt are counted together (`DecodeGroup`), so an iteration in which everybody gets all he wants
costs the same for one request as for a thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sim.scheduling.allocation import ALLOCATIONS
from sim.scheduling.block_pool import BlockPool, CachingBlockPool
from sim.scheduling.composition import COMPOSITIONS
from sim.scheduling.composition.base import Composition
from sim.scheduling.composition.verifying import Verifying
from sim.scheduling.decode_group import DecodeGroup
from sim.scheduling.findable import findable_tokens
from sim.scheduling.formation import FORMATIONS
from sim.scheduling.gate import GATES
from sim.scheduling.order import ORDERS
from sim.scheduling.order.fcfs import FcfsFromTheTail
from sim.scheduling.own_rule import rule
from sim.scheduling.own_texts import OwnTexts
from sim.scheduling.plan import Chunk, How, Plan
from sim.scheduling.preemption import PREEMPTIONS
from sim.scheduling.prefix_cache import Hit
from sim.scheduling.release import RELEASES
from sim.scheduling.state import RequestState
from sim.specs.base import UNLIMITED
from sim.specs.engine import EngineSpec
from sim.specs.request import Request

Accepts = Callable[[Request], Sequence[int]]
"""How many drafts are right in each round that a request may have."""


class SchedulerCore:
    """What rules act on: the running list, the waiting queue, the blocks, and what may be done to a request.

    `running` is in order of admission, `waiting` in order of service. `prefilling` are the running requests that do
    not decode yet. `stored_tokens` counts the tokens whose keys and values are in the pool, `dropped_tokens` those that
    preemptions threw away, to be computed again. `swapped` have their blocks on the host, in order, each with whether
    it decoded. `before` is the plan that was decided last.
    """

    def __init__(self, engine: EngineSpec, accepts: Accepts | None = None) -> None:
        self.engine = engine
        self._accepts = accepts
        self.block_size = engine.block_size
        self._longest_tokens = engine.resolved_max_model_len + engine.tokens_past_max_model_len
        self.caches = engine.enable_prefix_caching
        blocks = engine.usable_blocks
        self.pool = CachingBlockPool(blocks, engine.block_size) if self.caches else BlockPool(blocks)
        self.waiting = rule(engine, "order", ORDERS)() if engine.requeue == "head" else FcfsFromTheTail()
        self.running: dict[RequestState, None] = {}
        self.prefilling: list[RequestState] = []
        self.decodes = DecodeGroup(engine.block_size if engine.kv_allocation != "reserved" else 0)
        self.done_members: list[RequestState] = []
        self.stored_tokens = 0
        self.dropped_tokens = 0
        self.is_static = engine.formation != "continuous"
        self.batch_members = 0
        self.budget = engine.max_num_batched_tokens or UNLIMITED
        self.seats = min(engine.max_num_active_seqs or engine.max_num_seqs, engine.max_num_seqs)
        self.may_join = rule(engine, "formation", FORMATIONS)
        self.own_texts = OwnTexts()
        self.before = Plan()
        self._reserves = rule(engine, "kv_allocation", ALLOCATIONS)(engine)
        self._blocks_required = rule(engine, "gate", GATES)(engine)
        self._leaving = RELEASES[engine.release]
        self._leave_later = engine.release == "next_call"
        self.leaving: list[RequestState] = []
        self._preempt = PREEMPTIONS[engine.preemption_mode]
        self.swapped: dict[RequestState, bool] = {}
        self.free_host_blocks = engine.num_cpu_blocks or 0
        self.watermark_blocks = int(engine.watermark * (engine.num_gpu_blocks or 0))
        self.spare_blocks = 1 if engine.pressure.startswith("no_free_block") else 0
        self.spares_for_prompts = engine.pressure == "no_free_block"
        self.makes_room_at_once = not self.spare_blocks and self.waiting.last_admitted_gives_way
        self._shares_budget = engine.long_prefill_token_threshold > 0 and engine.long_prefill_token_threshold_adaptive
        self._arrivals = 0
        self._admissions = 0
        compose = rule(engine, "composition", COMPOSITIONS) if engine.speculation is None else Verifying
        self.composition: Composition = compose(self)

    @property
    def full_batch(self) -> int:
        """Requests in a batch that cannot grow: all seats, or all slots of reserved memory."""
        if self.engine.kv_allocation == "reserved":
            return min(self.seats, self.pool.total_blocks // self.engine.slot_blocks)
        return self.seats

    @property
    def has_work(self) -> bool:
        """Whether anybody runs or waits."""
        return bool(self.running or self.waiting or self.swapped)

    @property
    def past_prompt(self) -> int:
        """Running requests that decode, or whose last output is on its way."""
        return len(self.running) - len(self.prefilling) - len(self.done_members)

    def enqueue(self, request: Request) -> RequestState:
        """A request joins the waiting queue; the model stops at its output length, its limit or `max_model_len`."""
        prompt_tokens = request.prompt_tokens
        final_tokens = min(prompt_tokens + request.output_tokens, self._longest_tokens)
        if request.max_new_tokens is not None:
            final_tokens = min(final_tokens, prompt_tokens + request.max_new_tokens)
        state = RequestState(request, self._arrivals, final_tokens)
        self._arrivals += 1
        if self.caches:
            self.own_texts.join(state, self.block_size)
        if self._accepts is not None:
            state.accepted = self._accepts(request)
        self.waiting.push(state)
        return state

    def schedule(self) -> Plan:
        """Decide the next iteration and account for it as computed: blocks taken, tokens counted."""
        plan = Plan()
        if self.done_members:
            plan.padding_requests = len(self.done_members)
            plan.padding_context_tokens = sum(state.computed_tokens for state in self.done_members)
        self.composition.form(plan)
        if self.leaving:
            plan.flushed = self._flush()
        self.take_stock(plan)
        before = self.before
        plan.unpauses = before.stalled > 0 or len(before.paused) > 0
        self.before = plan
        return plan

    def take_stock(self, plan: Plan) -> None:
        """Note in the plan who and what is in the engine while it runs."""
        plan.running, plan.waiting = len(self.running), len(self.waiting) + len(self.swapped)
        if self.is_static:
            plan.idle_slots = self.batch_members - plan.running + plan.padding_requests
        plan.used_blocks = self.pool.total_blocks - self.pool.free_blocks
        plan.stored_tokens = self.stored_tokens - self.pool.saved_blocks * self.block_size

    def horizon(self, plan: Plan) -> int:
        """How many times in a row `plan` would be decided, itself included, as long as nobody arrives.

        A pure decode goes on until somebody finishes or blocks run out: the queue's head stays blocked as long, unless
        the composition knows better.
        """
        if plan.chunks or plan.preempted or plan.paused or plan.unpauses or plan.finishing or self.prefilling:
            return 1
        if plan.swapped_in:
            return 1
        if self.own_texts.overheard:  # what waiting requests find grows with every block
            return 1
        if not plan.decode_requests:
            return 1
        alike = self.composition.alike(plan)
        if alike == 1:
            return 1
        free_blocks = self.pool.free_blocks - self.spare_blocks
        if free_blocks < 0:
            return 1
        return min(alike, 1 + self.decodes.ticks_with(free_blocks, self.decodes.ticks_to_finish()))

    def rest(self) -> None:
        """Time passes and nobody is there."""
        self._flush()
        self.composition.rested()

    def heeds(self, request: Request) -> bool:
        """Whether a request that arrived now could change the next plan.

        One that queues up behind somebody who cannot start does not, unless the head's chunk depends on how many wait.
        """
        return self._shares_budget or self.waiting.would_be_first(request) or self.composition.looks_further

    def repeat(self, plan: Plan, iterations: int) -> None:
        """`plan` was executed `iterations` times, which is at most its horizon."""
        more = iterations - 1
        plan.iterations = iterations
        plan.grown_blocks, plan.growth = self.decodes.growth(more)
        if plan.grown_blocks:
            self.pool.allocate(plan.grown_blocks)
        self.stored_tokens += more * self.decodes.count
        self.composition.repeated(more)
        plan.finishing = self.decodes.tick(more)

    def apply(self, plan: Plan) -> list[RequestState]:
        """The iterations have run: finished requests leave, with their seats and blocks, and are returned."""
        if plan.rounds:
            self.composition.settle(plan)
        self.done_members += plan.finishing
        anybody_left = self.decodes.count > 0 or len(self.prefilling) > 0
        leaving = self._leaving(self.done_members, anybody_left)
        self.done_members = [] if leaving else self.done_members
        if len(leaving) > 1:
            leaving.sort(key=_by_admission)
        running = self.running
        for state in leaving:
            if self.caches:
                self.own_texts.leave(state)
            if state in running:
                del running[state]
                if self._leave_later:
                    self.leaving.append(state)
                else:
                    self._drop_blocks(state)
            else:  # preempted while its last token was on the way
                self.waiting.remove(state)
        return leaving

    def has_started(self, state: RequestState) -> bool:
        """Whether a request was ever scheduled."""
        return state in self.running or state.is_done or state.preemptions > 0

    def withdraw(self, state: RequestState) -> None:
        """A request that was never scheduled leaves the queue."""
        self.composition.withdrawn(state)
        self.waiting.remove(state)
        if self.caches:
            self.own_texts.leave(state)

    # ---- running requests -------------------------------------------------------------------------------------------

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
        self._emit(plan, state)

    def go_on(self, plan: Plan, state: RequestState, tokens: int) -> None:
        """A prompt of which a part is computed has its next chunk."""
        new_blocks = self.new_blocks(state, tokens)
        self.take_blocks(state, tokens, new_blocks)
        self.compute(plan, state, "running", tokens, new_blocks)

    def _emit(self, plan: Plan, state: RequestState) -> None:
        """Somebody outside the decode group has computed all he knows: he decodes from now on, or this is his last."""
        if state.computed_tokens + 1 < state.final_tokens:
            self.decodes.join(state)
        else:
            state.known_tokens += 1
            plan.finishing.append(state)

    def preempt(self, plan: Plan, victim: RequestState, granted_tokens: int) -> None:
        """A running request gives up its blocks; the tokens that it was granted in this call will not run."""
        victim.preemptions += 1
        rest_tokens = 0 if victim.decoding else victim.known_tokens - victim.computed_tokens
        plan.preempted = {**plan.preempted, victim: rest_tokens}
        self._preempt(self, plan, victim, granted_tokens)

    def take_out(self, plan: Plan, state: RequestState) -> None:
        """Off the running list, with its own counters right; its blocks are still to be released."""
        if state.decoding:
            self.decodes.leave(state)
        elif not state.is_done:
            self.prefilling.remove(state)
        del self.running[state]
        self.stored_tokens -= state.computed_tokens

    def put_first(self, states: list[RequestState]) -> None:
        """These before all others on the running list, in this order."""
        self.running = dict.fromkeys(states) | dict.fromkeys(self.running)
        for place, state in enumerate(self.running):
            state.admission_rank = place

    def come_back(self, plan: Plan, state: RequestState, tokens: int, decodes: bool) -> None:
        """A request that was swapped out runs again, on the blocks that it had; a decode joins those of this plan."""
        self.seat(state)
        new_blocks = self.new_blocks(state, tokens)
        self.take_blocks(state, tokens, new_blocks)
        if not decodes:
            self.compute(plan, state, "swapped", tokens, new_blocks)
            return
        state.computed_tokens += 1
        self.stored_tokens += 1
        plan.swapped_in = [*plan.swapped_in, state]
        plan.decode_requests += 1
        plan.decode_context_tokens += state.computed_tokens
        plan.longest_context_tokens = max(plan.longest_context_tokens, state.computed_tokens)
        self._emit(plan, state)

    # ---- waiting requests -------------------------------------------------------------------------------------------

    def blocks_to_admit(self, state: RequestState, tokens: int, hit: Hit) -> int:
        """What the gate asks but for what was found held by others, and the watermark unless the engine is idle."""
        required = self._blocks_required(state.known_tokens, hit.blocks * self.block_size + tokens)
        return required - hit.blocks + hit.idle_blocks + self.kept_blocks

    @property
    def kept_blocks(self) -> int:
        """Blocks that an admission must leave free now."""
        return self.watermark_blocks if self.running or self.engine.watermark_when_idle else 0

    def seat(self, state: RequestState) -> None:
        """A request goes to the end of the running list."""
        self.running[state] = None
        state.admission_rank = self._admissions
        self._admissions += 1

    def start(self, plan: Plan, state: RequestState, tokens: int, hit: Hit) -> None:
        """A request that was taken from the queue runs its first chunk, on what was found of it."""
        if hit.blocks:
            self.start_from(state, hit)
        self.seat(state)
        if self.is_static:
            self.batch_members = len(self.running)
        state.reserved_tokens = self._reserves(state.known_tokens)
        new_blocks = self.blocks_held(state, state.computed_tokens + tokens) - hit.blocks
        self.take_blocks(state, tokens, new_blocks)
        self.compute(plan, state, "resumed" if state.preemptions else "new", tokens, new_blocks)

    def start_from(self, state: RequestState, hit: Hit) -> None:
        """A waiting request begins with what was found of it in the prefix cache."""
        self.pool.hold(state, hit)
        tokens = hit.blocks * self.block_size
        state.computed_tokens = tokens
        self.stored_tokens += tokens
        if state.preemptions:
            self.dropped_tokens -= tokens
        else:
            state.cached_tokens = tokens

    # ---- blocks -----------------------------------------------------------------------------------------------------

    def blocks_held(self, state: RequestState, tokens: int) -> int:
        """Blocks of a running request with `tokens` computed tokens: what they fill, or what was reserved if more."""
        reserved = state.reserved_tokens
        return -(-(tokens if tokens > reserved else reserved) // self.block_size)

    def new_blocks(self, state: RequestState, tokens: int) -> int:
        """Blocks to take before `tokens` more tokens of a request can be stored."""
        stored = self.computed_tokens(state)
        return self.blocks_held(state, stored + tokens) - self.blocks_held(state, stored)

    def take_blocks(self, state: RequestState, tokens: int, new_blocks: int) -> None:
        """Take the blocks for `tokens` more tokens; what others may want of those that fill up can be found at once."""
        if new_blocks:
            self.pool.allocate(new_blocks)
        if state.shared_blocks > state.stored_blocks:
            self.pool.store(state, findable_tokens(self, state, tokens) // self.block_size)

    def computed_tokens(self, state: RequestState) -> int:
        """Tokens of a request that are computed; the decode group counts for its members."""
        return self.decodes.computed_tokens(state) if state.decoding else state.computed_tokens

    def _flush(self) -> list[RequestState]:
        """Those who finished in the iteration before give their blocks back."""
        flushed, self.leaving = self.leaving, []
        for state in flushed:
            self._drop_blocks(state)
        return flushed

    def _drop_blocks(self, state: RequestState) -> None:
        """Give back the blocks of a request that leaves."""
        tokens = state.computed_tokens
        findable = state.findable_tokens if state.verifying else tokens
        self.pool.release(state, self.blocks_held(state, tokens), findable // self.block_size)
        self.stored_tokens -= tokens


def _by_admission(state: RequestState) -> int:
    return state.admission_rank
