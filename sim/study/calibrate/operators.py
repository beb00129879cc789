"""The operators that can be measured, and what a row of each one's table says.

Tables are in SI units, as the kernels' formulas are; `time_us` of a file is `seconds` here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

Tables = dict[str, pd.DataFrame]
"""A table an operator."""

GEMM, LM_HEAD, DECODE, MIXED = "gemm", "lm_head", "decode_attention", "mixed_attention"
ALL_REDUCE, EXPERTS, SAMPLER, COPY = "all_reduce", "experts", "sampler", "copy"

_HEADS = ("query_heads", "kv_heads", "head_dim", "kv_bytes")
_MATRIX = ("dtype", "rows", "inputs", "outputs")
COLUMNS: dict[str, tuple[str, ...]] = {
    GEMM: _MATRIX,
    LM_HEAD: _MATRIX,
    DECODE: ("sequences", "keys", *_HEADS),
    MIXED: ("prompts", "new_tokens", "cached_tokens", "decodes", "decode_keys", "longest_decode", *_HEADS),
    ALL_REDUCE: ("gpus", "message_bytes"),
    EXPERTS: (
        "dtype", "rows", "hidden_size", "intermediate_size", "num_experts", "num_experts_per_tok", "ranks",
        "distribution",
    ),
    SAMPLER: ("sequences",),
    COPY: ("copied_bytes",),
}  # fmt: skip
"""What a row of each operator's table has beside `seconds`; docs/calibrate.md says what the columns mean."""
TEXTS = ("dtype", "distribution")
DTYPES = {"bfloat16": 2.0, "float16": 2.0, "float8": 1.0, "float4": 0.5625}
"""Bytes of a weight by data type, scales included: blocks of 16 values of 4 bits share a scale of 8."""


def told(value: Any) -> str:
    """A cell as a message shows it."""
    return repr(value.item() if isinstance(value, np.generic) else value)


def averaged(table: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """A row a point: repeated measurements of one become their mean."""
    return table.groupby(list(columns), sort=False)["seconds"].mean().reset_index()


def joined(parts: list[Tables]) -> Tables:
    """The tables of several files as one table an operator, repeated measurements averaged."""
    whole: Tables = {}
    for name, columns in COLUMNS.items():
        found = [part[name] for part in parts if name in part and len(part[name])]
        if found:
            whole[name] = averaged(pd.concat(found, ignore_index=True), columns)
    return whole
