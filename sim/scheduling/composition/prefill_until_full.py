"""SGLang: prompts first, one of them carried on in chunks, until the batch is full; then decodes.

python/sglang/srt/managers/scheduler.py `get_next_batch_to_run` and schedule_policy.py `PrefillAdder`, release 0.5.23.
Once memory or seats have turned somebody away nobody is tried until somebody leaves. With `enable_mixed_chunk` decodes
ride along with the prompts where memory has room for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from sim.errors import ServesimError
from sim.scheduling.composition.base import Composition
from sim.scheduling.gate.expected_outputs import ExpectedOutputs, PassBudget
from sim.scheduling.plan import Blocker, How, Plan
from sim.scheduling.prefix_cache import NOTHING_FOUND
from sim.scheduling.state import RequestState
from sim.specs.base import UNLIMITED

if TYPE_CHECKING:
    from sim.scheduling.core import SchedulerCore

Stop = Literal["OTHER", "NO_TOKEN", "FULL"]
"""SGLang's words for why a pass ends: tokens of prompts, memory, seats."""

BLOCKERS: dict[Stop | None, Blocker | None] = {
    None: None,
    "OTHER": "token budget",
    "NO_TOKEN": "kv blocks",
    "FULL": "seats",
}


class Grant(NamedTuple):
    """A prompt, or a chunk of one, that this iteration computes."""

    state: RequestState
    how: How
    tokens: int


