"""What a scheduling decision says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

from sim.scheduling.state import RequestState

How = Literal["running", "new", "resumed", "swapped"]
Blocker = Literal["kv blocks", "seats", "token budget", "preemption", "batch not over", "prefill cadence", "turn"]

BLOCKERS: dict[Blocker | None, int] = {None: 0} | {why: code for code, why in enumerate(get_args(Blocker), start=1)}
"""Blockers as numbers, for tables."""


@dataclass(slots=True, eq=False)
class Chunk:
    """Part of a prompt (or of what a preempted request recomputes): `tokens` from position `start` on.

    `completes` says that nothing is left to compute before the next output, which this iteration therefore emits.
    """

    state: RequestState
    how: How
    start: int
    tokens: int
    new_blocks: int
    completes: bool
    draft_tokens: int = 0


@dataclass(slots=True, eq=False)
class Round:
    """A request that sampled in an iteration: of `draft_tokens` so many were `accepted`, and `emitted` tokens came out.

    Where it was `padded` the drafts stood for none.
    """

    state: RequestState
    draft_tokens: int
    padded: bool
    accepted: int = 0
    emitted: int = 0


class Verified(NamedTuple):
    """What a request past its prompt computed: `tokens` from `start` on, of which the last are drafts."""

    start: int
    tokens: int
    new_blocks: int
    draft_tokens: int
    emits: bool


class Plan:
    """`iterations` like iterations, one unless all they do is decode.

    In the first one `decode_requests` requests compute a token each and attend to `decode_context_tokens` tokens in
    all, the longest of them to `longest_context_tokens`, their new ones included; then come the `chunks`. `finishing`
    emit their last token in the last iteration. `paused` are decodes that were left out; where no decode runs at all,
    `stalled` says how many there are instead; the plan `unpauses` if there were such in the one before. `prefills` says
    whether a request was given tokens of its prompt, other than just the last of all it knows. `grown_blocks` are taken
    by the iterations after the first: `growth` says how many by each, and starts over at its end. `padding_requests`
    are finished members of a static batch whose slots still compute. `blocked_by` says why the head of the waiting
    queue could not start; None when nobody was left waiting. A plan that `passes` leaves out a turn in which nobody can
    run. `swapped_in` are decodes that came back from the host; blocks were copied for them and for others. The
    `preempted` map to what was left to compute of their prompts. The `flushed` finished before, and give their blocks
    back now.
    `running`, `waiting`, `idle_slots`, `used_blocks` and `stored_tokens` are the core's once it has decided.

    Where drafts are verified, `decode_requests` are `verified`: `draft_tokens` are computed besides theirs, which make
    `draft_pairs` with the keys they see. `rounds` are all that sample; once they have run, `accepted_tokens` say how
    many tokens came out beyond one each, and `wasted_requests` how many had their last before.
    """

    iterations: int = 1
    decode_requests: int = 0
    decode_context_tokens: int = 0
    longest_context_tokens: int = 0
    preempted: Mapping[RequestState, int] = MappingProxyType({})
    paused: Sequence[RequestState] = ()
    stalled: int = 0
    passes: bool = False
    flushed: Sequence[RequestState] = ()
    draft_tokens: int = 0
    draft_pairs: int = 0
    accepted_tokens: int = 0
    wasted_requests: int = 0
    swapped_in: Sequence[RequestState] = ()
    swapped_in_blocks: int = 0
    swapped_out_blocks: int = 0
    grown_blocks: int = 0
    growth: Sequence[int] = ()
    unpauses: bool = False
    prefills: bool = False
    padding_requests: int = 0
    padding_context_tokens: int = 0
    blocked_by: Blocker | None = None
    running: int = 0
    waiting: int = 0
    idle_slots: int = 0
    used_blocks: int = 0
    stored_tokens: int = 0

    rounds: list[Round] = []  # noqa: RUF012  # of a plan that verifies nothing; one that does has its own
    verified: dict[RequestState, Verified] = {}  # noqa: RUF012  # likewise

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.finishing: list[RequestState] = []

    @property
    def prefill_tokens(self) -> int:
        """Tokens of all chunks."""
        return sum(chunk.tokens for chunk in self.chunks)

    @property
    def is_empty(self) -> bool:
        """Whether nothing runs, nobody was preempted and no turn was passed."""
        return not (self.decode_requests or self.chunks or self.preempted or self.passes)
