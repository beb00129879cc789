"""FLOPs and bytes of the operation groups of a dense transformer, per GPU and iteration. Pure arithmetic.

Symbols: h hidden size, L layers, H and K query and key-value heads and d their width, I intermediate size,
V vocabulary, w bytes an element, M rows (tokens) of the batch, n sequences, p tensor-parallel size. A multiply-add is
2 FLOPs.
"""

from __future__ import annotations

from typing import NamedTuple

from sim.cost.batch import Batch
from sim.specs.model import ModelSpec


class Work(NamedTuple):
    """Arithmetic and memory traffic of one operation group on one GPU."""

    flops: float
    bytes: float


def attention_projections(model: ModelSpec, batch: Batch, tp: int) -> Work:
    """Q, K, V and O: 2·M·h·(2Hd + 2Kd)·L/p FLOPs; the weights once, activations in and out of each matrix."""
    activations = 2 * model.hidden_size + (2 * model.query_size + 2 * model.kv_size) / tp
    return _matrices(
        model, batch.tokens, model.attention_parameters_per_layer / tp, activations, model.num_hidden_layers
    )


def mlp(model: ModelSpec, batch: Batch, tp: int) -> Work:
    """Gate, up and down: 2·M·3hI·L/p FLOPs; the weights once, activations in and out of each matrix."""
    activations = 2 * model.hidden_size + 3 * model.intermediate_size / tp
    return _matrices(model, batch.tokens, model.mlp_parameters_per_layer / tp, activations, model.num_hidden_layers)


def lm_head(model: ModelSpec, batch: Batch, tp: int) -> Work:
    """Logits for the last row of every sequence, and for every draft: 2·n·hV/p FLOPs; the head matrix once."""
    activations = model.hidden_size + model.vocab_size / tp
    return _matrices(model, batch.logit_rows, model.lm_head_parameters / tp, activations, 1)


def attention_prefill(model: ModelSpec, batch: Batch, tp: int) -> Work:
    """Causal attention of prompt chunks: new token i of a chunk sees (cached + i) keys, 4·H·d FLOPs each, L layers.

    Bytes: the keys and values of the whole context once a chunk, and queries and outputs of the new tokens.
    """
    width = model.query_size / tp
    queries = 2 * batch.prefill_tokens * width * model.dtype_bytes * model.num_hidden_layers
    return Work(
        4 * width * batch.prefill_pairs * model.num_hidden_layers,
        batch.prefill_context_tokens * kv_bytes_per_token(model, tp) + queries,
    )


def attention_decode(model: ModelSpec, batch: Batch, tp: int) -> Work:
    """One new token a sequence against its context: 4·H·d·Σcontext·L FLOPs; every cached key and value read once.

    Drafts meet keys that are read anyway.
    """
    width = model.query_size / tp
    context = batch.decode_context_tokens
    pairs = context + batch.draft_pairs
    return Work(4 * width * pairs * model.num_hidden_layers, context * kv_bytes_per_token(model, tp))


def all_reduce_bytes(model: ModelSpec, batch: Batch, tp: int) -> float:
    """Bytes a GPU sends for the two ring all-reduces of every layer: 2·L · 2(p-1)/p · M·h·w."""
    return 2 * model.num_hidden_layers * 2 * (tp - 1) / tp * batch.tokens * model.hidden_size * model.dtype_bytes


def kv_bytes_per_token(model: ModelSpec, tp: int) -> float:
    """KV bytes of one token on one GPU; heads are repeated when there are fewer than GPUs."""
    return model.kv_bytes_per_token / min(tp, model.num_key_value_heads)


def _matrices(model: ModelSpec, rows: int, weights: float, activations: float, layers: int) -> Work:
    """`rows` vectors through matrices of `weights` elements a layer, `activations` elements a row in and out."""
    weights_read = weights * (rows > 0)
    return Work(2 * rows * weights * layers, (weights_read + rows * activations) * model.dtype_bytes * layers)
