"""Dividing up accelerator memory: weights, activations, and what is left for the paged KV cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sim.errors import InputError
from sim.specs import catalogue
from sim.specs.accelerator import GIB, AcceleratorSpec
from sim.specs.base import Spec
from sim.specs.engine import EngineSpec
from sim.specs.model import ModelSpec

RUNTIME_BYTES = 800_000_000
"""Device context, captured graphs and workspaces. With the activation formula below this leaves 2,586 blocks of 16 on
the recorded RTX 4090 run of Llama-3.1-8B (vLLM 0.19.0), which reports 2,588."""

HYPOTHETICAL = "a hypothetical machine"
"""What a note says of more KV blocks than there is memory for."""
GB = 1e9
COMFORT_BYTES, COMFORTABLE_BUDGET = 3_000_000_000, 16384
"""What a remedy must leave over before it is recommended, and the largest default token budget."""


class MemoryPlan(Spec):
    """Bytes per GPU. `kv_cache_bytes` is what the engine's blocks take, whether given or derived.

    A block holds the keys and values of a draft model too, and the draft model has weights; null where there is none.
    """

    memory_bytes: int
    weight_bytes: int
    activation_bytes: int
    kv_cache_bytes: int
    kv_bytes_per_block: int
    draft_weight_bytes: int | None = None
    draft_kv_bytes_per_block: int | None = None


def plan_memory(
    engine: EngineSpec, model: ModelSpec, accelerator: AcceleratorSpec
) -> tuple[EngineSpec, MemoryPlan, list[str]]:
    """Fill in `num_gpu_blocks` and `max_model_len` where null, and `num_cpu_blocks` where requests are swapped.

    Returns the completed engine, the division of memory per GPU, and notes on what was decided. Raises InputError when
    the model does not fit, with what would, and likewise for a draft model beside it.
    """
    check_tensor_parallel(engine, model)
    own, draft = _shares(engine, model), NO_SHARE if engine.draft_model is None else _shares(engine, engine.draft_model)
    block_bytes, activations = own.block_bytes + draft.block_bytes, activation_bytes(engine, model)
    usable = int(accelerator.memory_bytes * engine.gpu_memory_utilization)
    available = usable - own.weight_bytes - draft.weight_bytes - activations
    least_blocks = 1 + engine.has_null_block
    if available < least_blocks * block_bytes:
        raise InputError(_does_not_fit(engine, model, accelerator, least_blocks * block_bytes - available))
    if engine.num_gpu_blocks is not None and engine.num_gpu_blocks < least_blocks:
        raise InputError(
            f"engine.num_gpu_blocks: got {engine.num_gpu_blocks}, must be at least {least_blocks}: "
            "the engine keeps one block for itself; raise it or drop the line to derive it from memory"
        )
    blocks = engine.num_gpu_blocks or available // block_bytes
    if engine.preemption_mode == "swap" and engine.num_cpu_blocks is None:
        engine = engine.model_copy(update={"num_cpu_blocks": int(engine.swap_space_gib * GIB) // block_bytes})
    engine, length_notes = _fit_length(engine.model_copy(update={"num_gpu_blocks": blocks}), model)
    plan = MemoryPlan(
        memory_bytes=accelerator.memory_bytes,
        weight_bytes=own.weight_bytes,
        activation_bytes=activations,
        kv_cache_bytes=blocks * block_bytes,
        kv_bytes_per_block=block_bytes,
        draft_weight_bytes=draft.weight_bytes or None,
        draft_kv_bytes_per_block=draft.block_bytes or None,
    )
    return engine, plan, [*_taken_and_left(engine, plan, accelerator, available), *length_notes]


class _Share(NamedTuple):
    """Bytes of a model on each GPU: its weights, and its keys and values in a block."""

    weight_bytes: int
    block_bytes: int


NO_SHARE = _Share(0, 0)


def _shares(engine: EngineSpec, model: ModelSpec) -> _Share:
    tp = engine.tensor_parallel_size
    return _Share(-(-model.weight_bytes // tp), engine.block_size * _kv_bytes_per_token_per_gpu(model, tp))


def _taken_and_left(
    engine: EngineSpec, plan: MemoryPlan, accelerator: AcceleratorSpec, available_bytes: int
) -> Iterator[str]:
    """Notes on a draft model's share, and on more blocks than there is memory for."""
    if engine.draft_model is not None and plan.draft_weight_bytes and plan.draft_kv_bytes_per_block:
        share = plan.draft_kv_bytes_per_block / plan.kv_bytes_per_block
        yield (
            f"the draft model {engine.draft_model.name} takes {plan.draft_weight_bytes / GB:.1f} GB of each GPU and "
            f"{share:.0%} of every KV block"
        )
    if plan.kv_cache_bytes > available_bytes:
        yield (
            f"num_gpu_blocks {engine.num_gpu_blocks} takes {plan.kv_cache_bytes / GB:.1f} GB, more than the "
            f"{available_bytes / GB:.1f} GB left on {accelerator.name}: {HYPOTHETICAL}"
        )


