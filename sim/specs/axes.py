"""Which values of the axes go together: those that some framework has, and that are held against it.

A pair of values that stands nowhere here was never tested together, so an engine that asks for it is refused. A rule of
the user's own goes with all that a rule in its place may go with; what becomes of it is for its author to see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.specs import catalogue

if TYPE_CHECKING:
    from sim.specs.engine import EngineSpec

BY_QUEUE = ("mixed", "prefill_first", "alternate")
"""Compositions that let requests in by gate, formation and reservation; others have a way of their own."""

TOGETHER: dict[str, dict[str, tuple[object, ...]]] = {
    "gate": {
        "mixed": ("whole_prompt", "first_chunk", "slot"),
        "prefill_first": ("whole_prompt",),
        "alternate": ("whole_prompt",),
        "decodes_first": ("whole_prompt",),
        "prefill_until_full": ("expected_outputs",),
        "rounds": ("future_peak",),
    },
    "enable_chunked_prefill": {"prefill_first": (False,), "alternate": (True,), "decodes_first": (True,)},
    "kv_allocation": {
        "prefill_first": ("paged_prompt",),
        "alternate": ("paged_prompt",),
        "decodes_first": ("paged",),
        "prefill_until_full": ("paged",),
        "rounds": ("paged",),
    },
    "pressure": {
        "mixed": ("block_needed", "no_free_block", "no_free_block_for_decode"),
        "prefill_first": ("no_free_block", "block_needed"),
        "alternate": ("no_free_block_for_decode",),
        "decodes_first": ("nothing_can_run",),
        "prefill_until_full": ("decodes_do_not_fit",),
        "rounds": ("decodes_do_not_fit",),
    },
}
"""Values by composition; one that is not named knows all."""

OF_ITSELF: dict[str, tuple[object, tuple[str, ...]]] = {
    "order": ("fcfs", ("mixed",)),
    "formation": ("continuous", ("mixed",)),
    "prefill_schedule_interval": (1, ("mixed",)),
    "long_prefill_token_threshold": (0, ("mixed", "rounds")),
    "long_prefill_token_threshold_adaptive": (False, ("mixed",)),
    "running_order": ("admission", ("mixed",)),
    "admission_after_preemption": ("nobody", ("mixed",)),
    "preemption_mode": ("recompute", ("mixed", "prefill_first")),
    "enable_mixed_chunk": (False, ("prefill_until_full",)),
    "max_prefill_tokens": (None, ("prefill_until_full",)),
    "schedule_conservativeness": (1.0, ("prefill_until_full",)),
    "router_token_ratio": (0.0, ("rounds",)),
    "router_max_new_token_len": (1024, ("rounds",)),
    "router_max_wait_tokens": (6, ("rounds",)),
    "disable_aggressive_schedule": (False, ("rounds",)),
    "enable_prefix_caching": (False, ("mixed",)),
    "async_scheduling": (False, ("mixed",)),
    "pad_to_longest": (False, ("mixed",)),
}
"""A value that every composition knows, and the compositions that know others too."""

OLDER: dict[str, object] = {
    "order": "fcfs",
    "gate": "whole_prompt",
    "formation": "continuous",
    "prefill_schedule_interval": 1,
    "long_prefill_token_threshold": 0,
    "long_prefill_token_threshold_adaptive": False,
    "kv_allocation": "paged_prompt",
    "pad_to_longest": False,
}
"""What mixed batches of another pressure than block_needed go with: those of vLLM V0 and of Sarathi."""


def disagreement(engine: EngineSpec) -> str | None:
    """What does not go together in an engine, and what to do about it."""
    own = _of_own_rules(engine)
    composed = None if "composition" in engine.own_rules else _of_composition(engine)
    return own or composed or _of_order(engine) or _of_blocks(engine)


def _of_own_rules(engine: EngineSpec) -> str | None:
    """Rules that nobody would ask."""
    own = engine.own_rules
    if "composition" in own:
        if engine.speculation is not None:
            return (
                f"speculation with composition {own['composition']}: drafts are verified by a composition of their own; "
                "set speculation to null or drop composition"
            )
        return None
    for axis in ("gate", "formation", "kv_allocation"):
        if axis in own and engine.composition not in BY_QUEUE:
            return (
                f"{axis} {own[axis]} would never be asked: composition {engine.composition} lets requests "
                f"in by a rule of its own; {_choose('composition', BY_QUEUE)} or give a composition of your own as well"
            )
    return None


def _of_composition(engine: EngineSpec) -> str | None:
    composition = engine.composition
    for key, by_composition in TOGETHER.items():
        value, known = getattr(engine, key), by_composition.get(composition)
        if known is not None and value not in known and key not in engine.own_rules:
            return (
                f"{key} {_written(value)} with composition {composition} is not modelled; set it to {_or(known)}, drop "
                f"composition if you gave it, or {_choose(key, (value,))}"
            )
    for key, (usual, compositions) in OF_ITSELF.items():
        if getattr(engine, key) != usual and composition not in compositions:
            return (
                f"{key} {_written(getattr(engine, key))} with composition {composition} is not modelled; set it to "
                f"{_written(usual)} or {_choose('composition', compositions)}"
            )
    return _of_mixed_batches(engine) or _of_chunks(engine)


def _of_mixed_batches(engine: EngineSpec) -> str | None:
    if engine.composition != "mixed" or engine.pressure == "block_needed":
        return None
    for key, known in OLDER.items():
        if getattr(engine, key) != known and key not in engine.own_rules:
            return (
                f"{key} {_written(getattr(engine, key))} with pressure {engine.pressure} is not modelled; set it to "
                f"{_written(known)} or {_choose('pressure', ('block_needed',))}"
            )
    return None


def _of_order(engine: EngineSpec) -> str | None:
    """A place in the queue for those who come back."""
    order = engine.own_rules.get("order", engine.order)
    if engine.requeue == "tail" and order != "fcfs":
        return f"requeue tail with order {order}, which has a place for everybody; set requeue to head"
    return None


def _of_blocks(engine: EngineSpec) -> str | None:
    """What blocks are taken by, and when they are given back."""
    takes_blocks_as_needed = engine.pressure == "block_needed" and engine.kv_allocation != "paged_prompt"
    for key in ("enable_prefix_caching", "async_scheduling"):
        if getattr(engine, key) and not (takes_blocks_as_needed and engine.running_order == "admission"):
            return (
                f"{key} true with pressure {engine.pressure}, kv_allocation {engine.kv_allocation} and running_order "
                f"{engine.running_order} is not modelled; set {key} to false or choose preset vllm-v1"
            )
    if engine.gate == "first_chunk" and engine.kv_allocation == "paged_prompt" and "gate" not in engine.own_rules:
        return (
            "gate first_chunk with kv_allocation paged_prompt, which takes the blocks of a whole prompt at once; set "
            "gate to whole_prompt or kv_allocation to paged"
        )
    if engine.preemption_mode == "swap" and engine.pressure != "no_free_block":
        return (
            f"preemption_mode swap with pressure {engine.pressure} is not modelled: it is vLLM V0's; set it to "
            "recompute or choose preset vllm-v0 or vllm-v0-chunked"
        )
    if engine.release == "next_call" and engine.composition != "decodes_first":
        return (
            f"release next_call with composition {engine.composition} is not modelled; set it to on_finish or choose "
            "preset fastgen"
        )
    pool, blocks = engine.kv_pool_tokens, engine.num_gpu_blocks
    if pool is not None and blocks is not None and blocks != pool // engine.block_size:
        return f"kv_pool_tokens {pool} and num_gpu_blocks {blocks} both say how much memory there is; keep one"
    return None


def _of_chunks(engine: EngineSpec) -> str | None:
    """Chunks that no prompt would get through."""
    budget, chunk = engine.max_num_batched_tokens, engine.long_prefill_token_threshold
    if not engine.enable_chunked_prefill:
        return None
    if engine.composition == "prefill_until_full" and budget is not None and budget < engine.block_size:
        return (
            f"max_num_batched_tokens {budget} (the tokens of a chunk) with block_size {engine.block_size}: a chunk is "
            "of whole blocks; raise the one or lower the other"
        )
    if engine.composition == "rounds" and not chunk:
        return (
            "long_prefill_token_threshold 0 (the tokens of a chunk) with composition rounds: no prompt would come to "
            "its end; raise it or set enable_chunked_prefill to false"
        )
    return None


def _choose(key: str, values: tuple[object, ...]) -> str:
    """The presets that ship with one of these values."""
    entries = {name: catalogue.entry("engines", name, "engine.preset")["values"] for name in catalogue.names("engines")}
    having = [name for name, entry in entries.items() if entry.get(key) in values]
    return f"choose a preset with {key} {_or(values)}" + (f" ({', '.join(having)})" if having else "")


def _or(values: tuple[object, ...]) -> str:
    return " or ".join(map(_written, values))


def _written(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
