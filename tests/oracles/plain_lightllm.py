"""LightLLM (commit fc72ffab) as plainly as it can be: its admission decision, and the loop around it.

The decision is that of lightllm/server/router/req_queue and lightllm/server/core/objs/req.py, and is recorded. The
loop is the one that is described of router/manager.py and its backends, and is not recorded. Memory is counted in
tokens; there is no prompt cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oracles.plain_common import PlainCommon, most_outputs, undo
from oracles.plain_scheduler import UNLIMITED, Iteration, Part, PlainRequest

ADDED_OUTPUT_TOKENS = 6


@dataclass(frozen=True)
class Rules:
    """The arguments of the decision, under LightLLM's names."""

    mode: Literal["chunked", "whole"]
    max_total_token_num: int
    batch_max_tokens: int
    running_max_req_size: int = 1000
    chunked_prefill_size: int = 4096
    router_token_ratio: float = 0.0
    router_max_new_token_len: int = 1024
    router_max_wait_tokens: int = 6


@dataclass(frozen=True)
class Seen:
    """What the router knows of a request: outputs so far, tokens in memory, and where the answer ends at the latest."""

    prompt_len: int
    produced: int
    kv_len: int
    max_new_tokens: int
    ignore_eos: bool = False


@dataclass(frozen=True)
class Decision:
    """How many of the waiting are taken, the peak that was expected of the last of them, and whether it is busy."""

    admitted: int
    peak_tokens: int | None
    busy: bool


def decide(rules: Rules, running: list[Seen], waiting: list[Seen], used_tokens: int) -> Decision:
    """The waiting in their order, up to the first with whom peak, seats or tokens of the first step are too many.

    In chunked mode the first step is that of all together, in whole mode that of the new prompts alone.
    """
    busy = used_tokens / rules.max_total_token_num >= rules.router_token_ratio
    present, peak_tokens = list(running), None
    step_tokens = sum(next_tokens(rules, seen) for seen in running) if rules.mode == "chunked" else 0
    for count, seen in enumerate(waiting):
        present.append(seen)
        step_tokens += next_tokens(rules, seen)
        peak = peak_of(rules, present, busy)
        has_seat = len(present) <= rules.running_max_req_size
        if peak >= rules.max_total_token_num or not has_seat or step_tokens > rules.batch_max_tokens:
            return Decision(count, peak_tokens, busy)
        peak_tokens = peak
    return Decision(len(waiting), peak_tokens, busy)


def peak_of(rules: Rules, present: list[Seen], busy: bool) -> int:
    """Tokens at the worst moment: just before a request ends, when those that last as long are as much longer."""
    lasting = sorted(((to_come(rules, seen, busy), held_next(seen)) for seen in present), key=lambda pair: -pair[0])
    held, peak = 0, 0
    for count, (more, tokens) in enumerate(lasting, start=1):
        held += tokens
        peak = max(peak, held + more * count)
    return peak


def held_next(seen: Seen) -> int:
    """Tokens in memory after the next step."""
    return max(seen.prompt_len + seen.produced + 1, seen.kv_len + 1)


