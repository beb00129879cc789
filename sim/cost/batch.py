"""One iteration as the cost model sees it, and what a cost model answers."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

Bound = Literal["compute", "memory", "link", "host", "given"]
RESOURCE_NAMES: dict[str, str] = {
    "compute": "limited by compute", "memory": "limited by memory bandwidth", "link": "limited by the link",
    "host": "host overhead", "given": "given by the cost model",
}  # fmt: skip
"""Each bound in words, for tables and pictures."""


class Batch(NamedTuple):
    """What cost needs to know of one iteration, as executed (padding included). Arrays stand for many iterations.

    `decode_context_tokens` is the sum over decode rows of the tokens each attends to, its own new one included. Of the
    prompt chunks there are `prefill_requests` with `prefill_tokens` new tokens; `prefill_pairs` sums over new tokens
    the keys each sees (its own included), `prefill_context_tokens` over chunks the tokens that are there after it.
    `service_s` is the service time that falls into this iteration when requests bring their own (`per_request`).
    """

    decode_requests: int = 0
    decode_context_tokens: int = 0
    prefill_requests: int = 0
    prefill_tokens: int = 0
    prefill_pairs: int = 0
    prefill_context_tokens: int = 0
    service_s: float = 0.0

    @property
    def tokens(self) -> int:
        """Rows of every projection: one a decode, one a prompt token."""
        return self.decode_requests + self.prefill_tokens

    @property
    def sequences(self) -> int:
        """Requests in the batch."""
        return self.decode_requests + self.prefill_requests


def pairs(new_tokens: int, cached_tokens: int) -> int:
    """Keys seen by the tokens of a causal chunk: token i of it sees those cached before, and i of its own."""
    return new_tokens * cached_tokens + new_tokens * (new_tokens + 1) // 2


class GroupTime(NamedTuple):
    """Seconds that one operation group takes in an iteration, under the resource that sets them.

    `flops` and `memory_bytes` are its arithmetic and its memory traffic on one GPU, where the cost model counts them.
    Of a batch of arrays, all numbers are arrays.
    """

    group: str
    seconds: dict[Bound, Any]
    flops: Any = 0.0
    memory_bytes: Any = 0.0


class CostModel(Protocol):
    """Batch -> seconds, with the reason."""

    def step_s(self, batch: Batch) -> float:
        """Seconds of one iteration."""
        ...

    def increment_s(self, decode_requests: int) -> float:
        """Seconds by which an iteration of so many decodes alone is longer than the one before."""
        ...

    def explain(self, batch: Batch) -> tuple[GroupTime, ...]:
        """Time by operation group; an iteration takes the sum. The same groups in the same order for every batch."""
        ...


def total_s(times: tuple[GroupTime, ...]) -> Any:
    """Seconds of the whole iteration: the groups run one after the other."""
    return sum(seconds for time in times for seconds in time.seconds.values())
