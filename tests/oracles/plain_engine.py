"""An engine written as plainly as it can be: the independent answer that the fast one must equal.

One object a request, one walk over every list an iteration, one iteration after the other: no simpy, no wheels, no runs
of iterations, no sums that are carried along. Of the program it uses only descriptions (engine, request, workload) and
the cost models' account of a batch; queues, blocks, rules and time are its own. The rules are those of vLLM V1 0.33.0
(vllm/v1/core/sched/scheduler.py), of which Orca and static batching are other values.

    PlainScheduler    decides an iteration by call, without a clock
    PlainEngine       serves a workload: reads, decides, executes, answers
"""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass, field

from sim.cost.batch import Batch, CostModel, pairs, total_s
from sim.specs.engine import EngineSpec
from sim.specs.request import Request
from sim.workload.workload import Workload

TIE_S = 1e-9
"""What arrives at most this long after a boundary counts as there: sums of step times round."""

UNLIMITED = 10**18


@dataclass(eq=False)
class PlainRequest:
    """A request in the engine, and what became of it. Times in seconds.

    `promised_tokens` are the outputs that were decided, `token_times_s` says when those came out that are there
    already; the two differ while an iteration is under way. `prefilling` is true until everything known is computed,
    so also while a preempted request is computed again.
    """

    request: Request
    arrival_rank: int
    output_tokens: int
    computed_tokens: int = 0
    promised_tokens: int = 0
    blocks: int = 0
    preemptions: int = 0
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
    def is_done(self) -> bool:
        """Whether its last output was decided."""
        return self.promised_tokens == self.output_tokens

    @property
    def is_answered(self) -> bool:
        """Whether its last output is there."""
        return len(self.token_times_s) == self.output_tokens


@dataclass
class Part:
    """What one request does in an iteration: `tokens` from position `start` on.

    `decodes` says that it was past its prompt before, `emits` that an output comes of it.
    """

    state: PlainRequest
    how: str
    start: int
    tokens: int
    new_blocks: int
    decodes: bool = False
    emits: bool = False


@dataclass
class Iteration:
    """One call of the scheduler and its execution; `budget` is what was left of the token budget.

    `running`, `waiting` and `free_blocks` are those after the call, `padding` the finished members of a static batch
    whose slots compute. While the iteration is executed `present` requests hold `used_blocks`: who finished in the one
    before has left, also where the call could not know it.
    """

    budget: int
    padding: list[PlainRequest]
    parts: list[Part] = field(default_factory=list)
    preempted: list[PlainRequest] = field(default_factory=list)
    finished: list[PlainRequest] = field(default_factory=list)
    running: list[PlainRequest] = field(default_factory=list)
    waiting: list[PlainRequest] = field(default_factory=list)
    free_blocks: int = 0
    batch: Batch = field(default_factory=Batch)
    present: int = 0
    used_blocks: int = 0
    start_s: float = math.nan
    end_s: float = math.nan

    @property
    def is_empty(self) -> bool:
        """Whether nothing was decided."""
        return not self.parts and not self.preempted


# ---- without a clock ------------------------------------------------------------------------------------------------


