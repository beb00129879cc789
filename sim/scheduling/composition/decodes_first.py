"""DeepSpeed-FastGen's SplitFuse: decodes, then prompts cut to fill the batch; who finds no block is passed over.

mii/batching/ragged_batching.py `schedule_requests`, MII commit 8abdd98. A prompt is started or continued only if there
are blocks for all that is left of it. Whoever got an output goes to the end of the line, so that of more decodes than
the batch takes those left out come first in the next. Only when nothing at all can run somebody gives up his blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.errors import InputError
from sim.scheduling.composition.base import Composition
from sim.scheduling.plan import Blocker, Plan
from sim.scheduling.prefix_cache import NOTHING_FOUND
from sim.scheduling.state import RequestState
from sim.specs.base import UNLIMITED

if TYPE_CHECKING:
    from sim.scheduling.core import SchedulerCore


class DecodesFirst(Composition):
    """The running list is in the order of the line; prompts of which a part is computed come before those that wait."""

    def __init__(self, core: SchedulerCore) -> None:
        super().__init__(core)
        self._most_decodes = min(core.seats, core.budget)
        self._passed_over: list[RequestState] = []
        self._evicted_in_vain: set[RequestState] = set()

    def form(self, plan: Plan) -> None:
        """Blocks of those who finished in the iteration before come back only when this one is decided."""
        core, free_before = self._core, self._core.pool.free_blocks
        self._run_decodes(plan)
        if free_before:
            plan.blocked_by = self._run_prompts(plan)
        elif core.waiting:
            plan.blocked_by = "kv blocks"
        if not plan.decode_requests and not plan.chunks:
            if core.leaving:
                plan.passes = True
            elif core.running:
                self._evict(plan)
            plan.stalled, plan.paused = core.decodes.count, ()
        if plan.paused:
            core.put_first(list(plan.paused))
        if self._evicted_in_vain and (plan.decode_requests or any(chunk.completes for chunk in plan.chunks)):
            self._evicted_in_vain.clear()

    def alike(self, plan: Plan) -> int:
        """Until blocks come back."""
        return 1 if plan.flushed and self._core.waiting else UNLIMITED

    @property
    def looks_further(self) -> bool:
        """Whether one who comes now might start although others wait."""
        return bool(self._passed_over)

    def _run_decodes(self, plan: Plan) -> None:
        """All at once, unless blocks or places are short; then those in front, each if there is a block for it."""
        core, decodes = self._core, self._core.decodes
        growth = decodes.blocks_in_next_tick()
        if not decodes.count:
            return
        if decodes.count > self._most_decodes or growth > core.pool.free_blocks:
            growth = self._leave_out(plan)
        if len(plan.paused) == decodes.count:
            return
        for state in plan.paused:
            decodes.pause(state)
        core.pool.allocate(growth)
        core.decode_all(plan)

    def _leave_out(self, plan: Plan) -> int:
        """Who finds no place or no block is paused; returns the blocks that the others take."""
        core, free = self._core, self._core.pool.free_blocks
        line = [state for state in core.running if state.decoding]
        paused = line[self._most_decodes :]
        for state in line[: self._most_decodes]:
            needed = core.new_blocks(state, 1)
            if needed > free:
                paused.append(state)
            else:
                free -= needed
        left_out = set(paused)
        plan.paused = [state for state in line if state in left_out]
        return core.pool.free_blocks - free

    def _run_prompts(self, plan: Plan) -> Blocker | None:
        """In order, the last cut to what is left of the budget; the first that does not fit ends it.

        One of a single token that does not fit is only passed over.
        """
        core = self._core
        for state in list(core.prefilling):
            tokens, blocker = self._share(plan, state)
            if tokens:
                self._go_on(plan, state, tokens)
            elif blocker != "kv blocks" or state.known_tokens - state.computed_tokens > 1:
                return blocker
        blocker = self._start_waiting(plan)
        for state in reversed(self._passed_over):
            core.waiting.push_first(state)
        return blocker or ("kv blocks" if self._passed_over else None)

    def _start_waiting(self, plan: Plan) -> Blocker | None:
        core, self._passed_over = self._core, []
        while core.waiting:
            state = core.waiting.head()
            tokens, blocker = self._share(plan, state)
            if tokens:
                core.start(plan, core.waiting.pop(), tokens, NOTHING_FOUND)
                self._put_cut_first(state)
            elif blocker == "kv blocks" and state.known_tokens == 1:
                self._passed_over.append(core.waiting.pop())
            else:
                return blocker
        return None

    def _share(self, plan: Plan, state: RequestState) -> tuple[int, Blocker | None]:
        """Tokens that a prompt may compute now, or why none."""
        core, rest = self._core, state.known_tokens - state.computed_tokens
        budget = core.budget - plan.decode_requests - plan.prefill_tokens
        if plan.decode_requests + len(plan.chunks) >= core.seats:
            return 0, "seats"
        if budget <= 0:
            return 0, "token budget"
        if core.new_blocks(state, rest) > core.pool.free_blocks:
            return 0, "kv blocks"
        return min(rest, budget), None

    def _go_on(self, plan: Plan, state: RequestState, tokens: int) -> None:
        """A prompt of which a part is computed; when it is done it goes to the end of the line."""
        core = self._core
        core.go_on(plan, state, tokens)
        if state in core.prefilling:
            self._put_cut_first(state)
        else:
            del core.running[state]
            core.running[state] = None

    def _put_cut_first(self, state: RequestState) -> None:
        """What is left of a prompt that was cut comes before all others."""
        prefilling = self._core.prefilling
        if state in prefilling and prefilling[0] is not state:
            prefilling.remove(state)
            prefilling.insert(0, state)

    def _evict(self, plan: Plan) -> None:
        """The last in line of those that have blocks: decodes stand behind prompts of which a part is computed."""
        core = self._core
        decoding = [state for state in core.running if state.decoding]
        victim = decoding[-1] if decoding else core.prefilling[-1]
        if len(core.running) == 1 and victim in self._evicted_in_vain:
            raise InputError(
                f"request {victim.request.request_id}: FastGen would start and evict it for ever: it looks at prompts "
                "only while a block is free, and this one holds all before it is done; raise engine.num_gpu_blocks, or "
                "make max_num_batched_tokens a multiple of block_size"
            )
        self._evicted_in_vain.add(victim)
        core.preempt(plan, victim, 0)
