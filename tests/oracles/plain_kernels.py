"""An iteration's time request by request, as slowly and plainly as the formulas are written down.

A dense model with grouped-query attention on one GPU or several: GEMMs, attention, elementwise kernels, all-reduces,
head, sampler and gaps. It has its own arithmetic throughout; only the constants are read from the descriptions.
"""

from __future__ import annotations

import math

from sim.specs.accelerator import AcceleratorSpec
from sim.specs.model import ModelSpec

Row = tuple[int, int]
"""New tokens of a request, and tokens of it that are cached."""
CAPTURED = [1, 2, 4] + [8 * i for i in range(1, 33)] + [256 + 16 * i for i in range(1, 17)]


def step_s(
    rows: list[Row],
    model: ModelSpec,
    gpu: AcceleratorSpec,
    tp: int,
    largest_graph: int = 512,
    drafts: list[int] | None = None,
    sampled: int | None = None,
) -> float:
    """Seconds of an iteration that computes `rows`, and after each so many `drafts`; tokens of all but prompts, or of
    so many rows, are `sampled`."""
    drafts = drafts or [0] * len(rows)
    k, tokens = gpu.kernels, sum(new for new, _ in rows) + sum(drafts)
    sampled = len(rows) + sum(drafts) if sampled is None else sampled
    graphs = [size for size in CAPTURED if tokens <= size <= largest_graph]
    padded = min(graphs) if graphs else tokens
    layer_s = sum(gemm_s(gpu, padded, n, m) for m, n in matrices(model, tp))
    layer_s += attention_s(rows, drafts, model, gpu, tp)
    heads, kv_heads = model.num_attention_heads / tp, max(model.num_key_value_heads / tp, 1)
    moved = 6 * model.hidden_size + 3 * model.intermediate_size / tp + 4 * (heads + 2 * kv_heads) * model.head_dim
    layer_s += k.elementwise_start_s + padded * 2 * moved / (k.elementwise_memory * gpu.memory_bytes_per_s)
    if tp > 1:
        reduce = k.all_reduce[tp]
        layer_s += 2 * (reduce.start_s + padded * model.hidden_size * 2 / reduce.bytes_per_s)
    seconds = k.clock * model.num_hidden_layers * layer_s
    seconds += gemm_s(gpu, sampled, model.vocab_size / tp, model.hidden_size)
    seconds += k.sampler_start_s + k.sampler_row_s * sampled
    return seconds + model.num_hidden_layers * (12 if tp > 1 else 10) * k.gap_s


def matrices(model: ModelSpec, tp: int) -> list[tuple[float, float]]:
    """(inputs, outputs) on one GPU."""
    h, width = model.hidden_size, model.intermediate_size / tp
    queries = model.num_attention_heads * model.head_dim / tp
    keys = max(model.num_key_value_heads / tp, 1) * model.head_dim
    return [(h, queries + 2 * keys), (queries, h), (h, 2 * width), (width, h)]


def gemm_s(gpu: AcceleratorSpec, rows: int, outputs: float, inputs: float) -> float:
    compute_s = 2 * rows * outputs * inputs / (gpu.peak_flop_per_s["bfloat16"] * gpu.efficiency.gemm_compute)
    moved = 2 * (outputs * inputs + rows * (outputs + inputs))
    return gpu.kernels.gemm_start_s + math.hypot(
        compute_s, moved / (gpu.memory_bytes_per_s * gpu.efficiency.gemm_memory)
    )


def attention_s(rows: list[Row], drafts: list[int], model: ModelSpec, gpu: AcceleratorSpec, tp: int) -> float:
    """One layer's. A decode with drafts reads its keys once, up to the last; every row multiplies those it sees."""
    k, d, heads = gpu.kernels, model.head_dim, model.num_attention_heads / tp
    flop_per_s = gpu.peak_flop_per_s["bfloat16"] * gpu.efficiency.attention_compute
    byte_per_s = gpu.memory_bytes_per_s * gpu.efficiency.attention_memory
    decodes = [(cached, more) for (new, cached), more in zip(rows, drafts, strict=True) if new == 1]
    read = sum(cached + 1 + more for cached, more in decodes)
    seen = sum(cached + 1 + row for cached, more in decodes for row in range(more + 1))
    key_bytes = 2 * 2 * max(model.num_key_value_heads / tp, 1) * d
    decoding_s = len(decodes) * k.decode_row_s + math.hypot(
        seen * heads * 4 * d / flop_per_s, read * key_bytes / byte_per_s
    )
    if len(decodes) == len(rows):
        return k.decode_start_s + decoding_s
    tile, tiles, tile_keys = k.query_tile_tokens, 0, 0
    for (new, cached), more in zip(rows, drafts, strict=True):
        if new > 1:
            tiles += math.ceil(new / tile)
            tile_keys += math.floor(math.ceil(new / tile) * (cached + (new + tile) / 2))
        elif not k.packs_decode_rows:
            tiles, tile_keys = tiles + 1, tile_keys + cached + 1 + more
    pair_s = 4 * d * tile / flop_per_s
    all_s = k.prefill_start_s + heads * (tiles * k.prefill_tile_s + tile_keys * pair_s)
    longest = max(new + cached + more for (new, cached), more in zip(rows, drafts, strict=True))
    seconds = max(all_s, longest * pair_s * k.multiprocessors)
    return seconds + decoding_s if k.packs_decode_rows else seconds
