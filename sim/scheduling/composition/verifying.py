"""Mixed batches in which requests past their prompt verify drafts, several tokens at once (vLLM V1, release 0.33.0).

vllm/v1/core/sched/scheduler.py and async_scheduler.py. Who sampled has drafts for the next iteration, as far as budget
and model length reach. Until the outcome is there all drafts count as right; then the wrong ones count as computed no
more, but their blocks stay. No two iterations are alike, so everybody is visited in each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sim.formulas import pairs
from sim.scheduling.composition.mixed import Mixed
from sim.scheduling.plan import Blocker, Chunk, How, Plan, Round, Verified
from sim.scheduling.prefix_cache import NOTHING_FOUND, Hit
from sim.scheduling.state import RequestState

if TYPE_CHECKING:
    from sim.scheduling.core import SchedulerCore


class Grant(NamedTuple):
    """What a running request computes in an iteration."""

    tokens: int
    new_blocks: int


class Verifying(Mixed):
    """Of a request, `accepted` says how many drafts are right in each of its `rounds`; a rule never looks at it."""

    def __init__(self, core: SchedulerCore) -> None:
        super().__init__(core)
        engine = core.engine
        self._drafts, self._slots = engine.num_speculative_tokens, engine.draft_slots
        self._lookahead, self._longest = engine.num_lookahead_tokens, engine.resolved_max_model_len

    def alike(self, plan: Plan) -> int:
        """Only outcomes tell what comes next."""
        return 1

    # ---- running requests -------------------------------------------------------------------------------------------

    def _run(self, plan: Plan, threshold: int, held: bool) -> int:
        """In order of admission; who finds no block preempts the order's victim, perhaps itself."""
        plan.rounds, plan.verified = [], {}
        for state in self._core.running if self._core.own_texts.overheard else ():
            self._publish(state)
        core, budget = self._core, self._core.budget
        grants: dict[RequestState, Grant] = {}
        for state in list(core.running):
            if state not in core.running or self._is_done(state):
                continue
            tokens = min(
                state.known_tokens + state.drafts - state.computed_tokens,
                self._longest - state.computed_tokens - 1,
                0 if held and not state.verifying else threshold,
                budget - self._slots,
            )
            while tokens > 0 and state in core.running:
                new_blocks = self._new_blocks(state, tokens)
                if new_blocks <= core.pool.free_blocks:
                    grants[state] = Grant(tokens, new_blocks)
                    self._take(state, tokens, new_blocks)
                    budget -= tokens + self._slots
                    break
                victim = core.waiting.victim(core.running)
                returned = grants.pop(victim, None)
                budget += returned.tokens + self._slots if returned else 0
                self._preempt(plan, victim)
        self._compute_granted(plan, grants)
        return budget

    def _compute_granted(self, plan: Plan, grants: dict[RequestState, Grant]) -> None:
        core = self._core
        left_out = (state for state in core.running if state.verifying and state not in grants)
        plan.paused = [state for state in left_out if not self._is_done(state)]
        for state, (tokens, new_blocks) in grants.items():
            plan.prefills |= not state.verifying
            self._compute(plan, state, "running", tokens, new_blocks, padded=False)

    def _preempt(self, plan: Plan, victim: RequestState) -> None:
        """Recompute later; drafts are dropped."""
        core = self._core
        if not victim.verifying:
            core.prefilling.remove(victim)
        del core.running[victim]
        core.stored_tokens -= victim.computed_tokens
        victim.given_up_tokens = 0 if self._is_done(victim) else victim.computed_tokens
        core.dropped_tokens += victim.given_up_tokens
        core.pool.release(victim, core.blocks_held(victim, 0), victim.findable_tokens // core.block_size)
        victim.computed_tokens = victim.reserved_tokens = victim.findable_tokens = victim.drafts = 0
        victim.verifying = False
        victim.preemptions += 1
        core.waiting.push_preempted(victim)
        plan.preempted = {**plan.preempted, victim: 0}

    # ---- waiting requests -------------------------------------------------------------------------------------------

    def _admit(self, plan: Plan, budget: int, threshold: int, held: bool) -> Blocker | None:
        """In their order, up to the first that cannot start.

        One that wants a single token is made as long as those that verify drafts, unless a prompt runs too.
        """
        core, hit = self._core, NOTHING_FOUND
        prompts_run = any(chunk.how == "running" for chunk in plan.chunks)
        while core.waiting:
            state = core.waiting.head()
            if core.caches:
                hit = core.pool.find(state)
            start = hit.blocks * core.block_size
            wanted = state.known_tokens - start
            beside = not prompts_run and (plan.decode_requests > 0 or start > 0)
            padded = wanted == 1 and beside and start + 1 + self._drafts < self._longest
            uncut = min(wanted + padded * self._drafts, threshold)
            tokens = min(uncut, budget - self._slots)
            if tokens <= 0 or (tokens < uncut and (padded or not core.engine.enable_chunked_prefill)):
                return "token budget"
            if len(core.running) >= core.seats:
                return "seats"
            if held and wanted > 1:
                return "prefill cadence"
            ahead = self._blocks(start + tokens) - hit.blocks + hit.idle_blocks + core.kept_blocks
            if max(core.blocks_to_admit(state, tokens, hit), ahead) > core.pool.free_blocks:
                return "kv blocks"
            core.waiting.pop()
            self._start(plan, state, tokens, hit, padded)
            budget -= tokens + self._slots
        return None

    def _start(self, plan: Plan, state: RequestState, tokens: int, hit: Hit, padded: bool) -> None:
        core = self._core
        if hit.blocks:
            core.start_from(state, hit)
            state.reserved_tokens = state.findable_tokens = hit.blocks * core.block_size
        core.seat(state)
        core.prefilling.append(state)
        new_blocks = self._new_blocks(state, tokens)
        self._take(state, tokens, new_blocks)
        plan.prefills |= state.known_tokens - state.computed_tokens > 1
        self._compute(plan, state, "resumed" if state.preemptions else "new", tokens, new_blocks, padded)

    # ---- both -------------------------------------------------------------------------------------------------------

    def _compute(self, plan: Plan, state: RequestState, how: How, tokens: int, new_blocks: int, padded: bool) -> None:
        """Count tokens as computed; those beyond all that is known are drafts, and right until it is said."""
        core, start = self._core, state.computed_tokens
        state.computed_tokens = end = start + tokens
        state.in_flight_tokens += tokens
        core.stored_tokens += tokens
        emits, drafts = end >= state.known_tokens, max(end - state.known_tokens, 0)
        state.drafts = 0
        if state.verifying:
            plan.verified[state] = Verified(start, tokens, new_blocks, drafts, emits)
            plan.decode_requests += 1
            plan.decode_context_tokens += end
            plan.longest_context_tokens = max(plan.longest_context_tokens, end)
        else:
            plan.chunks.append(Chunk(state, how, start, tokens, new_blocks, emits, drafts))
        plan.draft_tokens += drafts
        plan.draft_pairs += pairs(drafts, start)
        if emits:
            if not state.verifying:
                core.prefilling.remove(state)
                state.verifying = True
            state.known_tokens += 1 + drafts
            state.drafts = self._drafts
            plan.rounds.append(Round(state, drafts, padded))

    def settle(self, plan: Plan) -> None:
        """The outcome: right drafts and a token more come out, up to the answer's end; also of who was preempted."""
        core = self._core
        for chunk in plan.chunks:
            chunk.state.in_flight_tokens -= chunk.tokens
        for state, verified in plan.verified.items():
            state.in_flight_tokens -= verified.tokens
        for done in plan.rounds:
            state = done.state
            left = state.final_tokens - state.request.prompt_tokens - state.spoken_tokens
            if not left:  # the iteration before brought the end, which nobody could know
                plan.wasted_requests += 1
                continue
            if done.draft_tokens and not done.padded:
                done.accepted = min(state.accepted[state.rounds], done.draft_tokens)
                state.rounds += 1
            done.emitted = min(1 + done.accepted, left)
            in_vain = 1 + done.draft_tokens - done.emitted
            state.spoken_tokens += done.emitted
            state.known_tokens -= in_vain
            if state in core.running:
                state.computed_tokens -= in_vain
                core.stored_tokens -= in_vain
            else:  # of whom nothing is computed again if this was the end
                core.dropped_tokens -= state.given_up_tokens if done.emitted == left else in_vain
            plan.accepted_tokens += done.emitted - 1
            if state in core.running:
                state.findable_tokens = max(state.findable_tokens, state.computed_tokens - state.in_flight_tokens)
                self._publish(state)
            if done.emitted == left:
                state.known_tokens = state.final_tokens
                plan.finishing.append(state)

    def _is_done(self, state: RequestState) -> bool:
        """Whether its last output is sure to be there after the iteration under way: one comes of it at least."""
        promised = state.known_tokens - state.request.prompt_tokens
        outputs = state.final_tokens - state.request.prompt_tokens
        return state.spoken_tokens + (promised > state.spoken_tokens) >= outputs

    def _blocks(self, tokens: int) -> int:
        """Blocks for so many tokens and the lookahead."""
        return -(-min(tokens + self._lookahead, self._longest) // self._core.block_size)

    def _new_blocks(self, state: RequestState, tokens: int) -> int:
        """Blocks that a request lacks for more tokens; those of rejected drafts it still has."""
        held_blocks = state.reserved_tokens // self._core.block_size
        return max(self._blocks(state.computed_tokens + tokens) - held_blocks, 0)

    def _take(self, state: RequestState, tokens: int, new_blocks: int) -> None:
        """Blocks that become full can be found at once, as far as what is in them is known for sure."""
        self._core.pool.allocate(new_blocks)
        state.reserved_tokens += new_blocks * self._core.block_size
        sure_tokens = state.request.prompt_tokens + state.spoken_tokens
        state.findable_tokens = max(state.findable_tokens, min(state.computed_tokens + tokens, sure_tokens))
        self._publish(state)

    def _publish(self, state: RequestState) -> None:
        """What can be found of a request, where others may look for it."""
        if state.shared_blocks > state.stored_blocks:
            self._core.pool.store(state, state.findable_tokens // self._core.block_size)
