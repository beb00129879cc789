"""The shapes that a model's layers have on one GPU, under tensor parallelism: what the kernels are called with.

Column-parallel then row-parallel (Shoeybi et al., "Megatron-LM", arXiv 1909.08053): heads and MLP widths are divided by
the number of GPUs p, hidden states are not; KV heads are repeated where there are fewer than GPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sim.cost.kernels.attention import Heads
from sim.cost.kernels.gemm import Matrix
from sim.cost.kernels.moe import Routed
from sim.specs.model import LatentAttention, ModelSpec


class Matrices(NamedTuple):
    """Matrices that every row of a batch passes through, in `layers` layers each; `part` is how they are quantised."""

    part: str
    layers: int
    matrices: tuple[Matrix, ...]


def projections(model: ModelSpec, tp: int) -> Matrices:
    """Q, K, V and O of every layer."""
    weight = weight_bytes(model, "attention")
    hidden, latent = model.hidden_size, model.latent_attention
    if latent is not None:
        shapes = list(_latent_projections(latent, hidden, model.num_attention_heads / tp))
    else:
        queries, keys = model.query_size / tp, model.kv_size / model.kv_shards(tp)
        shapes = [(hidden, queries + 2 * keys), (queries, hidden)]
    return Matrices("attention", model.num_hidden_layers, tuple(Matrix(*shape, weight) for shape in shapes))


def _latent_projections(latent: LatentAttention, hidden: int, heads: float) -> Iterator[tuple[float, float]]:
    """Down-projections are whole on every GPU, and fused where queries have one too."""
    query_size = heads * (latent.qk_nope_head_dim + latent.qk_rope_head_dim)
    if latent.q_lora_rank is None:
        yield hidden, query_size
        yield hidden, latent.cached_size
    else:
        yield hidden, latent.q_lora_rank + latent.cached_size
        yield latent.q_lora_rank, query_size
    yield latent.kv_lora_rank, heads * (latent.qk_nope_head_dim + latent.v_head_dim)
    yield heads * latent.v_head_dim, hidden


def mlp(model: ModelSpec, tp: int) -> Matrices:
    """Gate and up, and down, of the layers without experts."""
    weight = weight_bytes(model, "mlp")
    return Matrices("mlp", model.num_dense_layers, _gated(model.hidden_size, model.intermediate_size / tp, weight))


def shared_experts(model: ModelSpec, tp: int) -> Matrices:
    """The router, which is never quantised, and the experts that every token runs."""
    if model.experts is None:
        return Matrices("mlp", 0, ())
    shared = model.experts.shared_intermediate_size
    matrices = _gated(model.hidden_size, shared / tp, weight_bytes(model, "mlp")) if shared else ()
    return Matrices("mlp", model.experts.num_moe_layers, matrices)


def routers(model: ModelSpec) -> Matrices:
    """One a layer of experts, whole on every GPU, never quantised."""
    if model.experts is None:
        return Matrices("other", 0, ())
    router = Matrix(model.hidden_size, model.experts.num_experts, model.dtype_bytes)
    return Matrices("other", model.experts.num_moe_layers, (router,))


def _gated(hidden: int, width: float, weight: float) -> tuple[Matrix, ...]:
    return Matrix(hidden, 2 * width, weight), Matrix(width, hidden, weight)


def routed_experts(model: ModelSpec, tp: int) -> Routed | None:
    """Each expert's width is divided among the GPUs, as vLLM does without expert parallelism."""
    if model.experts is None:
        return None
    experts = model.experts
    width = experts.moe_intermediate_size / tp
    weight = weight_bytes(model, "expert")
    return Routed(model.hidden_size, width, experts.num_experts, experts.num_experts_per_tok, weight)


def lm_head(model: ModelSpec, tp: int) -> Matrix:
    """Hidden state to logits, for one row a sequence; never quantised."""
    return Matrix(model.hidden_size, model.vocab_size / tp, model.dtype_bytes)


def heads(model: ModelSpec, tp: int) -> Heads:
    """Attention of one layer. Latent attention decodes absorbed: all heads meet one compressed vector a token."""
    query_heads = model.num_attention_heads / tp
    latent = model.latent_attention
    if latent is None:
        pair = 4 * model.head_dim
        key_bytes = model.kv_bytes_per_token_per_layer / model.kv_shards(tp)
        return Heads(query_heads, pair, query_heads * pair, key_bytes)
    pair = 2 * (latent.qk_nope_head_dim + latent.qk_rope_head_dim + latent.v_head_dim)
    absorbed = 2 * (latent.cached_size + latent.kv_lora_rank)
    return Heads(query_heads, pair, query_heads * absorbed, model.kv_bytes_per_token_per_layer)


def elements_per_row(model: ModelSpec, tp: int) -> float:
    """Activations that elementwise kernels move for a row in all layers: 6 h + 3 I + 4 (H_q + 2 H_kv) d a layer.

    I is the width of the MLP that every row runs through; what routed experts move is in their own term.
    """
    queries, keys = model.query_size / tp, model.kv_size / model.kv_shards(tp)
    if model.latent_attention is not None:
        keys = model.latent_attention.cached_size / 2
    shared = model.experts.shared_intermediate_size * model.experts.num_moe_layers if model.experts else 0
    widths = (model.num_dense_layers * model.intermediate_size + shared) / tp
    return model.num_hidden_layers * (6 * model.hidden_size + 4 * (queries + 2 * keys)) + 3 * widths


KERNELS = 10
"""Of a layer in vLLM: norm, QKV, rotary, cache write, attention, O, norm; then gate-up, activation, down, or router,
top-k and the experts, whose own kernels were measured together."""
LATENT_KERNELS, SHARED_KERNELS, ALL_REDUCES = 3, 3, 2
"""More of them: further projections of latent attention, shared experts, tensor parallelism."""


def kernels(model: ModelSpec, tp: int) -> int:
    """Kernels of all layers together, between which there are gaps."""
    shares = model.experts is not None and model.experts.shared_intermediate_size > 0
    more = LATENT_KERNELS * (model.latent_attention is not None) + ALL_REDUCES * (tp > 1)
    with_shared = model.experts.num_moe_layers if model.experts and shares else 0
    return model.num_hidden_layers * (KERNELS + more) + SHARED_KERNELS * with_shared


def weight_bytes(model: ModelSpec, part: str) -> float:
    """Bytes of a weight of `attention`, `mlp` or `expert`, scales included."""
    if model.quantization is None:
        return model.dtype_bytes
    bits: float = getattr(model.quantization, f"{part}_bits")
    return bits / 8