class PrefillUntilFull(Composition):
    """`is_full` keeps waiting requests out; `carried` is the prompt that is not done.

    `ratio` is the share of outputs that were expected when the last call began, and `stop` why its pass over the
    waiting ended.
    """

    def __init__(self, core: SchedulerCore) -> None:
        super().__init__(core)
        engine = core.engine
        self._chunk_tokens = core.budget if engine.enable_chunked_prefill else None
        self._input_tokens = engine.max_prefill_tokens or UNLIMITED
        self._mixes = engine.decodes_ride_along
        self._outputs = ExpectedOutputs(engine)
        self._last: list[RequestState] = []
        self._besides_last = 0
        self._present = 0
        self._blocked_by: Blocker | None = None
        self.is_full = False
        self.carried: RequestState | None = None
        self.ratio = self._outputs.ratio
        self.stop: Stop | None = None

    def form(self, plan: Plan) -> None:
        """Prompts if any can run; otherwise decodes."""
        core, self.ratio, self.stop = self._core, self._outputs.ratio, None
        self._see_who_left()
        decodes = core.decodes.count
        grants = self._collect() if self._tries(decodes) else []
        self._last, self._besides_last = [grant.state for grant in grants], decodes
        if grants:
            self._run_prompts(plan, grants)
        elif decodes:
            self._run_decodes(plan)
        self._present = len(core.running)
        plan.blocked_by = self._blocked_by if core.waiting else None

    def repeated(self, more: int) -> None:
        """The estimate falls with every iteration of decodes."""
        for _ in range(more):
            self._outputs.decay()

    def rested(self) -> None:
        """The estimate starts anew when nobody is there."""
        self._outputs.reset()

    # ---- prompts ----------------------------------------------------------------------------------------------------

    def _see_who_left(self) -> None:
        """Somebody may be tried again: one has left, or is carried on, or the last prompts are all that decode."""
        core = self._core
        kept = [state for state in self._last if state in core.running and state is not self.carried]
        somebody_left = len(core.running) < self._present or len(kept) < len(self._last)
        if somebody_left or (kept and not self._besides_last):
            self.is_full = False

    def _tries(self, decodes: int) -> bool:
        """Whether prompts are looked at in this call."""
        core = self._core
        if not decodes:
            self.is_full = False
        if self.carried is not None:
            return True
        if self.is_full or not core.waiting:
            return False
        if decodes >= core.seats:
            self.is_full, self._blocked_by = True, "seats"
        return not self.is_full

    def _collect(self) -> list[Grant]:
        """The prompt that is carried on, then waiting ones in order."""
        budget, grants = self._budget(), list[Grant]()
        if self.carried is not None:
            self._carry_on(budget, grants, self.carried)
        self.stop = self._collect_waiting(budget, grants)
        self._blocked_by = BLOCKERS[self.stop]
        if self.stop == "NO_TOKEN":
            self.is_full = bool(grants or self._core.decodes.count)
        elif self.stop == "FULL":
            self.is_full = True
        return grants

    def _budget(self) -> PassBudget:
        """Free memory but for what decodes are expected to take; one that rides along takes its token besides."""
        core, decodes = self._core, self._core.decodes
        riding = decodes.count if self._mixes else 0
        expected = self._outputs.expected_tokens(core.running, decodes)
        return PassBudget(
            free_tokens=core.pool.free_blocks * core.block_size,
            promised_tokens=riding + expected,
            input_tokens=self._input_tokens - riding,
            chunk_tokens=None if self._chunk_tokens is None else self._chunk_tokens - riding,
            page_tokens=core.block_size,
        )

    def _carry_on(self, budget: PassBudget, grants: list[Grant], state: RequestState) -> None:
        """What chunk and memory allow; the whole chunk where memory allows nothing, for only its end frees any."""
        assert budget.chunk_tokens is not None
        rest = state.known_tokens - state.computed_tokens
        allowed = min(budget.chunk_tokens, int(budget.memory_tokens))
        tokens = min(rest, allowed if allowed > 0 else budget.chunk_tokens)
        if tokens <= 0:
            return
        if self._core.new_blocks(state, tokens) > self._core.pool.free_blocks:
            raise ServesimError(
                f"request {state.request.request_id}: memory is too small for a prompt that is carried on, of which "
                "SGLang dies; raise engine.num_gpu_blocks or schedule_conservativeness, or lower max_num_seqs"
            )
        if tokens == rest:
            self.carried = None
        budget.take(tokens, self._outputs.most_outputs(state) if tokens == rest else 0)
        grants.append(Grant(state, "running", tokens))

    def _collect_waiting(self, budget: PassBudget, grants: list[Grant]) -> Stop | None:
        """Who starts, up to the first that cannot; returns why nobody else could be tried."""
        core = self._core
        while core.waiting:
            if budget.is_computed_out and budget.memory_tokens > 0:
                return "OTHER"
            if len(grants) >= core.seats - core.decodes.count:
                return "FULL"
            state = core.waiting.head()
            known, page = state.known_tokens, budget.page_tokens
            if known + self._outputs.to_come(state) + page >= budget.memory_tokens:
                return "NO_TOKEN"
            tokens, outputs = known, self._outputs.most_outputs(state)
            if budget.chunk_tokens is None:
                if grants and budget.paged(known) >= budget.input_tokens:
                    return "OTHER"
            elif budget.paged(known) > budget.chunk_tokens:
                tokens, outputs = budget.chunk_tokens // page * page, 0
                if not tokens:
                    return "OTHER"
                self.carried = state
            budget.take(tokens, outputs)
            grants.append(Grant(core.waiting.pop(), "resumed" if state.preemptions else "new", tokens))
            if budget.memory_tokens <= 0:
                return "NO_TOKEN"
            if budget.is_computed_out:
                return "OTHER"
        return None

    def _run_prompts(self, plan: Plan, grants: list[Grant]) -> None:
        """Decodes wait, or ride along if memory has a token for each after the prompts have theirs."""
        core, decodes = self._core, self._core.decodes
        plan.stalled = decodes.count
        if self._mixes and decodes.count:
            growth = decodes.blocks_in_next_tick()
            blocks = sum(core.new_blocks(state, tokens) for state, _, tokens in grants)
            if growth <= core.pool.free_blocks - blocks:
                plan.stalled = self._besides_last = 0
                core.pool.allocate(growth)
                core.decode_all(plan)
        for state, how, tokens in grants:
            if how == "running":
                core.go_on(plan, state, tokens)
            else:
                core.start(plan, state, tokens, NOTHING_FOUND)
        if plan.decode_requests:
            core.put_first(self._last)
            self._last = list(core.running)

    # ---- decodes ----------------------------------------------------------------------------------------------------

    def _run_decodes(self, plan: Plan) -> None:
        """Everybody a token; where that does not fit some are retracted first, otherwise the estimate falls."""
        core, growth = self._core, self._core.decodes.blocks_in_next_tick()
        if growth <= core.pool.free_blocks:
            self._outputs.decay()
        else:
            growth = self._retract(plan)
            self.is_full = False
        core.pool.allocate(growth)
        core.decode_all(plan)

    def _retract(self, plan: Plan) -> int:
        """Fewest outputs first, of equals the longest prompt: at least one, until the others fit, but never the last.

        They go on in the order of that search. Returns the blocks they need.
        """
        core, decodes = self._core, self._core.decodes
        outputs = {state: decodes.emitted_tokens(state) for state in core.running if state.decoding}
        kept = sorted(outputs, key=lambda state: (outputs[state], -state.request.prompt_tokens), reverse=True)
        while len(kept) > 1 and (not plan.preempted or decodes.blocks_in_next_tick() > core.pool.free_blocks):
            core.preempt(plan, kept.pop(), 0)
        self._outputs.after_retraction((state, outputs[state]) for state in kept)
        core.put_first(kept)
        return decodes.blocks_in_next_tick()
