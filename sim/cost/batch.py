"""One iteration as the cost model sees it, and what a cost model answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

Bound = Literal["compute", "memory", "link", "host", "given"]
RESOURCE_NAMES: dict[str, str] = {
    "compute": "limited by compute", "memory": "limited by memory bandwidth", "link": "limited by the link",
    "host": "host overhead", "given": "given by the cost model",
}  # fmt: skip
"""Each bound in words, for tables and pictures."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What cost needs to know of one iteration, as executed (padding included).

    `decode_context_tokens` is the sum over decode rows of the tokens each attends to, its own new one included.
    `prefill_chunks` holds a pair (new tokens, tokens cached before) for each prompt chunk. `service_s` is the service
    time that falls into this iteration when requests bring their own (`per_request`).
    """

    decode_requests: int = 0
    decode_context_tokens: int = 0
    prefill_chunks: tuple[tuple[int, int], ...] = ()
    service_s: float = 0.0

    @property
    def prefill_tokens(self) -> int:
        """New prompt tokens of all chunks."""
        return sum(new for new, _ in self.prefill_chunks)

    @property
    def tokens(self) -> int:
        """Rows of every projection: one a decode, one a prompt token."""
        return self.decode_requests + self.prefill_tokens

    @property
    def sequences(self) -> int:
        """Requests in the batch."""
        return self.decode_requests + len(self.prefill_chunks)


class GroupTime(NamedTuple):
    """Seconds one operation group takes in an iteration, and the resource that sets them.

    `flops` and `memory_bytes` are its arithmetic and its memory traffic on one GPU, where the cost model counts them.
    """

    group: str
    seconds: float
    bound: Bound
    flops: float = 0.0
    memory_bytes: float = 0.0


class CostModel(Protocol):
    """Batch -> seconds, with the reason."""

    def explain(self, batch: Batch) -> tuple[GroupTime, ...]:
        """Time by operation group; the iteration takes the sum. The same groups in the same order for every batch."""
        ...


def step_time(times: tuple[GroupTime, ...]) -> float:
    """Seconds of the whole iteration: the groups run one after the other."""
    return sum(time.seconds for time in times)
