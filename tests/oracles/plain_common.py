"""What the plain schedulers of several frameworks share: requests, blocks, and how an iteration is closed and applied.

Rules are in the files of the frameworks. `PlainRequest`, `Part` and `Iteration` are those of `plain_scheduler.py`.
"""

from __future__ import annotations

import math
from typing import TypeVar

from oracles.plain_blocks import Holder, PlainBlocks
from oracles.plain_scheduler import UNLIMITED, Iteration, PlainRequest, batch_of, compute

from sim.specs.request import Request

Decided = TypeVar("Decided", bound=Iteration)


class PlainCommon:
    """A scheduler that decides an iteration by call, without a clock.

    `waiting` is in order of service, `running` in the order that the framework keeps. `pool` are its blocks, of
    `block_size` tokens each; `longest` is the longest sequence. `tile_tokens` is how the cost model tiles a prompt.
    """

    def __init__(self, *, block_size: int, blocks: int, longest: int = UNLIMITED, tile_tokens: int = 1) -> None:
        self.block_size, self.longest, self.tile_tokens = block_size, longest, tile_tokens
        self.pool = PlainBlocks(blocks)
        self.waiting: list[PlainRequest] = []
        self.running: list[PlainRequest] = []
        self.arrivals = 0

    def enqueue(self, request: Request) -> PlainRequest:
        """A request arrives. Its answer ends where the model, its own limit or the longest sequence ends it."""
        limit = UNLIMITED if request.max_new_tokens is None else request.max_new_tokens
        room = max(self.longest - request.prompt_tokens, 1)
        state = PlainRequest(request, self.arrivals, min(request.output_tokens, limit, room), Holder([]))
        self.arrivals += 1
        self.waiting.append(state)
        return state

    def schedule(self) -> Iteration:
        """Decide who runs how many tokens and who is preempted; what runs counts as computed."""
        raise NotImplementedError

    def close(self, iteration: Decided) -> Decided:
        """The decision is made: its tokens count as computed, and the queues are noted."""
        for part in iteration.parts:
            compute(part)
        iteration.prefills = any(not part.decodes for part in iteration.parts)
        iteration.batch = batch_of(iteration, pads=False, tile_tokens=self.tile_tokens)
        iteration.running, iteration.waiting = list(self.running), list(self.waiting)
        iteration.free_blocks = len(self.pool.free)
        return iteration

    def apply(self, iteration: Iteration, now_s: float) -> None:
        """What was decided has run: outputs come out, and whose answer is complete leaves with its blocks."""
        for part in iteration.parts:
            part.state.in_flight_tokens -= part.tokens
        emitting = [part.state for part in iteration.parts if part.emits]
        for state in emitting:
            state.token_times_s.append(now_s)
        iteration.finished = [state for state in emitting if state.is_answered]
        for state in iteration.finished:
            state.finish_s = now_s
            self.leave(state)
        iteration.free_blocks_after = len(self.pool.free)

    def leave(self, state: PlainRequest) -> None:
        """A request whose answer is complete."""
        self.running.remove(state)
        self.pool.release(state.holder)

    def is_unfinished(self) -> bool:
        """Whether somebody is still to be served."""
        return bool(self.waiting or self.running)

    def is_away(self) -> bool:
        """Whether somebody is to come back who neither runs nor waits."""
        return self.is_unfinished() and not (self.waiting or self.running)

    def rest(self) -> None:
        """Nobody is there, and time passes."""

    def stored_tokens(self) -> int:
        """Tokens in the blocks that requests hold."""
        return sum(state.computed_tokens for state in self.running)

    def take(self, state: PlainRequest, tokens: int) -> int:
        """The blocks that a request lacks for `tokens` tokens; returns how many."""
        missing = max(blocks_for(tokens, self.block_size) - len(state.holder.blocks), 0)
        self.pool.take(state.holder, missing)
        return missing


def blocks_for(tokens: int, block_size: int) -> int:
    """Blocks that `tokens` tokens fill, the last perhaps in part."""
    return math.ceil(tokens / block_size)


def most_outputs(request: Request) -> int:
    """Where the scheduler believes that an answer ends at the latest."""
    return request.output_tokens if request.max_new_tokens is None else request.max_new_tokens


def undo(state: PlainRequest) -> None:
    """Nothing of a request is computed any more, its outputs are kept."""
    state.computed_tokens = 0
    state.prefilling = True
    state.preemptions += 1
