"""Formulas of the literature that the program does not compute by themselves, to hold its numbers against.

`flops` counts operations (a multiply-add is 2). b batch, s tokens, h hidden size, L layers. Where a formula in common
use is off by a token or a factor, the docstring says so and the function is right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sim import formulas

BACKWARD_OVER_FORWARD = 2
TRAINING_WITH_RECOMPUTATION_OVER_FORWARD = 4
"""Forward 1, backward 2, and once more forward where activations are recomputed (arXiv 2205.05198)."""
Q4_K_M_BYTES_PER_PARAMETER = 4.85 / 8
"""A storage format of llama.cpp, approximately."""

# ---- FLOPs and parameters of a transformer ---------------------------------------------------------------------------


def qkv_flops(b: int, s: int, h: int, kv_share: float = 1.0) -> float:
    """Projections of queries, keys and values: 2bsh²(1 + 2·kv_share); kv_share = KV heads / query heads, 1 for MHA."""
    return 2 * b * s * h * h * (1 + 2 * kv_share)


def attention_flops(b: int, s: int, h: int) -> float:
    """Scores QKᵀ and the weighted sum of values, every query against every key: 2bs²h each."""
    return 4 * b * s * s * h


def causal_attention_flops(b: int, s: int, h: int) -> float:
    """Scores and weighted sum over the tokens up to each query's own."""
    return 2 * b * s * (s + 1) * h


def output_projection_flops(b: int, s: int, h: int) -> float:
    """2bsh²"""
    return 2 * b * s * h * h


def mlp_flops(b: int, s: int, h: int) -> float:
    """Two products of h and 4h: 16bsh²."""
    return 16 * b * s * h * h


def block_flops(b: int, s: int, h: int) -> float:
    """A block with multi-head attention and a two-matrix MLP of 4h: 24bsh² + 4bs²h (non-causal)."""
    return qkv_flops(b, s, h) + attention_flops(b, s, h) + output_projection_flops(b, s, h) + mlp_flops(b, s, h)


def block_over_matrices(s: int, h: int) -> float:
    """Block FLOPs over those of its matrices alone: 1 + s/(6h); attention equals the matrices at s = 6h."""
    return 1 + s / (6 * h)


def block_parameters(layers: int, h: int) -> int:
    """12Lh²: attention and a two-matrix MLP of 4h, no embeddings."""
    return 12 * layers * h * h


def layer_flops(tokens: float, context: float, h: int, intermediate_size: int, kv_share: float) -> float:
    """A grouped-query layer with a gated MLP, `tokens` new tokens against `context` keys each.

    4(1 + kv_share)·t·h² + 4·t·context·h + 6·t·h·I
    """
    projections = 4 * (1 + kv_share) * tokens * h * h
    return projections + 4 * tokens * context * h + 6 * tokens * h * intermediate_size


# ---- rates and shares ------------------------------------------------------------------------------------------------


def tokens_per_s(ttft_s: float, tpot_s: float, output_tokens: int) -> float:
    """Output tokens of one request over its latency."""
    return output_tokens / formulas.latency_s(ttft_s, tpot_s, output_tokens)


def decode_rate(output_tokens: int, first_to_last_token_s: float) -> float:
    """Tokens per second after the first: n - 1 of them come between the first and the last."""
    return (output_tokens - 1) / first_to_last_token_s


def cacheless_break_even_tokens(bytes_per_parameter: float, peak_flop_per_s: float, bytes_per_s: float) -> float:
    """Up to this context, recomputing everything is no slower than decoding with a cache: w·peak/(2·bandwidth)."""
    return bytes_per_parameter * peak_flop_per_s / (2 * bytes_per_s)


def max_batch(
    memory_bytes: float, share: float, weight_bytes: float, activation_bytes: float, kv_bytes_per_sequence: float
) -> int:
    """Sequences whose KV cache fits into what weights and activations leave."""
    return math.floor((memory_bytes * share - weight_bytes - activation_bytes) / kv_bytes_per_sequence)


def static_batch_waste(output_tokens: list[int]) -> float:
    """Share of decode slots of a static batch that nobody needs: all wait for the longest."""
    return 1 - sum(output_tokens) / (len(output_tokens) * max(output_tokens))


# ---- beams, sampling, speculation, parallelism -----------------------------------------------------------------------


def beam_candidates(beams: int) -> int:
    """Continuations a step compares: every beam proposes its `beams` best tokens, and `beams` of all are kept."""
    return beams * beams


def beam_memory_factor(prompt_tokens: int, output_tokens: int, beams: int) -> float:
    """KV of `beams` beams over that of one, the prompt's pages being shared: (P + n·C)/(P + C)."""
    return (prompt_tokens + beams * output_tokens) / (prompt_tokens + output_tokens)


def token_probabilities(logits: Sequence[float], temperature: float) -> list[float]:
    """softmax(z/T). T also weighs tokens inside a top-k and the scores of beams; only the greedy choice ignores it."""
    weights = [math.exp((logit - max(logits)) / temperature) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def speculative_tokens_per_round(acceptance: float, drafts: int) -> float:
    """(1 - α^(k+1))/(1 - α): with all k drafts accepted the target yields one more."""
    if acceptance == 1:
        return drafts + 1
    return (1 - acceptance ** (drafts + 1)) / (1 - acceptance)


def speculative_round_s(draft_s: float, verify_s: float, drafts: int) -> float:
    """k·t_draft + t_verify: the drafts one after the other, then one pass of the target over all of them."""
    return drafts * draft_s + verify_s


def tensor_parallel_bytes_per_token(layers: int, h: int, element_bytes: int, size: int) -> float:
    """What a GPU sends for a token: two ring all-reduces a layer, 2(n-1)/n·h·bytes each."""
    return 2 * layers * 2 * (size - 1) / size * h * element_bytes


def pipeline_bytes_per_hop(h: int, element_bytes: int) -> int:
    """What a pipeline stage hands on for a token: one hidden state."""
    return h * element_bytes


def pipeline_efficiency(stages: int, micro_batches: int) -> float:
    """m/(m + p - 1): share of time the stages of a pipeline work."""
    return micro_batches / (micro_batches + stages - 1)
