"""Formulas of LLM inference that the program uses, each a pure function: FLOPs, bytes, seconds.

`flops` counts operations (a multiply-add is 2), `flop_per_s` is a rate. Where a formula in common use is off by a token
or a factor, the docstring says so and the function is right.
"""

from __future__ import annotations

import math

FLOPS_PER_MULTIPLY_ADD = 2
TRAINING_OVER_FORWARD = 3
"""Forward 1, backward 2 (arXiv 2205.05198)."""

TOKENS_PER_WORD = 1.5
READING_WORDS_PER_MINUTE = {"silent reader": 250, "fast reader": 450, "speed reader": 700}


def quick_flops(tokens: float, parameters: float) -> float:
    """2·N·t: attention over the context left out."""
    return FLOPS_PER_MULTIPLY_ADD * parameters * tokens


def causal_pairs(tokens: float, window_tokens: float = math.inf) -> float:
    """Query-key pairs of one layer when token i of a sequence sees min(i, window) tokens, its own included.

    t(t + 1)/2 within the window w, and w more for every token beyond it.
    """
    inside = min(tokens, window_tokens)
    return inside * (inside + 1) / 2 + (tokens - inside) * inside


def mean_decode_context(prompt_tokens: float, steps: float, window_tokens: float = math.inf) -> float:
    """Mean tokens that `steps` decode steps after the prompt attend to: P + (1 + steps)/2 within the window.

    C output tokens take C - 1 steps, since the prefill yields the first; their mean context is P + C/2.
    """
    pairs = causal_pairs(prompt_tokens + steps, window_tokens) - causal_pairs(prompt_tokens, window_tokens)
    return pairs / steps


def training_seconds(flops: float, peak_flop_per_s: float, num_gpus: int, utilisation: float) -> float:
    """`utilisation` is MFU for the model's own FLOPs (6·N·D), HFU when recomputation is counted (8·N·D)."""
    return flops / (peak_flop_per_s * num_gpus * utilisation)


def latency_s(ttft_s: float, tpot_s: float, output_tokens: float) -> float:
    """TTFT + TPOT·(n - 1): the prefill already yields the first token, which TTFT + TPOT·n counts twice."""
    return ttft_s + tpot_s * (output_tokens - 1)


def reading_tpot_s(words_per_minute: float, tokens_per_word: float = TOKENS_PER_WORD) -> float:
    """The time per output token at which text appears as fast as it is read."""
    return 60 / (words_per_minute * tokens_per_word)


def kv_bytes_per_token(layers: int, kv_heads: int, head_dim: int, element_bytes: int) -> int:
    """2·L·KV heads·head_dim·bytes. head_dim need not be h / heads (Qwen3, Gemma, Mistral-Nemo)."""
    return 2 * layers * kv_heads * head_dim * element_bytes


def distinct_experts(experts: int, per_token: int, tokens: float) -> float:
    """Expected experts of a layer that a batch touches, chosen uniformly: E·(1 - (1 - k/E)^tokens)."""
    untouched = math.pow(1 - per_token / experts, tokens)
    return experts * (1 - untouched)


def pairs(new_tokens: int, cached_tokens: int) -> int:
    """Keys seen by the tokens of a causal chunk: token i of it sees those cached before, and i of its own."""
    return new_tokens * cached_tokens + new_tokens * (new_tokens + 1) // 2
