"""A scheduler written as plainly as it can be: the independent answer to what each iteration does.

One object a request, one walk over every list an iteration, one block after the other. Of the program it uses only
descriptions (engine, request) and the cost models' account of a batch; queues, blocks and rules are its own. The rules
are those of vLLM V1 0.33.0 (vllm/v1/core/sched/scheduler.py, vllm/v1/core/kv_cache_manager.py), of which Orca and
static batching are other values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from oracles.plain_batch import batch_of
from oracles.plain_blocks import Block, Holder, PlainBlocks, chained_hashes, text_of
from oracles.plain_speculation import NO_SPECULATION, PlainSpeculation

from sim.cost.batch import Batch
from sim.specs.engine import EngineSpec
from sim.specs.request import Request

UNLIMITED = 10**18


@dataclass(eq=False)
class PlainRequest:
    """A request in the engine, and what became of it. Times in seconds.

    `promised_tokens` are the outputs that were decided, `token_times_s` says when those came out that are there
    already; the two differ while an iteration is under way, which computes the last `in_flight_tokens` of the
    `computed_tokens`. `drafts` wait to be verified; those that are being verified count as promised and computed until
    some are rejected, and it happened so many `rounds`. `prefilling` is true until everything known is computed, so
    also while a preempted request is computed again. `holder` has the blocks; `cached_tokens` of the prompt were found
    when it first started.
    """

    request: Request
    arrival_rank: int
    output_tokens: int
    holder: Holder
    computed_tokens: int = 0
    in_flight_tokens: int = 0
    promised_tokens: int = 0
    drafts: int = 0
    rounds: int = 0
    preemptions: int = 0
    cached_tokens: int = 0
    prefilling: bool = True
    queued_s: float = math.nan
    scheduled_s: float = math.nan
    finish_s: float = math.nan
    token_times_s: list[float] = field(default_factory=list)

    @property
    def known_tokens(self) -> int:
        """Prompt and outputs so far: what can be computed."""
        return self.request.prompt_tokens + self.promised_tokens

    @property
    def spoken_tokens(self) -> int:
        """Prompt and the outputs that are there: what can be hashed."""
        return self.request.prompt_tokens + len(self.token_times_s)

    @property
    def is_done(self) -> bool:
        """Whether its last output is sure to be there after the iteration under way: one comes of it at least."""
        spoken = len(self.token_times_s)
        return spoken + (self.promised_tokens > spoken) >= self.output_tokens

    @property
    def is_answered(self) -> bool:
        """Whether its last output is there."""
        return len(self.token_times_s) == self.output_tokens


@dataclass
class Part:
    """What one request does in an iteration: `tokens` from position `start` on, and its blocks then.

    `decodes` says that it was past its prompt before, `emits` that an output comes of it. The last `draft_tokens` of
    the tokens are drafts, of which so many turned out `accepted`; where the part is `padded`, they stand for none.
    """

    state: PlainRequest
    how: str
    start: int
    tokens: int
    new_blocks: int
    held_blocks: int = 0
    decodes: bool = False
    emits: bool = False
    padded: bool = False
    draft_tokens: int = 0
    accepted: int = 0


@dataclass
class Iteration:
    """One call of the scheduler and its execution; `budget` is what was left of the token budget.

    `running`, `waiting` and `free_blocks` are those after the call, `free_blocks_after` those when its outcome has been
    applied; `padding` are the finished members of a static batch whose slots compute; `prefills` says whether a prompt
    was given tokens. While the iteration is executed `present`
    requests hold `used_blocks` with `stored_tokens`: who finished in the one before has left, also where the call could
    not know it.
    """

    budget: int
    padding: list[PlainRequest]
    parts: list[Part] = field(default_factory=list)
    preempted: list[PlainRequest] = field(default_factory=list)
    finished: list[PlainRequest] = field(default_factory=list)
    running: list[PlainRequest] = field(default_factory=list)
    waiting: list[PlainRequest] = field(default_factory=list)
    prefills: bool = False
    free_blocks: int = 0
    free_blocks_after: int = 0
    batch: Batch = field(default_factory=Batch)
    present: int = 0
    used_blocks: int = 0
    stored_tokens: int = 0
    start_s: float = math.nan
    end_s: float = math.nan

    @property
    def is_empty(self) -> bool:
        """Whether nothing was decided."""
        return not self.parts and not self.preempted


class PlainScheduler:
    """Decides an iteration by call, without a clock.

    `running` is in order of admission, `waiting` in order of service.
    """

    def __init__(self, engine: EngineSpec, tile_tokens: int = 1, drafts: PlainSpeculation = NO_SPECULATION) -> None:
        self.engine, self.tile_tokens, self.speculation = engine, tile_tokens, drafts
        self.pool = PlainBlocks(engine.usable_blocks)
        self.waiting: list[PlainRequest] = []
        self.running: list[PlainRequest] = []
        self.arrivals = 0
        self.steps_since_prefill = engine.prefill_schedule_interval
        self.left_waiting = False

    def enqueue(self, request: Request) -> PlainRequest:
        """A request arrives. Its answer ends where the model, its own limit or the longest sequence ends it."""
        limit = UNLIMITED if request.max_new_tokens is None else request.max_new_tokens
        room = self.engine.resolved_max_model_len - request.prompt_tokens
        output_tokens = min(request.output_tokens, limit, room)
        text = text_of(request, request.prompt_tokens + output_tokens) if self.engine.enable_prefix_caching else []
        holder = Holder(chained_hashes(text, self.engine.block_size))
        state = PlainRequest(request, self.arrivals, output_tokens, holder)
        self.arrivals += 1
        self.waiting.append(state)
        self.sort_waiting()
        return state

    def schedule(self) -> Iteration:
        """Decide who runs how many tokens and who is preempted; what runs counts as computed."""
        padding = [state for state in self.running if state.is_answered]
        iteration = Iteration(self.engine.max_num_batched_tokens or UNLIMITED, padding)
        threshold, held = self.prefill_threshold(), self.is_held()
        for state in list(self.running):
            if state in self.running and not state.is_done:
                self.run(iteration, state, 0 if held and state.prefilling else threshold)
        if not iteration.preempted and (self.engine.formation == "continuous" or not self.running):
            self.admit(iteration, threshold, held)
        self.note_cadence(iteration, held)
        for part in iteration.parts:
            compute(part, self.speculation.tokens)
        iteration.batch = batch_of(iteration, self.engine.pad_to_longest, self.tile_tokens)
        iteration.running, iteration.waiting = list(self.running), list(self.waiting)
        iteration.free_blocks = len(self.pool.free)
        return iteration

    def run(self, iteration: Iteration, state: PlainRequest, most_tokens: int) -> None:
        """Give a running request its tokens; while blocks are short somebody is preempted, perhaps itself."""
        wanted = state.known_tokens + state.drafts - state.computed_tokens
        room = self.engine.resolved_max_model_len - state.computed_tokens - 1
        tokens = min(wanted, room, most_tokens, iteration.budget - self.speculation.draft_slots)
        while tokens > 0 and state in self.running:
            new_blocks = max(self.blocks_held(state.computed_tokens + tokens) - len(state.holder.blocks), 0)
            if new_blocks <= len(self.pool.free):
                iteration.prefills |= state.prefilling
                self.grant(iteration, Part(state, "running", state.computed_tokens, tokens, new_blocks))
                return
            self.preempt(iteration, self.victim())

    def admit(self, iteration: Iteration, threshold: int, held: bool) -> None:
        """Start waiting requests in their order, up to the first that cannot; each from what is found of its text.

        The last known token is not looked for: something must be computed for an output to come of it.
        """
        engine = self.engine
        while self.waiting:
            state = self.waiting[0]
            found = self.pool.find(state.holder, (state.known_tokens - 1) // engine.block_size)
            start = len(found) * engine.block_size
            wanted = state.known_tokens - start
            budget = iteration.budget - self.speculation.draft_slots
            running = [part.state.prefilling for part in iteration.parts if part.how == "running"]
            padded = wanted == 1 and self.speculation.pads(running, start, engine.resolved_max_model_len)
            uncut = min(wanted + padded * self.speculation.tokens, threshold)
            tokens = min(uncut, budget)
            too_long = tokens <= 0 or (tokens < uncut and (padded or not engine.enable_chunked_prefill))
            if too_long or len(self.running) >= seats_of(engine) or (held and wanted > 1):
                return
            if self.blocks_to_admit(state, found, start + tokens) > len(self.pool.free):
                return
            self.running.append(self.waiting.pop(0))
            self.pool.hold(state.holder, found)
            state.computed_tokens = start
            if not state.preemptions:
                state.cached_tokens = start
            iteration.prefills |= wanted > 1
            how = "resumed" if state.preemptions else "new"
            new_blocks = self.blocks_held(start + tokens) - len(found)
            self.grant(iteration, Part(state, how, start, tokens, new_blocks, padded=padded))

    def grant(self, iteration: Iteration, part: Part) -> None:
        """A part enters the iteration with its tokens and blocks; those that become full can be found at once.

        An output that is still being computed cannot be hashed, nor the block that it will be in.
        """
        state = part.state
        iteration.parts.append(part)
        iteration.budget -= part.tokens + self.speculation.draft_slots
        self.pool.take(state.holder, part.new_blocks)
        part.held_blocks = len(state.holder.blocks)
        self.publish(state, min(part.start + part.tokens, state.spoken_tokens))

    def preempt(self, iteration: Iteration, victim: PlainRequest) -> None:
        """A running request gives up its blocks, and its tokens if it was given some, and waits to start again.

        Blocks that these tokens would have filled can be found like the others, as in vLLM.
        """
        for part in [part for part in iteration.parts if part.state is victim]:
            iteration.parts.remove(part)
            iteration.budget += part.tokens + self.speculation.draft_slots
        self.running.remove(victim)
        self.pool.release(victim.holder)
        victim.computed_tokens = victim.drafts = 0
        victim.prefilling = True
        victim.preemptions += 1
        self.waiting.insert(0, victim)
        self.sort_waiting()
        iteration.preempted.append(victim)

    def apply(self, iteration: Iteration, now_s: float) -> None:
        """What was decided has run: outputs come out, and whose answer is complete leaves."""
        for part in iteration.parts:
            part.state.in_flight_tokens -= part.tokens
        emitting = [part for part in iteration.parts if part.emits and not part.state.is_answered]
        for part in emitting:
            self.emit(part, now_s)
        finished = [part.state for part in emitting if part.state.is_answered]
        if self.engine.release == "batch_end":
            finished = list(self.running) if all(state.is_answered for state in self.running) else []
        for state in finished:  # preempted while the last output was on its way, it waits
            (self.running if state in self.running else self.waiting).remove(state)
            self.pool.release(state.holder)
            state.finish_s = now_s
        iteration.finished = finished
        iteration.free_blocks_after = len(self.pool.free)

    def emit(self, part: Part, now_s: float) -> None:
        """Right drafts and a token more come out, up to the answer's end; also of who was preempted meanwhile."""
        state = part.state
        if part.draft_tokens and not part.padded:
            part.accepted = self.speculation.accepted(state.request.request_id, state.rounds, part.draft_tokens)
            state.rounds += 1
        emitted = min(1 + part.accepted, state.output_tokens - len(state.token_times_s))
        in_vain = 1 + part.draft_tokens - emitted
        state.token_times_s += [now_s] * emitted
        state.promised_tokens -= in_vain
        if state in self.running:
            state.computed_tokens -= in_vain
        self.publish(state, state.computed_tokens - state.in_flight_tokens)

    def publish(self, state: PlainRequest, tokens: int) -> None:
        """The full blocks of the first `tokens` tokens can be found; of a preempted request there are none."""
        if self.engine.enable_prefix_caching:
            self.pool.publish(state.holder, tokens // self.engine.block_size)

    def is_unfinished(self) -> bool:
        """Whether somebody is still to be served."""
        return bool(self.waiting or self.running)

    def is_away(self) -> bool:
        """Whether somebody is to come back who neither runs nor waits."""
        return False

    def rest(self) -> None:
        """Nobody is there, and time passes."""

    def stored_tokens(self) -> int:
        """Tokens in all blocks that somebody holds, of which some are in the blocks of several."""
        size = self.engine.block_size
        tokens: dict[Block, int] = {}
        for state in self.running:
            for place, block in enumerate(state.holder.blocks):
                tokens[block] = min(max(state.computed_tokens - place * size, 0), size)
        return sum(tokens.values())

    # ---- rules ------------------------------------------------------------------------------------------------------

    def key(self, state: PlainRequest) -> tuple[int, int]:
        """Orders by key serve the lowest first and preempt the highest."""
        request = state.request
        rank = request.priority if self.engine.order == "priority" else request.predicted_output_tokens
        assert rank is not None
        return rank, state.arrival_rank

    def sort_waiting(self) -> None:
        """First come, first served needs no sorting: who arrives is put last, and who is preempted first."""
        if self.engine.order != "fcfs":
            self.waiting.sort(key=self.key)

    def victim(self) -> PlainRequest:
        """Who is preempted when blocks run out."""
        return self.running[-1] if self.engine.order == "fcfs" else max(self.running, key=self.key)

    def blocks_held(self, tokens: int) -> int:
        """Blocks of a request with `tokens` tokens; reserved memory is a slot for the longest sequence."""
        longest = self.engine.resolved_max_model_len
        ahead = longest if self.engine.kv_allocation == "reserved" else self.speculation.lookahead_tokens
        return blocks_of(min(tokens + ahead, longest), self.engine)

    def blocks_to_admit(self, state: PlainRequest, found: list[Block], tokens: int) -> int:
        """Blocks that must be free before a request may start with `tokens` tokens, some of them in blocks it found.

        Found blocks are not taken, but those that nobody holds are among the free. The watermark stays free unless the
        engine is empty.
        """
        engine = self.engine
        gate = {
            "slot": engine.resolved_max_model_len,
            "whole_prompt": state.known_tokens,
            "first_chunk": tokens,
        }
        needed = max(blocks_of(gate[engine.gate], engine), self.blocks_held(tokens))
        idle = [block for block in found if not block.users]
        watermark_blocks = int(engine.watermark * (engine.num_gpu_blocks or 0)) if self.running else 0
        return needed - len(found) + len(idle) + watermark_blocks

    def prefill_threshold(self) -> int:
        """Tokens that one request may compute in an iteration, unless it is alone."""
        engine, present = self.engine, len(self.running) + len(self.waiting)
        if not engine.long_prefill_token_threshold or present <= 1:
            return UNLIMITED
        if engine.long_prefill_token_threshold_adaptive and engine.max_num_batched_tokens:
            return max(engine.long_prefill_token_threshold, engine.max_num_batched_tokens // present)
        return engine.long_prefill_token_threshold

    def is_held(self) -> bool:
        """Whether the cadence leaves prompts alone in this call, for those who are past theirs."""
        interval = self.engine.prefill_schedule_interval
        if interval == 1 or self.left_waiting or self.steps_since_prefill >= interval:
            return False
        return any(not state.prefilling and not state.is_answered for state in self.running)

    def note_cadence(self, iteration: Iteration, held: bool) -> None:
        """What the cadence must know of this call at the next."""
        if not held and not iteration.preempted:
            self.left_waiting = bool(self.waiting)
        if iteration.parts:
            self.steps_since_prefill += 1
        if iteration.prefills:
            self.steps_since_prefill = 1


def compute(part: Part, drafts: int = 0) -> None:
    """The tokens of a part count as computed; when nothing is left, an output is on its way, and `drafts` are made.

    What is computed beyond all that is known are drafts; of those made before, the others are dropped.
    """
    state = part.state
    part.decodes = not state.prefilling
    state.computed_tokens += part.tokens
    state.in_flight_tokens += part.tokens
    state.drafts = 0
    if state.computed_tokens >= state.known_tokens:
        part.emits, state.prefilling = True, False
        part.draft_tokens = state.computed_tokens - state.known_tokens
        state.promised_tokens += 1 + part.draft_tokens
        state.drafts = drafts


def blocks_of(tokens: int, engine: EngineSpec) -> int:
    """Blocks that `tokens` tokens fill, the last perhaps in part."""
    return math.ceil(tokens / engine.block_size)


def seats_of(engine: EngineSpec) -> int:
    """How many may run at once."""
    return min(engine.max_num_seqs, engine.max_num_active_seqs or engine.max_num_seqs)
