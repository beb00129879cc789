"""Which values of the axes go together: those that some framework has, and that are held against it.

A pair of values that stands nowhere here was never tested together, so an engine that asks for it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.specs.engine import EngineSpec

GATES = {
    "mixed": ("whole_prompt", "first_chunk", "slot"),
    "prefill_first": ("whole_prompt",),
    "alternate": ("whole_prompt",),
    "decodes_first": ("whole_prompt",),
    "prefill_until_full": ("expected_outputs",),
    "rounds": ("future_peak",),
}
"""By composition."""

PRESSURES = {
    "mixed": ("block_needed", "no_free_block", "no_free_block_for_decode"),
    "prefill_first": ("no_free_block", "block_needed"),
    "alternate": ("no_free_block_for_decode",),
    "decodes_first": ("nothing_can_run",),
    "prefill_until_full": ("decodes_do_not_fit",),
    "rounds": ("decodes_do_not_fit",),
}
"""By composition."""

OF_ITSELF: dict[str, tuple[object, tuple[str, ...]]] = {
    "order": ("fcfs", ("mixed",)),
    "formation": ("continuous", ("mixed",)),
    "prefill_schedule_interval": (1, ("mixed",)),
    "long_prefill_token_threshold": (0, ("mixed", "rounds")),
    "running_order": ("admission", ("mixed",)),
    "admission_after_preemption": ("nobody", ("mixed",)),
    "preemption_mode": ("recompute", ("mixed", "prefill_first")),
    "enable_mixed_chunk": (False, ("prefill_until_full",)),
    "enable_prefix_caching": (False, ("mixed",)),
    "async_scheduling": (False, ("mixed",)),
    "pad_to_longest": (False, ("mixed",)),
}
"""A value that every composition knows, and the compositions that know others too."""


def disagreement(engine: EngineSpec) -> str | None:
    """What does not go together in an engine, and what to do about it."""
    composition = engine.composition
    for key, by_composition in (("gate", GATES), ("pressure", PRESSURES)):
        value, known = getattr(engine, key), by_composition[composition]
        if value not in known:
            return f"{key} {value} with composition {composition}, which has {' or '.join(known)}; drop {key}"
    for key, (value, others) in OF_ITSELF.items():
        if getattr(engine, key) != value and composition not in others:
            return (
                f"{key} {_written(getattr(engine, key))} with composition {composition} is not modelled; set it to "
                f"{_written(value)} or choose a preset with composition {' or '.join(others)}"
            )
    return _of_blocks(engine)


def _of_blocks(engine: EngineSpec) -> str | None:
    """What blocks are taken by, and when they are given back."""
    takes_blocks_as_needed = engine.pressure == "block_needed" and engine.kv_allocation != "paged_prompt"
    for key in ("enable_prefix_caching", "async_scheduling"):
        if getattr(engine, key) and not (takes_blocks_as_needed and engine.running_order == "admission"):
            return (
                f"{key} true with pressure {engine.pressure} and kv_allocation {engine.kv_allocation} is not modelled; "
                f"set {key} to false or choose preset vllm-v1"
            )
    if engine.preemption_mode == "swap" and engine.pressure != "no_free_block":
        return "preemption_mode swap is vLLM V0's; set it to recompute or choose preset vllm-v0 or vllm-v0-chunked"
    if engine.release == "next_call" and engine.composition != "decodes_first":
        return "release next_call is FastGen's (composition decodes_first); use on_finish"
    if engine.requeue == "tail" and engine.order != "fcfs":
        return f"requeue tail with order {engine.order}, which has a place for everybody; use head"
    pool_tokens, blocks = engine.kv_pool_tokens, engine.num_gpu_blocks
    if pool_tokens is not None and blocks not in (None, pool_tokens // engine.block_size):
        return f"kv_pool_tokens {pool_tokens} and num_gpu_blocks {blocks} say different things; keep one"
    return _of_chunks(engine)


def _of_chunks(engine: EngineSpec) -> str | None:
    """Chunks that no prompt would get through."""
    budget, chunk = engine.max_num_batched_tokens, engine.long_prefill_token_threshold
    if budget is None or not engine.enable_chunked_prefill:
        return None
    if engine.composition == "prefill_until_full" and budget < engine.block_size:
        return f"max_num_batched_tokens {budget} (a chunk) is below a page of {engine.block_size} tokens; raise it"
    if engine.composition == "rounds" and not chunk:
        return "long_prefill_token_threshold 0 with composition rounds, whose chunks it is the size of; raise it"
    return None


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