def to_come(rules: Rules, seen: Seen, busy: bool) -> int:
    """Steps that a request may still take. Unless it is busy a long answer is not expected before it is seen.

    In chunked mode every chunk that is left counts as the decodes that it may have to wait for.
    """
    most = seen.max_new_tokens
    if not busy and not seen.ignore_eos:
        most = min(most, max(int(1.1 * seen.produced), rules.router_max_new_token_len))
    steps = most - seen.produced - 1
    if rules.mode == "chunked":
        chunks = -(-(seen.prompt_len + seen.produced - seen.kv_len) // rules.chunked_prefill_size)
        steps += chunks * (rules.router_max_wait_tokens + 1)
    return max(0, steps) + ADDED_OUTPUT_TOKENS


def next_tokens(rules: Rules, seen: Seen) -> int:
    """Tokens of a request in its next step: what is not in memory, in chunked mode at most a chunk."""
    tokens = seen.prompt_len + seen.produced - seen.kv_len
    return min(tokens, rules.chunked_prefill_size) if rules.mode == "chunked" else tokens


class PlainLightLlm(PlainCommon):
    """Rounds of passes, of which each is an iteration; requests are admitted at the start of a round only.

    Chunked mode: a decode pass, and a prefill pass when nobody decodes or enough decode passes went by since the last.
    Whole mode: a prefill pass of those admitted, if there are any, and then a decode pass. `waited` are decode passes
    since the last prefill pass. Unsure: that it is they that are counted, not every so many rounds; that requests in
    a pause have no seat; that nobody is admitted between the two passes of a round.
    """

    def __init__(
        self,
        *,
        max_total_token_num: int,
        batch_max_tokens: int,
        running_max_req_size: int = 1000,
        chunked_prefill_size: int = 4096,
        router_token_ratio: float = 0.0,
        router_max_new_token_len: int = 1024,
        router_max_wait_tokens: int = 6,
        disable_chunked_prefill: bool = False,
        disable_aggressive_schedule: bool = False,
        tile_tokens: int = 1,
    ) -> None:
        super().__init__(block_size=1, blocks=max_total_token_num, tile_tokens=tile_tokens)
        self.rules = Rules(
            "whole" if disable_chunked_prefill else "chunked",
            max_total_token_num,
            batch_max_tokens,
            running_max_req_size,
            chunked_prefill_size,
            router_token_ratio,
            router_max_new_token_len,
            router_max_wait_tokens,
        )
        self.waits_to_admit = disable_aggressive_schedule
        self.waited = 0
        self.second: Literal["prefill", "decode"] | None = None

    def schedule(self) -> Iteration:
        iteration = Iteration(UNLIMITED, [])
        if self.rules.mode == "chunked":
            self.chunked_pass(iteration)
        else:
            self.whole_pass(iteration)
        return self.close(iteration)

    # ---- passes -----------------------------------------------------------------------------------------------------

    def chunked_pass(self, iteration: Iteration) -> None:
        if self.second is None:
            self.admit()
            self.pause(iteration)
            if any(not state.prefilling for state in self.running):
                self.decode(iteration)
                is_due = self.waited >= self.rules.router_max_wait_tokens
                self.second = "prefill" if is_due and any(state.prefilling for state in self.running) else None
                return
        self.prefill(iteration)

    def whole_pass(self, iteration: Iteration) -> None:
        if self.second is None or not self.running:
            self.admit()
            if any(state.prefilling for state in self.running):
                self.prefill(iteration)
                self.second = "decode"
                return
        self.second = None
        self.pause(iteration)
        self.decode(iteration)

    def decode(self, iteration: Iteration) -> None:
        self.waited += 1
        iteration.parts = [self.part(state) for state in self.running if not state.prefilling]

    def prefill(self, iteration: Iteration) -> None:
        self.waited, self.second = 0, None
        iteration.parts = [self.part(state) for state in self.running if state.prefilling]

    def part(self, state: PlainRequest) -> Part:
        start, tokens = state.computed_tokens, next_tokens(self.rules, seen(state))
        how = "running" if start else "resumed" if state.preemptions else "new"
        return Part(state, how, start, tokens, self.take(state, start + tokens))

    # ---- rules ------------------------------------------------------------------------------------------------------

    def admit(self) -> None:
        """Whoever is admitted now; without aggressive scheduling only when enough decode passes went by."""
        if self.waits_to_admit and self.running and self.waited < self.rules.router_max_wait_tokens:
            return
        used = self.rules.max_total_token_num - len(self.pool.free)
        decision = decide(self.rules, [*map(seen, self.running)], [*map(seen, self.waiting)], used)
        self.running += self.waiting[: decision.admitted]
        del self.waiting[: decision.admitted]

    def pause(self, iteration: Iteration) -> None:
        """While the next tokens of all do not fit, the last to arrive gives up its memory and waits as the first.

        One that has not begun just waits again.
        """
        while sum(next_tokens(self.rules, seen(state)) for state in self.running) > len(self.pool.free):
            victim = max(self.running, key=lambda state: state.arrival_rank)
            self.running.remove(victim)
            self.pool.release(victim.holder)
            if victim.computed_tokens:
                undo(victim)
                iteration.preempted.append(victim)
            self.waiting.insert(0, victim)
            self.waited = 0


def seen(state: PlainRequest) -> Seen:
    return Seen(state.request.prompt_tokens, state.promised_tokens, state.computed_tokens, most_outputs(state.request))
