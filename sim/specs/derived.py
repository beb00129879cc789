"""Engine values that a framework works out from others, the model and the GPU, unless they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from sim.specs.accelerator import AcceleratorSpec
from sim.specs.engine import EngineSpec
from sim.specs.model import ModelSpec

MIB = 2**20
GRAPHED_SEQUENCES = ((160, 512, 512), (60, 256, 512), (35, 32, 160), (20, 48, 160), (0, 8, 8))
"""SGLang: on GPUs of at least so many GiB, the largest decode batch with a graph, for TP below 4 and for others."""

GRAPHED_TOKENS: tuple[int, ...] = (
    *range(4, 33, 4), *range(48, 257, 16), *range(288, 513, 32), *range(576, 1025, 64), *range(1280, 4097, 256),
)  # fmt: skip
"""SGLang: the tokens of its prefill graphs, up to a chunk; beyond these one every 512."""


def _budget_of_whole_prompts(engine: EngineSpec, model: ModelSpec, accelerator: AcceleratorSpec) -> int:
    """vLLM V0: a budget that the longest prompt fits into."""
    return max(engine.max_num_batched_tokens or 0, engine.max_model_len or model.max_position_embeddings)


def _mem_fraction_static(engine: EngineSpec, model: ModelSpec, accelerator: AcceleratorSpec) -> float:
    """SGLang 0.5.23: the share of weights and KV cache, all but what it reckons activations and CUDA graphs take.

    sglang/srt/arg_groups/memory_hook.py `handle_gpu_memory_settings`, `reserve_for_graph_mb`.
    """
    memory_mib, tp = accelerator.memory_bytes / MIB, engine.tensor_parallel_size
    chunk = engine.max_num_batched_tokens if engine.enable_chunked_prefill else None
    reserved_mib = 512 + 1.5 * max(chunk or engine.max_prefill_tokens or 0, 2048) + 128 * tp
    reserved_mib += 2 * _graphed_sequences(engine, memory_mib / 1024)
    reserved_mib += 8 * _prefill_graphs(chunk or 0) if model.latent_attention is None else 1536
    if memory_mib > 60 * 1024:
        reserved_mib = max(reserved_mib, 10 * 1024)
    return max(round(1 - reserved_mib / memory_mib, 3), 0.0)


def _graphed_sequences(engine: EngineSpec, memory_gib: float) -> int:
    few, many = next((few, many) for at_least, few, many in GRAPHED_SEQUENCES if memory_gib >= at_least)
    return min(few if engine.tensor_parallel_size < 4 else many, engine.max_num_seqs)


def _prefill_graphs(chunk_tokens: int) -> int:
    beyond = max(chunk_tokens - GRAPHED_TOKENS[-1], 0) // 512
    return sum(tokens <= chunk_tokens for tokens in GRAPHED_TOKENS) + beyond


class Rule(NamedTuple):
    """What works out the value of a key."""

    key: str
    value: Callable[[EngineSpec, ModelSpec, AcceleratorSpec], Any]


Derivation = Literal["budget_of_whole_prompts", "mem_fraction_static"]
DERIVATIONS: dict[Derivation, Rule] = {
    "budget_of_whole_prompts": Rule("max_num_batched_tokens", _budget_of_whole_prompts),
    "mem_fraction_static": Rule("gpu_memory_utilization", _mem_fraction_static),
}
