"""One request inside the engine: how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, field

from sim.scheduling.prefix_cache import Held
from sim.scheduling.text import Text
from sim.specs.request import Request


@dataclass(slots=True, eq=False)
class RequestState:
    """Mutable, owned by the core.

    The request wants tokens computed until `computed_tokens` reaches `known_tokens` (prompt and outputs so far); the
    iteration that gets there emits one more output. Then it joins the decode group, which keeps count for it: while
    `decoding` is true, neither of the two is up to date, and the group knows better. A preempted request keeps its
    outputs and starts again at 0.

    `arrival_rank` is its place in the order of arrival, which breaks ties of priority, `admission_rank` its place in
    the running list. `output_tokens` is where the model stops; only the core may look at it, for rules must not know
    how long an answer will be. `offset_tokens` and `finish_tick` belong to the decode group; `text`, its
    `shared_blocks`, `held` and `stored_blocks` to the prefix cache, where `cached_tokens` of the prompt were found.
    """

    request: Request
    arrival_rank: int
    output_tokens: int
    known_tokens: int
    computed_tokens: int = 0
    admission_rank: int = 0
    preemptions: int = 0
    decoding: bool = False
    offset_tokens: int = 0
    finish_tick: int = 0
    text: Text = field(default_factory=list)
    shared_blocks: int = 0
    held: list[Held] = field(default_factory=list)
    stored_blocks: int = 0
    cached_tokens: int = 0

    @property
    def wanted_tokens(self) -> int:
        """Tokens still to compute before the next output, of a request outside the decode group."""
        return self.known_tokens - self.computed_tokens

    @property
    def emitted_tokens(self) -> int:
        """Outputs so far, of a request outside the decode group."""
        return self.known_tokens - self.request.prompt_tokens

    @property
    def is_done(self) -> bool:
        """The model has stopped; of a request outside the decode group."""
        return self.emitted_tokens >= self.output_tokens
