"""One iteration as the cost model sees it, and what a cost model answers."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

from sim.specs.base import UNLIMITED

Bound = Literal["compute", "memory", "link", "launch", "host", "given"]
RESOURCE_NAMES: dict[str, str] = {
    "compute": "limited by compute", "memory": "limited by memory bandwidth", "link": "limited by the link",
    "launch": "starting kernels", "host": "host overhead", "given": "given by the cost model",
}  # fmt: skip
"""Each bound in words, for tables and pictures."""


class Batch(NamedTuple):
    """What cost needs to know of one iteration, as executed (padding included). Arrays stand for many iterations.

    `decode_context_tokens` is the sum over decode rows of the tokens each attends to, its own new one included. Of the
    prompt chunks there are `prefill_requests` with `prefill_tokens` new tokens; `prefill_pairs` sums over new tokens
    the keys each sees (its own included), `prefill_context_tokens` over chunks the tokens that are there after it.
    Attention computes `prefill_tiles` of `CostModel.query_tile_tokens` queries each, which see `prefill_tile_keys`
    keys up to the end of each; `longest_context_tokens` is the most that any row attends to, 0 without chunks.
    `service_s` is the service time that falls into this iteration when requests bring their own (`per_request`).

    `draft_tokens` are rows beyond one a decode, in which drafts are verified (or one of a chunk, where drafts are stood
    in for): they pass through the projections, the LM head and the sampler, and attend to what their request attends
    to, whose keys and values are read once. That context then reaches to the last draft. `draft_pairs` sums over
    requests the keys that as many tokens see after those cached, `pairs(drafts, start)`: of all rows but the last.
    `swapped_blocks` of KV memory are copied to the host or back before anything is computed.
    """

    decode_requests: int = 0
    decode_context_tokens: int = 0
    prefill_requests: int = 0
    prefill_tokens: int = 0
    prefill_pairs: int = 0
    prefill_context_tokens: int = 0
    prefill_tiles: int = 0
    prefill_tile_keys: int = 0
    longest_context_tokens: int = 0
    service_s: float = 0.0
    draft_tokens: int = 0
    draft_pairs: int = 0
    swapped_blocks: int = 0

    @property
    def tokens(self) -> int:
        """Rows of every projection: one a decode, one a draft, one a prompt token."""
        return self.decode_requests + self.prefill_tokens + self.draft_tokens

    @property
    def sequences(self) -> int:
        """Requests in the batch."""
        return self.decode_requests + self.prefill_requests

    @property
    def logit_rows(self) -> int:
        """Rows of the LM head and the sampler: one a request, one a draft."""
        return self.sequences + self.draft_tokens


COUNTED = Batch._fields[: Batch._fields.index("service_s")]
"""Fields that an iteration without drafts is told by, in order."""


class GroupTime(NamedTuple):
    """Seconds that one operation group takes in an iteration, under the resource that sets them.

    `flops` and `memory_bytes` are its arithmetic and its memory traffic on one GPU, where the cost model counts them.
    Of a batch of arrays, all numbers are arrays.
    """

    group: str
    seconds: dict[Bound, Any]
    flops: Any = 0.0
    memory_bytes: Any = 0.0


class Growth(NamedTuple):
    """Each iteration takes `increment_s` longer than the one before it, for so many `iterations`, the first counted."""

    increment_s: float
    iterations: int = UNLIMITED


NO_GROWTH = Growth(0.0)


def tiles_of(new_tokens: int, cached_tokens: int, tile_tokens: int) -> tuple[int, int]:
    """Tiles that the queries of a chunk fill, and keys they see, up to the end of each; of one token, its own keys.

    Where the last tile is not full, each is taken to end as much earlier as they do on average.
    """
    if new_tokens == 1:
        return 1, cached_tokens + 1
    tiles = -(-new_tokens // tile_tokens)
    return tiles, tiles * (2 * cached_tokens + new_tokens + tile_tokens) // 2


class CostModel(Protocol):
    """Batch -> seconds, with the reason.

    `query_tile_tokens` is how many queries attention computes at once, for whom the batch counts tiles.
    """

    @property
    def query_tile_tokens(self) -> int:
        """See above."""
        ...

    def step_s(self, batch: Batch) -> float:
        """Seconds of one iteration in which no drafts are verified."""
        ...

    def verify_s(self, batch: Batch) -> float:
        """Seconds of one iteration, whether drafts are verified or not."""
        ...

    def growth(self, batch: Batch, decode_requests: int) -> Growth:
        """How much longer iterations after this one of decodes alone get, as so many contexts grow by a token each."""
        ...

    def explain(self, batch: Batch) -> tuple[GroupTime, ...]:
        """Time by operation group; an iteration takes the sum. The same groups in the same order for every batch."""
        ...


def total_s(times: tuple[GroupTime, ...]) -> Any:
    """Seconds of the whole iteration: the groups run one after the other."""
    return sum(seconds for time in times for seconds in time.seconds.values())
