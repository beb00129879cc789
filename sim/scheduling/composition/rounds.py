"""LightLLM's rounds: a pass of decodes, and when it is due a pass of prompts; each pass is an iteration.

lightllm/server/router/manager.py and its backends, commit fc72ffab. In chunked mode prompts have a pass when nobody
decodes, or when so many passes of decodes went by. Otherwise who is admitted is prefilled at once, alone, and then the
decodes have a pass. Requests are let in at the start of a round; until its first pass one stays in front of the queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Literal

from sim.errors import InputError
from sim.scheduling.composition.base import Composition
from sim.scheduling.gate.future_peak import FuturePeak, Seen
from sim.scheduling.plan import Blocker, Plan
from sim.scheduling.prefix_cache import NOTHING_FOUND
from sim.scheduling.state import RequestState
from sim.specs.base import UNLIMITED

if TYPE_CHECKING:
    from sim.scheduling.core import SchedulerCore


class Rounds(Composition):
    """Of the waiting, the first `_admitted` are let in; `_waited` are passes of decodes since the last of prompts."""

    def __init__(self, core: SchedulerCore) -> None:
        super().__init__(core)
        engine = core.engine
        self._gate = FuturePeak(engine)
        self._chunks = engine.enable_chunked_prefill
        self._chunk_tokens = engine.long_prefill_token_threshold if self._chunks else UNLIMITED
        self._most_waited = engine.router_max_wait_tokens
        self._waits_to_admit = engine.disable_aggressive_schedule
        self._admitted = 0
        self._waited = 0
        self._blocked_by: Blocker | None = None
        self._second: Literal["prompts", "decodes"] | None = None

    @property
    def looks_further(self) -> bool:
        """Those in front are let in already, so that the next may be."""
        return self._admitted == len(self._core.waiting)

    def form(self, plan: Plan) -> None:
        """The next pass."""
        if self._chunks:
            self._chunked_pass(plan)
        else:
            self._whole_pass(plan)
        if self._core.waiting:
            plan.blocked_by = "turn" if self._admitted else self._blocked_by
            if plan.is_empty and not self._core.running:
                raise self._never_fits(self._core.waiting.head())

    def alike(self, plan: Plan) -> int:
        """What the gate makes of those who wait changes with every pass."""
        return 1 if self._core.waiting else UNLIMITED

    def repeated(self, more: int) -> None:
        """Passes of decodes."""
        self._waited += more

    def withdrawn(self, state: RequestState) -> None:
        """Perhaps one who was let in."""
        if state in self._let_in():
            self._admitted -= 1

    # ---- passes -----------------------------------------------------------------------------------------------------

    def _chunked_pass(self, plan: Plan) -> None:
        core = self._core
        if self._second is None or not self._has_prompts:
            self._admit()
            self._pause(plan)
            if core.decodes.count:
                self._run_decodes(plan)
                is_due = self._waited >= self._most_waited
                self._second = "prompts" if is_due and self._has_prompts else None
                return
        self._run_prompts(plan)

    def _whole_pass(self, plan: Plan) -> None:
        core = self._core
        if self._second is None or not core.running:
            self._admit()
            if self._has_prompts:
                self._run_prompts(plan)
                self._second = "decodes"
                return
        self._second = None
        self._pause(plan)
        self._run_decodes(plan)

    @property
    def _has_prompts(self) -> bool:
        return bool(self._admitted or self._core.prefilling)

    def _run_decodes(self, plan: Plan) -> None:
        core = self._core
        self._waited += 1
        if core.decodes.count:
            core.pool.allocate(core.decodes.blocks_in_next_tick())
            core.decode_all(plan)

    def _run_prompts(self, plan: Plan) -> None:
        """A chunk of every prompt that is let in."""
        core = self._core
        self._waited, self._second = 0, None
        plan.stalled = core.decodes.count
        for state in list(core.prefilling):
            core.go_on(plan, state, min(state.known_tokens - state.computed_tokens, self._chunk_tokens))
        for _ in range(self._admitted):
            state = core.waiting.pop()
            core.start(plan, state, min(state.known_tokens, self._chunk_tokens), NOTHING_FOUND)
        self._admitted = 0

    # ---- who is let in, and who gives way ---------------------------------------------------------------------------

    def _admit(self) -> None:
        """Whoever may come now; without aggressive scheduling only when enough passes of decodes went by."""
        core = self._core
        if self._admitted == len(core.waiting):
            return
        if self._waits_to_admit and (core.running or self._admitted) and self._waited < self._most_waited:
            return
        waiting = map(self._seen, islice(core.waiting, self._admitted, None))
        used_tokens = core.pool.used_blocks * core.block_size
        if self._gate.is_busy(used_tokens):
            others = map(self._seen, [*core.prefilling, *self._let_in()])
            decision = self._gate.decide_when_busy(core.running, others, waiting, core.decodes)
        else:
            running = map(self._seen, [*core.running, *self._let_in()])
            decision = self._gate.decide(running, waiting, used_tokens)
        self._admitted += decision.admitted
        self._blocked_by = decision.blocked_by

    def _let_in(self) -> Iterator[RequestState]:
        """Those of the queue who have a place in the next pass of prompts."""
        return islice(self._core.waiting, self._admitted)

    def _pause(self, plan: Plan) -> None:
        """While the next tokens of all do not fit, the last gives way: it is let in no more, or gives up its memory."""
        core = self._core
        while self._next_tokens() > core.pool.free_blocks * core.block_size:
            if self._admitted:
                self._admitted -= 1
            else:
                core.preempt(plan, core.waiting.victim(core.running), 0)
            self._waited = 0

    def _next_tokens(self) -> int:
        """Of all together."""
        core = self._core
        prompts = [*core.prefilling, *self._let_in()]
        rests = (min(state.known_tokens - state.computed_tokens, self._chunk_tokens) for state in prompts)
        return core.decodes.count + sum(rests)

    def _never_fits(self, state: RequestState) -> InputError:
        """Why somebody is not let in although nobody else is there."""
        pool_tokens, most = self._core.pool.total_blocks * self._core.block_size, self._seen(state).most_outputs
        return InputError(
            f"request {state.request.request_id}: a prompt of {state.request.prompt_tokens} tokens and an answer of up "
            f"to {most} come too close to the {pool_tokens} tokens of KV memory for LightLLM's gate to let it in even "
            "alone; lower max_new_tokens, if it is given, or raise engine.num_gpu_blocks"
        )

    def _seen(self, state: RequestState) -> Seen:
        request, core = state.request, self._core
        most = request.output_tokens if request.max_new_tokens is None else request.max_new_tokens
        state.limit_tokens = request.prompt_tokens + most
        outputs = core.decodes.emitted_tokens(state) if state.decoding else state.emitted_tokens
        return Seen(request.prompt_tokens, outputs, core.computed_tokens(state), most)