class PlainScheduler:
    """`running` is in order of admission, `waiting` in order of service."""

    def __init__(self, engine: EngineSpec) -> None:
        self.engine = engine
        self.free_blocks = engine.usable_blocks
        self.waiting: list[PlainRequest] = []
        self.running: list[PlainRequest] = []
        self.arrivals = 0
        self.steps_since_prefill = engine.prefill_schedule_interval
        self.left_waiting = False

    def enqueue(self, request: Request) -> PlainRequest:
        """A request arrives. Its answer ends where the model, its own limit or the longest sequence ends it."""
        limit = UNLIMITED if request.max_new_tokens is None else request.max_new_tokens
        room = self.engine.resolved_max_model_len - request.prompt_tokens
        state = PlainRequest(request, self.arrivals, min(request.output_tokens, limit, room))
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
            compute(part)
        iteration.batch = batch_of(iteration, self.engine.pad_to_longest)
        iteration.running, iteration.waiting = list(self.running), list(self.waiting)
        iteration.free_blocks = self.free_blocks
        return iteration

    def run(self, iteration: Iteration, state: PlainRequest, most_tokens: int) -> None:
        """Give a running request its tokens; while blocks are short somebody is preempted, perhaps itself."""
        tokens = min(state.known_tokens - state.computed_tokens, most_tokens, iteration.budget)
        while tokens and state in self.running:
            new_blocks = self.blocks_held(state.computed_tokens + tokens) - state.blocks
            if new_blocks <= self.free_blocks:
                self.grant(iteration, Part(state, "running", state.computed_tokens, tokens, new_blocks))
                return
            self.preempt(iteration, self.victim())

    def admit(self, iteration: Iteration, threshold: int, held: bool) -> None:
        """Start waiting requests in their order, up to the first that cannot."""
        engine = self.engine
        while self.waiting:
            state = self.waiting[0]
            uncut = min(state.known_tokens, threshold)
            tokens = min(uncut, iteration.budget)
            too_long = tokens == 0 or (tokens < uncut and not engine.enable_chunked_prefill)
            if too_long or len(self.running) >= seats_of(engine) or (held and state.known_tokens > 1):
                return
            if self.blocks_to_admit(state, tokens) > self.free_blocks:
                return
            self.running.append(self.waiting.pop(0))
            how = "resumed" if state.preemptions else "new"
            self.grant(iteration, Part(state, how, 0, tokens, self.blocks_held(tokens)))

    def grant(self, iteration: Iteration, part: Part) -> None:
        """A part enters the iteration with its tokens and blocks."""
        iteration.parts.append(part)
        iteration.budget -= part.tokens
        part.state.blocks += part.new_blocks
        self.free_blocks -= part.new_blocks

    def preempt(self, iteration: Iteration, victim: PlainRequest) -> None:
        """A running request gives up its blocks, and its tokens if it was given some, and waits to start again."""
        for part in [part for part in iteration.parts if part.state is victim]:
            iteration.parts.remove(part)
            iteration.budget += part.tokens
        self.running.remove(victim)
        self.free_blocks += victim.blocks
        victim.blocks = victim.computed_tokens = 0
        victim.prefilling = True
        victim.preemptions += 1
        self.waiting.insert(0, victim)
        self.sort_waiting()
        iteration.preempted.append(victim)

    def apply(self, iteration: Iteration, now_s: float) -> None:
        """What was decided has run: outputs come out, and whose answer is complete leaves."""
        emitting = [part.state for part in iteration.parts if part.emits]
        for state in emitting:
            state.token_times_s.append(now_s)
        finished = [state for state in emitting if state.is_answered]
        if self.engine.release == "batch_end":
            finished = list(self.running) if all(state.is_answered for state in self.running) else []
        for state in finished:  # preempted while the last output was on its way, it waits
            (self.running if state in self.running else self.waiting).remove(state)
            self.free_blocks += state.blocks
            state.finish_s = now_s
        iteration.finished = finished

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
        reserved = self.engine.kv_allocation == "reserved"
        return blocks_of(self.engine.resolved_max_model_len if reserved else tokens, self.engine)

    def blocks_to_admit(self, state: PlainRequest, tokens: int) -> int:
        """Blocks that must be free before a request may start, the watermark included unless the engine is empty."""
        engine = self.engine
        gate = {
            "slot": engine.resolved_max_model_len,
            "whole_prompt": state.known_tokens,
            "first_chunk": tokens,
        }
        watermark_blocks = int(engine.watermark * (engine.num_gpu_blocks or 0)) if self.running else 0
        return blocks_of(gate[engine.gate], engine) + watermark_blocks

    def prefill_threshold(self) -> int:
        """Tokens that one request may compute in an iteration, unless it is alone."""
        engine, present = self.engine, len(self.running) + len(self.waiting)
        if not engine.long_prefill_token_threshold or present <= 1:
            return UNLIMITED
        if engine.long_prefill_token_threshold_adaptive and engine.max_num_batched_tokens:
            return max(engine.long_prefill_token_threshold, engine.max_num_batched_tokens // present)
        return engine.long_prefill_token_threshold

    def is_held(self) -> bool:
        """Whether the cadence leaves prompts alone in this call, for those who decode."""
        interval = self.engine.prefill_schedule_interval
        if interval == 1 or self.left_waiting or self.steps_since_prefill >= interval:
            return False
        return any(not state.prefilling and not state.is_done for state in self.running)

    def note_cadence(self, iteration: Iteration, held: bool) -> None:
        """What the cadence must know of this call at the next."""
        if not held and not iteration.preempted:
            self.left_waiting = bool(self.waiting)
        if iteration.parts:
            carried_prompt = any(part.start < part.state.request.prompt_tokens for part in iteration.parts)
            self.steps_since_prefill = 1 if carried_prompt else self.steps_since_prefill + 1


def compute(part: Part) -> None:
    """The tokens of a part count as computed; when nothing is left, an output is on its way."""
    state = part.state
    part.decodes = not state.prefilling
    state.computed_tokens += part.tokens
    if state.computed_tokens == state.known_tokens:
        part.emits, state.prefilling = True, False
        state.promised_tokens += 1


def blocks_of(tokens: int, engine: EngineSpec) -> int:
    """Blocks that `tokens` tokens fill, the last perhaps in part."""
    return math.ceil(tokens / engine.block_size)


def seats_of(engine: EngineSpec) -> int:
    """How many may run at once."""
    return min(engine.max_num_seqs, engine.max_num_active_seqs or engine.max_num_seqs)


# ---- with a clock ---------------------------------------------------------------------------------------------------


class PlainEngine:
    """Serves a workload. `states` are its requests in order of arrival, `log` the iterations in order of execution.

    `arrivals_s` are the times at which requests will come, ascending: all of them, or in a closed loop those of the
    users who are thinking. Which request it is shows when it comes.
    """

    def __init__(self, engine: EngineSpec, cost: CostModel, workload: Workload) -> None:
        self.engine, self.cost, self.workload = engine, cost, workload
        self.scheduler = PlainScheduler(engine)
        self.requests = iter(workload)
        self.pauses_s: list[float] = []
        if workload.users is None or workload.think_s is None:
            self.arrivals_s = [request.arrival_s for request in workload]
        else:
            pauses_s = [float(pause_s) for pause_s in workload.think_s]
            self.arrivals_s = sorted(pauses_s[: workload.users])
            self.pauses_s = pauses_s[workload.users :]
        self.states: list[PlainRequest] = []
        self.log: list[Iteration] = []

    def serve(self) -> None:
        """Until everybody has an answer."""
        now_s = 0.0
        while self.arrivals_s or self.scheduler.waiting or self.scheduler.running:
            if not self.scheduler.running:
                idle_since_s, now_s = now_s, self.when_a_batch_starts(now_s)
                self.read(now_s, idle_since_s)
            now_s = self.asynchronously(now_s) if self.engine.async_scheduling else self.synchronously(now_s)

    def synchronously(self, now_s: float) -> float:
        """One iteration, decided when it starts; returns when it ended."""
        self.read(now_s, now_s)
        iteration = self.scheduler.schedule()
        assert not iteration.is_empty, "nothing can run"
        self.start(iteration, now_s)
        self.finish(iteration)
        return iteration.end_s

    def asynchronously(self, now_s: float) -> float:
        """Iterations that follow each other, each decided when the one before it starts; returns when they ended."""
        self.read(now_s, now_s)
        iteration = self.scheduler.schedule()
        while not iteration.is_empty:
            self.start(iteration, now_s)
            self.read(now_s, now_s)
            following = self.scheduler.schedule()
            self.finish(iteration)
            iteration, now_s = following, iteration.end_s
        return now_s

    def read(self, now_s: float, reading_since_s: float) -> None:
        """The requests that have come by now are queued; an idle engine has read all along, a busy one does it now."""
        while self.arrivals_s and self.arrivals_s[0] <= now_s + TIE_S:
            request = next(self.requests)._replace(arrival_s=self.arrivals_s.pop(0))
            self.states.append(self.scheduler.enqueue(request))
            self.states[-1].queued_s = max(reading_since_s, request.arrival_s)

    def start(self, iteration: Iteration, now_s: float) -> None:
        """Its execution begins; an iteration that only preempts takes no time."""
        scheduler = self.scheduler
        iteration.present = len(scheduler.running)
        iteration.used_blocks = self.engine.usable_blocks - scheduler.free_blocks
        iteration.start_s = now_s
        iteration.end_s = now_s + (total_s(self.cost.explain(iteration.batch)) if iteration.parts else 0.0)
        for part in iteration.parts:
            if part.how == "new":
                part.state.scheduled_s = max(now_s, part.state.request.arrival_s)
        self.log.append(iteration)

    def finish(self, iteration: Iteration) -> None:
        """Its time has passed; in a closed loop, whoever is answered starts to think."""
        self.scheduler.apply(iteration, iteration.end_s)
        for _ in iteration.finished:
            if self.pauses_s:
                insort(self.arrivals_s, iteration.end_s + self.pauses_s.pop(0))

    def when_a_batch_starts(self, now_s: float) -> float:
        """An idle engine waits for a request; a static one also until its batch is full or has waited long enough."""
        engine = self.engine
        members_s = [state.request.arrival_s for state in self.scheduler.waiting] + self.arrivals_s
        if engine.formation_timeout_s == 0:
            return max(now_s, min(members_s))
        seats = seats_of(engine)
        if engine.kv_allocation == "reserved":
            seats = min(seats, engine.usable_blocks // blocks_of(engine.resolved_max_model_len, engine))
        if len(members_s) >= seats:
            full_s = sorted(members_s)[seats - 1]
        else:
            full_s = max(members_s) if math.isinf(engine.formation_timeout_s) else math.inf
        return max(now_s, min(full_s, min(members_s) + engine.formation_timeout_s))


def batch_of(iteration: Iteration, pads: bool) -> Batch:
    """What is executed: decodes, slots of finished members, and prompt chunks, padded to the longest where `pads`."""
    decodes = [part for part in iteration.parts if part.decodes]
    chunks = [(part.tokens, part.start) for part in iteration.parts if not part.decodes]
    if pads and chunks:
        longest = max(tokens for tokens, _ in chunks)
        chunks = [(longest, start) for _, start in chunks]
    emitting = [part.state for part in iteration.parts if part.emits]
    return Batch(
        len(decodes) + len(iteration.padding),
        sum(part.start + 1 for part in decodes) + sum(state.computed_tokens for state in iteration.padding),
        len(chunks),
        sum(tokens for tokens, _ in chunks),
        sum(pairs(tokens, start) for tokens, start in chunks),
        sum(tokens + start for tokens, start in chunks),
        sum((state.request.service_s or 0.0) / state.output_tokens for state in emitting),
    )
