"""One request inside the engine: how far it has come."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from sim.scheduling.prefix_cache import Held
from sim.scheduling.text import Text
from sim.specs.request import Request


class RequestState:
    """Mutable, owned by the core.

    The request wants tokens computed until `computed_tokens` reaches `known_tokens` (prompt and outputs so far); the
    iteration that gets there emits one more output. Then it joins the decode group, which keeps count for it: while
    `decoding` is true, neither of the two is up to date, and the group knows better. A preempted request keeps its
    outputs and starts again at 0. At `final_tokens` the model stops; only the core may look at that, for rules must not
    know how long an answer will be.

    Blocks for `reserved_tokens` were taken when it was admitted, whatever it has computed since. A gate that looks
    ahead expects at most `limit_tokens`, prompt and outputs together.

    `arrival_rank` is its place in the order of arrival, which breaks ties of priority, `admission_rank` its place in
    the running list. `offset_tokens` and `finish_tick` belong to the decode group; `text`, `own_text`, `shared_blocks`,
    `held` and `stored_blocks` to the prefix cache, where `cached_tokens` of the prompt were found. The first
    `shared_blocks` of the text others may look for while the request is there.

    With speculation a request past its prompt is `verifying` instead: it has `drafts` for its next round, of which
    `accepted` says how many are right, round by round, and `spoken_tokens` outputs are there; those under way count as
    known. Of its `computed_tokens` the last `in_flight_tokens` still run; the first `findable_tokens` can be found.
    Its last preemption threw `given_up_tokens` away.
    """

    computed_tokens: int = 0
    reserved_tokens: int = 0
    limit_tokens: int = 0
    admission_rank: int = 0
    preemptions: int = 0
    decoding: bool = False
    offset_tokens: int = 0
    finish_tick: int = 0
    verifying: bool = False
    drafts: int = 0
    rounds: int = 0
    accepted: Sequence[int] = ()
    spoken_tokens: int = 0
    in_flight_tokens: int = 0
    findable_tokens: int = 0
    given_up_tokens: int = 0
    text: Text = ()
    own_text: Hashable = None
    shared_blocks: int = 0
    held: Sequence[Held] = ()
    stored_blocks: int = 0
    cached_tokens: int = 0

    def __init__(self, request: Request, arrival_rank: int, final_tokens: int) -> None:
        self.request = request
        self.arrival_rank = arrival_rank
        self.final_tokens = final_tokens
        self.known_tokens = request.prompt_tokens

    @property
    def emitted_tokens(self) -> int:
        """Outputs so far, of a request outside the decode group."""
        return self.known_tokens - self.request.prompt_tokens

    @property
    def is_done(self) -> bool:
        """The model has stopped; of a request outside the decode group."""
        return self.known_tokens >= self.final_tokens
