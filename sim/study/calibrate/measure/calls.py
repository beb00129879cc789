"""What `servesim calibrate --measure` times: shapes as serving dense models of 1 to 70 billion parameters has them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from sim.study.calibrate.operators import COPY, DECODE, GEMM, MIXED

DTYPE, KV_BYTES, HEAD_DIM = "bfloat16", 2.0, 128
MATRICES = ((2048, 4096), (4096, 6144), (4096, 4096), (4096, 28672), (14336, 4096), (8192, 10240))
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
HEADS = ((32, 8), (16, 4), (64, 8))
SEQUENCES = (1, 4, 16, 64, 256)
CONTEXTS = (128, 512, 1024, 2048, 4096, 16384)
NEW_TOKENS = (64, 128, 256, 512, 1024, 2048, 4096)
PROMPTS = (1, 2, 4)
COPIED_BYTES = tuple(2**power for power in range(18, 31))


class Call(NamedTuple):
    """One call of an operator; `row` are the columns of its table."""

    operator: str
    row: dict[str, float | str]


def calls() -> Iterator[Call]:
    """All of them, GEMMs first."""
    for (inputs, outputs), rows in product(MATRICES, ROWS):
        yield Call(GEMM, {"dtype": DTYPE, "rows": rows, "inputs": inputs, "outputs": outputs})
    for heads, sequences, context in product(HEADS, SEQUENCES, CONTEXTS):
        yield Call(DECODE, {"sequences": sequences, "keys": sequences * context, **_heads(*heads)})
    for heads, prompts, new in product(HEADS, PROMPTS, NEW_TOKENS):
        alone = {"cached_tokens": 0, "decodes": 0, "decode_keys": 0, "longest_decode": 0}
        yield Call(MIXED, {"prompts": prompts, "new_tokens": new, **alone, **_heads(*heads)})
    for size in COPIED_BYTES:
        yield Call(COPY, {"copied_bytes": size})


def _heads(query_heads: int, kv_heads: int) -> dict[str, float | str]:
    return {"query_heads": query_heads, "kv_heads": kv_heads, "head_dim": HEAD_DIM, "kv_bytes": KV_BYTES}