def activation_bytes(engine: EngineSpec, model: ModelSpec) -> int:
    """Peak bytes per GPU of one iteration: hidden states and MLP intermediates of a full token budget, plus logits.

    Per token 4 hidden vectors and 3 intermediate ones; per sequence of the batch one row of logits in fp32 and one in
    the model's type; plus RUNTIME_BYTES. An engine without a token budget is sized for one sequence of full length.
    None where `gpu_memory_utilization` leaves activations out: they take the rest (SGLang, LightLLM).
    """
    if engine.activations_apart:
        return 0
    tp = engine.tensor_parallel_size
    tokens = engine.max_num_batched_tokens or engine.max_model_len or model.max_position_embeddings
    per_token = (4 * model.hidden_size + 3 * model.active_intermediate_size // tp) * model.dtype_bytes
    rows = min(engine.max_num_seqs, tokens)
    logits = rows * (model.vocab_size // tp) * (4 + model.dtype_bytes)
    return tokens * per_token + logits + RUNTIME_BYTES


def _models(engine: EngineSpec, model: ModelSpec) -> list[ModelSpec]:
    """The model and, if one drafts for it, that one."""
    return [model] if engine.draft_model is None else [model, engine.draft_model]


def _kv_bytes_per_token_per_gpu(model: ModelSpec, tp: int) -> int:
    return model.kv_bytes_per_token // model.kv_shards(tp)


def _divides(tp: int, model: ModelSpec) -> bool:
    heads, kv_heads = model.num_attention_heads, model.num_key_value_heads
    return heads % tp == 0 and (kv_heads % tp == 0 or tp % kv_heads == 0)


def tensor_parallel_sizes(*models: ModelSpec) -> list[int]:
    """How many GPUs can share the models: sizes that divide their heads, and their KV heads or are divided by them."""
    most = min(model.num_attention_heads for model in models)
    return [size for size in range(1, most + 1) if all(_divides(size, model) for model in models)]


def check_tensor_parallel(engine: EngineSpec, model: ModelSpec) -> None:
    """Refuse a `tensor_parallel_size` that does not divide the model and its draft model, with those that do."""
    models = _models(engine, model)
    for one in models:
        if not _divides(engine.tensor_parallel_size, one):
            sizes = ", ".join(map(str, tensor_parallel_sizes(*models)))
            raise InputError(
                f"engine.tensor_parallel_size: {engine.tensor_parallel_size} does not divide the "
                f"{one.num_attention_heads} attention heads and {one.num_key_value_heads} KV heads of {one.name}; use "
                f"one of {sizes}"
            )


def _fit_length(engine: EngineSpec, model: ModelSpec) -> tuple[EngineSpec, list[str]]:
    """Default `max_model_len` to the model's own, or to what the KV memory holds if that is less."""
    holds, notes = engine.usable_blocks * engine.block_size, []
    if engine.max_model_len is not None and engine.max_model_len > model.max_position_embeddings:
        allowed = model.max_position_embeddings
        notes.append(
            f"max_model_len {engine.max_model_len} is beyond the {allowed} positions {model.name} was made for"
        )
    if engine.max_model_len is None:
        length = min(model.max_position_embeddings, holds)
        engine = engine.model_copy(update={"max_model_len": length})
        if length < model.max_position_embeddings:
            allowed = model.max_position_embeddings
            notes.append(f"max_model_len is {length}, all the KV memory holds ({model.name} allows {allowed})")
        if engine.kv_allocation == "reserved":
            slots = engine.usable_blocks // engine.slot_blocks
            notes.append(
                f"max_model_len defaults to {length}, and reserved memory has {slots} slots of that size; "
                "set it to the longest sequence you serve"
            )
    if engine.kv_allocation == "paged" and engine.max_model_len is not None and engine.max_model_len > holds:
        most = engine.longest_sequence_tokens
        notes.append(f"max_model_len {engine.max_model_len} exceeds the KV memory: a request may have {most} tokens")
    if engine.kv_allocation == "reserved" and engine.slot_blocks > engine.usable_blocks:
        raise InputError(
            f"engine.max_model_len: a reserved slot of {engine.max_model_len} tokens takes {engine.slot_blocks} blocks "
            f"but only {engine.usable_blocks} exist; lower max_model_len to at most {holds} or raise num_gpu_blocks"
        )
    return engine, notes


def _does_not_fit(engine: EngineSpec, model: ModelSpec, accelerator: AcceleratorSpec, short_bytes: int) -> str:
    """The message for a model that leaves no room for KV: how much is missing, and what would fit."""
    if engine.draft_model is not None:
        alone = engine.model_copy(update={"speculation": None})
        if _left_for_blocks(alone, model, accelerator) >= 0:
            return _draft_does_not_fit(engine, model, engine.draft_model, accelerator, short_bytes)
        engine, short_bytes = alone, -_left_for_blocks(alone, model, accelerator)
    tp = engine.tensor_parallel_size
    usable = accelerator.memory_bytes * engine.gpu_memory_utilization
    activations, budget = activation_bytes(engine, model) / GB, engine.max_num_batched_tokens
    sized_by = f"engine.max_num_batched_tokens {budget}" if budget else "engine.max_model_len"
    besides = f" and activations {activations:.1f} GB (sized by {sized_by})" if activations else ""
    return (
        f"model: {model.name} does not fit on {accelerator.name} with tensor_parallel_size {tp}: "
        f"{short_bytes / GB:.1f} GB short. Weights take {model.weight_bytes / tp / GB:.1f} GB{besides} of the "
        f"{usable / GB:.1f} GB that "
        f"engine.gpu_memory_utilization {engine.gpu_memory_utilization:g} allows; "
        f"{', or '.join(_remedies(engine, model, accelerator))}"
    )


def _left_for_blocks(engine: EngineSpec, model: ModelSpec, accelerator: AcceleratorSpec) -> int:
    """Bytes left for the cache of a model by itself, beyond the least number of blocks; negative where they lack."""
    own, least_blocks = _shares(engine, model), 1 + engine.has_null_block
    usable = int(accelerator.memory_bytes * engine.gpu_memory_utilization)
    return usable - own.weight_bytes - activation_bytes(engine, model) - least_blocks * own.block_bytes


def _draft_does_not_fit(
    engine: EngineSpec, model: ModelSpec, draft: ModelSpec, accelerator: AcceleratorSpec, short_bytes: int
) -> str:
    """The message for a draft model for which the model leaves no room."""
    tp = engine.tensor_parallel_size
    remedies = ["use a smaller draft model", "method ngram, which needs none", *_remedies(engine, model, accelerator)]
    return (
        f"engine.speculation.model: {draft.name} does not fit on {accelerator.name} with tensor_parallel_size {tp} "
        f"beside {model.name}: {short_bytes / GB:.1f} GB short. Its weights take "
        f"{draft.weight_bytes / tp / GB:.1f} GB; {', or '.join(remedies)}"
    )


def _remedies(engine: EngineSpec, model: ModelSpec, accelerator: AcceleratorSpec) -> list[str]:
    """What would make the model fit, each checked, the nearest first."""
    remedies, models = [], _models(engine, model)
    if _spare_bytes(engine.model_copy(update={"gpu_memory_utilization": 0.95}), model, accelerator.memory_bytes) > 0:
        remedies.append("raise engine.gpu_memory_utilization")
    if engine.max_num_batched_tokens and engine.max_num_batched_tokens > COMFORTABLE_BUDGET:
        if engine.enable_chunked_prefill:
            remedies.append("lower engine.max_num_batched_tokens")
        else:  # which holds the longest prompt
            remedies.append("set engine.max_model_len to the longest sequence you serve")
    for size in (engine.tensor_parallel_size * factor for factor in (2, 4, 8, 16)):
        split = engine.model_copy(update={"tensor_parallel_size": size})
        if all(_divides(size, one) for one in models) and _spare_bytes(split, model, accelerator.memory_bytes) > 0:
            remedies.append(f"set engine.tensor_parallel_size to {size}")
            break
    entries = [catalogue.entry("accelerators", name, "accelerator") for name in catalogue.names("accelerators")]
    able = [data for data in entries if all(one.dtype in data["peak_flop_per_s"] for one in models)]
    larger = [data for data in able if _spare_bytes(engine, model, data["memory_bytes"]) > 0]
    if larger:
        least_gb = min(data["memory_bytes"] for data in larger) / GB
        remedies.append(f"use a GPU with at least {least_gb:.0f} GB ({', '.join(data['name'] for data in larger)})")
    if model.quantization is None:
        byte_weights = model.total_parameters / engine.tensor_parallel_size
        remedies.append(f"one byte a weight (a checkpoint in fp8) would take {byte_weights / GB:.1f} GB")
    return remedies


def _spare_bytes(engine: EngineSpec, model: ModelSpec, memory_bytes: int) -> float:
    """What would be left beside a sequence of the full length and the larger defaults of larger GPUs."""
    tp, models = engine.tensor_parallel_size, _models(engine, model)
    needed = sum(one.weight_bytes for one in models) / tp + activation_bytes(engine, model)
    longest = engine.max_model_len or (model.max_position_embeddings if engine.kv_allocation == "reserved" else 1)
    token_bytes = sum(_kv_bytes_per_token_per_gpu(one, tp) for one in models)
    sequence = (longest + 2 * engine.block_size) * token_bytes
    return memory_bytes * engine.gpu_memory_utilization - needed - sequence - COMFORT_BYTES
