"""Layer profiles of Llama-3.1-8B: `dense`, `per_sequence`, `attention`, `skew`: CSV files of LLMServingSim.

Their columns do not say what part of the model a GPU had; the file's name does: `..._llama31_8b_tp2_dense.csv.gz`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from sim.errors import InputError
from sim.study.calibrate.operators import DECODE, GEMM, LM_HEAD, MIXED, SAMPLER, Tables

NAME = re.compile(r"llama31_8b_tp([1-8])_")
HIDDEN, INTERMEDIATE, VOCABULARY, QUERY_HEADS, KV_HEADS, HEAD_DIM = 4096, 14336, 128256, 32, 8, 128
"""Of Llama-3.1-8B."""
DTYPE, KV_BYTES = "bfloat16", 2.0
DENSE = ("layer", "tokens", "time_us")
PER_SEQUENCE = ("layer", "sequences", "time_us")
ATTENTION = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us")
SKEW_CALLS = 3
"""A skew table's times are three times an attention table's at like contexts, on both cards it is known of (at 2 to 256
decodes, within 5 %): of three calls, it seems."""
SKEW = ("regime", "n", "nb", "pc", "kp", "kvs", "kv_big", "t_skew_us")


def read_dense(table: pd.DataFrame, path: Path) -> Tables:
    """The four projections of a layer; what is no matrix product is left out."""
    gpus = _gpus(path)
    shapes = {
        "qkv_proj": (HIDDEN, (QUERY_HEADS + 2 * KV_HEADS) * HEAD_DIM // gpus),
        "o_proj": (QUERY_HEADS * HEAD_DIM // gpus, HIDDEN),
        "gate_up_proj": (HIDDEN, 2 * INTERMEDIATE // gpus),
        "down_proj": (INTERMEDIATE // gpus, HIDDEN),
    }
    return {GEMM: _matrices(table[table["layer"].isin(shapes)], "tokens", shapes)}


def read_per_sequence(table: pd.DataFrame, path: Path) -> Tables:
    """The LM head and the sampler."""
    shapes = {"lm_head": (HIDDEN, VOCABULARY // _gpus(path))}
    sampler = table[table["layer"] == "sampler"]
    return {
        LM_HEAD: _matrices(table[table["layer"].isin(shapes)], "sequences", shapes),
        SAMPLER: pd.DataFrame({"sequences": sampler["sequences"], "seconds": sampler["time_us"] * 1e-6}),
    }


def read_attention(table: pd.DataFrame, path: Path) -> Tables:
    """One prompt's chunk and like decodes in a batch; either may be missing."""
    decodes = table["n_decode"]
    batch = pd.DataFrame(
        {
            "prompts": (table["prefill_chunk"] > 0).astype(int),
            "new_tokens": table["prefill_chunk"],
            "cached_tokens": table["kv_prefill"],
            "decodes": decodes,
            "decode_keys": decodes * (table["kv_decode"] + 1),
            "longest_decode": (table["kv_decode"] + 1).where(decodes > 0, 0),
            "seconds": table["time_us"] * 1e-6,
        }
    )
    return _attention(batch, _gpus(path))


def read_skew(table: pd.DataFrame, path: Path) -> Tables:
    """Decodes of which some have a long context and the others a short one, with a prompt's chunk or without."""
    keys = table["nb"] * (table["kv_big"] + 1) + (table["n"] - table["nb"]) * (table["kvs"] + 1)
    batch = pd.DataFrame(
        {
            "prompts": (table["pc"] > 0).astype(int),
            "new_tokens": table["pc"],
            "cached_tokens": table["kp"],
            "decodes": table["n"],
            "decode_keys": keys,
            "longest_decode": table["kv_big"] + 1,
            "seconds": table["t_skew_us"] * 1e-6 / SKEW_CALLS,
        }
    )
    return _attention(batch, _gpus(path))


READERS: dict[tuple[str, ...], Callable[[pd.DataFrame, Path], Tables]] = {
    DENSE: read_dense,
    PER_SEQUENCE: read_per_sequence,
    ATTENTION: read_attention,
    SKEW: read_skew,
}
"""By the columns that a file must have."""


def _gpus(path: Path) -> int:
    found = NAME.search(path.name)
    if found is None:
        raise InputError(
            f"--ops: {path}: a layer profile's columns do not say what part of the model a GPU had; its name must "
            "contain llama31_8b_tp1_ (or tp2_, tp4_, tp8_); rename it, or write the plain table of docs/calibrate.md"
        )
    return int(found.group(1))


def _matrices(table: pd.DataFrame, rows: str, shapes: dict[str, tuple[int, int]]) -> pd.DataFrame:
    inputs = table["layer"].map({layer: shape[0] for layer, shape in shapes.items()})
    outputs = table["layer"].map({layer: shape[1] for layer, shape in shapes.items()})
    seconds = table["time_us"] * 1e-6
    columns = {"dtype": DTYPE, "rows": table[rows], "inputs": inputs, "outputs": outputs, "seconds": seconds}
    return pd.DataFrame(columns)


def _attention(batch: pd.DataFrame, gpus: int) -> Tables:
    batch = batch.assign(
        query_heads=QUERY_HEADS // gpus, kv_heads=KV_HEADS // gpus, head_dim=HEAD_DIM, kv_bytes=KV_BYTES
    )
    only_decodes = batch[batch["prompts"] == 0].rename(columns={"decodes": "sequences", "decode_keys": "keys"})
    only_decodes = only_decodes.drop(columns=["prompts", "new_tokens", "cached_tokens", "longest_decode"])
    return {DECODE: only_decodes, MIXED: batch[batch["prompts"] > 0]}
