"""Operator tables of aiconfigurator: Parquet files, one an operator, told apart by their columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sim.errors import InputError
from sim.study.calibrate.operators import ALL_REDUCE, DECODE, EXPERTS, GEMM, MIXED, Tables

DTYPES = {"bfloat16": "bfloat16", "float16": "float16", "fp8": "float8", "nvfp4": "float4"}
KV_BYTES = {"bfloat16": 2.0, "float16": 2.0, "fp8": 1.0}
GRAPH = "vllm_graph"
"""The all-reduce as an engine runs it: inside a CUDA graph."""
BYTES_PER_ELEMENT = 2
GEMM_COLUMNS = ("gemm_dtype", "m", "n", "k", "latency_ms")
ATTENTION_COLUMNS = (
    "batch_size", "isl", "num_heads", "num_key_value_heads", "head_dim", "kv_cache_dtype", "step", "latency_ms"
)  # fmt: skip
ALL_REDUCE_COLUMNS = ("num_gpus", "message_size", "backend", "latency_ms")
MOE_COLUMNS = (
    "moe_dtype", "num_tokens", "hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size", "moe_ep_size",
    "distribution", "latency_ms",
)  # fmt: skip
NCCL_COLUMNS = ("op_name", "num_gpus", "message_size", "latency_ms")


def read_gemm(table: pd.DataFrame, path: Path) -> Tables:
    """m rows of k elements through a k x n matrix."""
    columns = {
        "dtype": _named(table["gemm_dtype"], DTYPES, path),
        "rows": table["m"],
        "inputs": table["k"],
        "outputs": table["n"],
        "seconds": table["latency_ms"] * 1e-3,
    }
    return {GEMM: _wide(columns)}


def read_attention(table: pd.DataFrame, path: Path) -> Tables:
    """Like sequences: one new token on `step` cached ones each is a decode, more of them a prompt."""
    heads = {
        "query_heads": table["num_heads"],
        "kv_heads": table["num_key_value_heads"],
        "head_dim": table["head_dim"],
        "kv_bytes": _named(table["kv_cache_dtype"], KV_BYTES, path).astype(float),
        "seconds": table["latency_ms"] * 1e-3,
    }
    sequences, step = table["batch_size"].astype(float), table["step"].astype(float)
    decode = {"sequences": sequences, "keys": sequences * (step + 1)}
    nothing = dict.fromkeys(("decodes", "decode_keys", "longest_decode"), 0.0)
    prompts = {"prompts": sequences, "new_tokens": table["isl"], "cached_tokens": step, **nothing}
    decodes = (table["isl"] == 1) & (step > 0)
    return {DECODE: _wide(decode | heads)[decodes], MIXED: _wide(prompts | heads)[~decodes & (table["isl"] > 1)]}


def read_all_reduce(table: pd.DataFrame, _: Path) -> Tables:
    """The engine's own kernel inside a CUDA graph; eager calls are left out."""
    seconds = table["latency_ms"] * 1e-3
    size = table["message_size"].astype(float) * BYTES_PER_ELEMENT
    columns = {"gpus": table["num_gpus"], "message_bytes": size, "seconds": seconds}
    return {ALL_REDUCE: _wide(columns)[table["backend"] == GRAPH]}


def read_experts(table: pd.DataFrame, path: Path) -> Tables:
    """Routed experts; tensor parallel GPUs have a slice of each, expert parallel ranks some of them."""
    columns = {
        "dtype": _named(table["moe_dtype"], DTYPES, path),
        "rows": table["num_tokens"],
        "hidden_size": table["hidden_size"],
        "intermediate_size": table["inter_size"].astype(float) / table["moe_tp_size"],
        "num_experts": table["num_experts"],
        "num_experts_per_tok": table["topk"],
        "ranks": table["moe_ep_size"],
        "distribution": table["distribution"],
        "seconds": table["latency_ms"] * 1e-3,
    }
    return {EXPERTS: _wide(columns)}


def refuse_nccl(_: pd.DataFrame, path: Path) -> Tables:
    """A cost model has no constant for these."""
    raise InputError(
        f"--ops: {path}: holds NCCL collectives, and no constant is fitted on them; "
        "leave it out, and give the all-reduce of the engine's own kernel"
    )


READERS: dict[tuple[str, ...], Callable[[pd.DataFrame, Path], Tables]] = {
    GEMM_COLUMNS: read_gemm,
    ATTENTION_COLUMNS: read_attention,
    ALL_REDUCE_COLUMNS: read_all_reduce,
    MOE_COLUMNS: read_experts,
    NCCL_COLUMNS: refuse_nccl,
}
"""By the columns that a file must have."""


def _wide(columns: Mapping[str, Any]) -> pd.DataFrame:
    """Narrow integers, which would overflow in products, become floats."""
    table = pd.DataFrame(columns)
    return table.astype(dict.fromkeys(table.select_dtypes("number"), float))


def _named(column: pd.Series, known: dict[str, str] | dict[str, float], path: Path) -> pd.Series:
    unknown = set(column) - set(known)
    if unknown:
        raise InputError(
            f"--ops: {path}: {column.name}: unknown data type '{min(unknown)}'; known: {', '.join(known)}; "
            "remove those rows"
        )
    return column.map(known)
