"""One request inside the engine: how far it has come and what it holds."""

from __future__ import annotations

from dataclasses import dataclass

from sim.specs.request import Request


@dataclass(slots=True, eq=False)
class RequestState:
    """Mutable, owned by the core.

    The request wants tokens computed until `computed_tokens` reaches `known_tokens` (prompt and outputs so far); the
    iteration that gets there emits one more output. A preempted request keeps its outputs and starts again at 0.
    `arrival_rank` is its place in the order of arrival, which breaks ties of priority. `output_tokens` is where the
    model stops; only the core may look at it, for rules must not know how long an answer will be.
    """

    request: Request
    arrival_rank: int
    output_tokens: int
    computed_tokens: int = 0
    emitted_tokens: int = 0
    held_blocks: int = 0
    preemptions: int = 0

    @property
    def known_tokens(self) -> int:
        """Prompt and outputs so far: what must be computed before the next output."""
        return self.request.prompt_tokens + self.emitted_tokens

    @property
    def wanted_tokens(self) -> int:
        """Tokens still to compute before the next output: 1 for a decode, more for a prompt or a recomputation."""
        return self.request.prompt_tokens + self.emitted_tokens - self.computed_tokens

    @property
    def is_decoding(self) -> bool:
        """Past its prompt: it has answered and waits only for its newest token to be computed."""
        return self.computed_tokens >= self.request.prompt_tokens

    @property
    def is_done(self) -> bool:
        """The model has stopped."""
        return self.emitted_tokens >= self.output_tokens
