"""Attention: the variable-length kernel on batches with prompts, the decode kernel, which shares its arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sim.cost.kernels.attention import Heads, MixedAttention, decode_attention
from sim.cost.speeds import attention_speed
from sim.specs.accelerator import AcceleratorSpec
from sim.study.calibrate.fitted import LEAST_PER_CONSTANT, Fitted, fit
from sim.study.calibrate.screen import IMPOSSIBLE, kept, peak_of, possible, screened
from sim.study.calibrate.solve import Constant, Floats

SHORT = "contexts up to 64"
NARROW_KV = "8-bit KV"
SHORTEST = 65.0
"""Tokens that a decode attends to, itself included; batches of shorter ones are rare and start-up alone."""
LONG_READ_S = 50e-6
"""Decodes that read this long at the peak count as much, all together, as those that do not."""
PREFILL = ("kernels.prefill_start_s", "kernels.prefill_tile_s", "efficiency.attention_compute")
DECODE = ("kernels.decode_start_s", "kernels.decode_row_s", "efficiency.attention_memory")
MOST_S = 0.1
DTYPE = "bfloat16"


def fit_prefill(table: pd.DataFrame, accelerator: AcceleratorSpec) -> Fitted:
    """Batches of prompts alone; the constants serve those with decodes beside them as well."""
    rows, left_out = _prompts(table, accelerator, "prefill_attention", 3 * LEAST_PER_CONSTANT)
    constants = [
        Constant(PREFILL[0], 8e-6, MOST_S),
        Constant(PREFILL[1], 0.03e-6, MOST_S),
        Constant(PREFILL[2], 0.6, 1.0),
    ]
    return fit(
        "prefill_attention",
        rows,
        lambda values: predicted_mixed(rows, accelerator, values),
        constants,
        ("prompts", "new_tokens", "query_heads", "kv_heads"),
        left_out,
    )


def compare_mixed(table: pd.DataFrame, accelerator: AcceleratorSpec) -> Fitted:
    """Prompts with decodes beside them, by the constants of either alone; nothing is fitted on them."""
    kernels = accelerator.kernels
    prefill = (kernels.prefill_start_s, kernels.prefill_tile_s, accelerator.efficiency.attention_compute)
    rows, left_out = _prompts(table, accelerator, "mixed_attention", 1)
    seconds = predicted_mixed(rows, accelerator, prefill)
    return Fitted("mixed_attention", {}, {}, left_out, rows["seconds"].to_numpy(), seconds)


def fit_decode(table: pd.DataFrame, accelerator: AcceleratorSpec) -> Fitted:
    """On caches of 16 bits and contexts of more than 64 tokens."""
    screens = {
        NARROW_KV: (table["kv_bytes"] >= 2).to_numpy(),
        IMPOSSIBLE: _decode_possible(table, accelerator),
        SHORT: (table["keys"] >= SHORTEST * table["sequences"]).to_numpy(),
    }
    rows = kept(table, screens, "decode_attention", 3 * LEAST_PER_CONSTANT)
    constants = [
        Constant(DECODE[0], 12e-6, MOST_S),
        Constant(DECODE[1], 0.05e-6, MOST_S),
        Constant(DECODE[2], 0.85, 1.0),
    ]
    return fit(
        "decode_attention",
        rows,
        lambda values: predicted_decode(rows, accelerator, values),
        constants,
        ("sequences", "query_heads", "kv_heads"),
        screened(screens),
        _weights(read_s(rows, accelerator) >= LONG_READ_S),
    )


def predicted_mixed(table: pd.DataFrame, accelerator: AcceleratorSpec, prefill: Sequence[float]) -> Floats:
    """Seconds of every row with this start-up, time of a tile, and share of compute."""
    start_s, tile_s, compute = prefill
    kernels = accelerator.kernels
    speed = attention_speed(DTYPE, accelerator)._replace(
        flop_per_s=peak_of(accelerator, DTYPE, "attention") * compute, prefill_start_s=start_s, prefill_tile_s=tile_s
    )
    new, cached = table["new_tokens"].to_numpy(float), table["cached_tokens"].to_numpy(float)
    tile = kernels.query_tile_tokens
    tiles = np.ceil(new / tile) * table["prompts"].to_numpy(float)
    longest = np.maximum(new + cached, 0 if kernels.packs_decode_rows else table["longest_decode"].to_numpy(float))
    decodes, decode_keys = table["decodes"].to_numpy(float), table["decode_keys"].to_numpy(float)
    tile_keys = tiles * (cached + (new + tile) / 2)
    kernel = MixedAttention(_heads(table), speed)
    return np.asarray(kernel.parts(tiles, tile_keys, decodes, decode_keys, longest).seconds)


def predicted_decode(table: pd.DataFrame, accelerator: AcceleratorSpec, decode: Sequence[float]) -> Floats:
    """Seconds of every row with this start-up, time of a row, and share of memory bandwidth."""
    start_s, row_s, memory = decode
    speed = attention_speed(DTYPE, accelerator)._replace(
        bytes_per_s=accelerator.memory_bytes_per_s * memory, decode_start_s=start_s, decode_row_s=row_s
    )
    rows, keys = table["sequences"].to_numpy(float), table["keys"].to_numpy(float)
    return np.asarray(decode_attention(_heads(table), rows, keys, speed).seconds)


def read_s(table: pd.DataFrame, accelerator: AcceleratorSpec) -> Floats:
    """What reading the cache takes at the peak."""
    return np.asarray(table["keys"].to_numpy(float) * _heads(table).key_bytes / accelerator.memory_bytes_per_s)


def _weights(long: NDArray[np.bool_]) -> Floats:
    count = int(long.sum())
    if count in (0, len(long)):
        return np.ones(len(long))
    return np.where(long, len(long) / (2 * count), len(long) / (2 * (len(long) - count)))


def _heads(table: pd.DataFrame) -> Heads:
    """Columns instead of numbers: the formulas take either."""
    query_heads, head_dim = table["query_heads"].to_numpy(float), table["head_dim"].to_numpy(float)
    key_bytes = 2 * table["kv_heads"].to_numpy(float) * head_dim * table["kv_bytes"].to_numpy(float)
    return Heads(query_heads, 4 * head_dim, 4 * head_dim * query_heads, key_bytes)  # type: ignore[arg-type]


def _prompts(
    table: pd.DataFrame, accelerator: AcceleratorSpec, operator: str, least: int
) -> tuple[pd.DataFrame, dict[str, int]]:
    screens = {
        NARROW_KV: (table["kv_bytes"] >= 2).to_numpy(),
        IMPOSSIBLE: _mixed_possible(table, accelerator),
    }
    return kept(table, screens, operator, least), screened(screens)


def _mixed_possible(table: pd.DataFrame, accelerator: AcceleratorSpec) -> NDArray[np.bool_]:
    heads = _heads(table)
    pairs = table["prompts"] * table["new_tokens"] * (table["cached_tokens"] + (table["new_tokens"] + 1) / 2)
    keys = table["prompts"] * (table["new_tokens"] + table["cached_tokens"]) + table["decode_keys"]
    flops = (pairs + table["decode_keys"]).to_numpy(float) * heads.query_heads * heads.flops_per_pair
    return _within_peaks(table, accelerator, flops, keys.to_numpy(float) * heads.key_bytes)


def _decode_possible(table: pd.DataFrame, accelerator: AcceleratorSpec) -> NDArray[np.bool_]:
    heads, keys = _heads(table), table["keys"].to_numpy(float)
    return _within_peaks(table, accelerator, keys * heads.decode_flops_per_key, keys * heads.key_bytes)


def _within_peaks(table: pd.DataFrame, accelerator: AcceleratorSpec, flops: Floats, moved: Floats) -> NDArray[np.bool_]:
    peak = peak_of(accelerator, DTYPE, "attention")
    return possible(table["seconds"], flops, moved, peak, accelerator.memory_bytes_per_s)
