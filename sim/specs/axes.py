"""Which values of the axes go together: those that some framework has, and that are held against it.

A pair of values that stands nowhere here was never tested together, so an engine that asks for it is refused. A rule of
the user's own goes with all that a rule in its place may go with; what becomes of it is for its author to see.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

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
    "block_size": {"rounds": (1,)},
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


class Clash(NamedTuple):
    """What does not go together, what to do about it, and the value for which another preset might be chosen."""

    what: str
    remedy: str
    key: str | None = None
    value: object = None


def disagreement(engine: EngineSpec) -> str | None:
    """What does not go together in an engine, and what to do about it."""
    clash = _clash(engine)
    if clash is None:
        return None
    able = [] if clash.key is None else _presets_with(engine, clash.key, clash.value)
    choice = f", or choose a preset that takes {clash.key} {_written(clash.value)} ({', '.join(able)})" if able else ""
    return f"{clash.what}; {clash.remedy}{choice}"


def _clash(engine: EngineSpec) -> Clash | None:
    own = _of_own_rules(engine) or _of_static_batches(engine)
    composed = None if "composition" in engine.own_rules else _of_composition(engine)
    return own or composed or _of_reservation(engine) or _of_blocks(engine)


def _of_own_rules(engine: EngineSpec) -> Clash | None:
    """Rules that nobody would ask."""
    own = engine.own_rules
    if "composition" in own:
        if engine.speculation is None:
            return None
        what = f"speculation with composition {own['composition']}: drafts are verified by one of their own"
        return Clash(what, "set speculation to null or drop composition")
    for axis in ("gate", "formation", "kv_allocation"):
        if axis in own and engine.composition not in BY_QUEUE:
            return Clash(
                f"{axis} {own[axis]} would never be asked: composition {engine.composition} lets requests in by a rule "
                "of its own",
                f"choose a preset with composition {_or(BY_QUEUE)} (vllm-v1, vllm-v0, sarathi-simple-chunking …), or "
                "give a composition of your own as well",
            )
    return None


def _of_static_batches(engine: EngineSpec) -> Clash | None:
    """What only a batch that begins and ends together can have."""
    timeout_s, is_static = engine.formation_timeout_s, engine.formation != "continuous"
    if timeout_s > 0 and not is_static:
        what = f"formation_timeout_s {timeout_s:g} needs formation drain_then_fill (preset static)"
        return Clash(what, "set it to 0 or change the preset")
    if engine.release != "batch_end":
        return None
    if not is_static:
        return Clash("release batch_end needs formation drain_then_fill (preset static)", "use on_finish")
    if engine.kv_allocation != "reserved":
        return Clash("release batch_end needs kv_allocation reserved, whose slots it holds", "use on_finish")
    if engine.async_scheduling:
        return Clash(
            "async_scheduling decides the next iteration ahead, which release batch_end (preset static) does not "
            "allow: it keeps every slot until the last answer",
            "set async_scheduling to false or use on_finish",
        )
    return None


def _of_composition(engine: EngineSpec) -> Clash | None:
    composition = engine.composition
    for key, by_composition in TOGETHER.items():
        known = by_composition.get(composition)
        if known is not None and getattr(engine, key) not in known and key not in engine.own_rules:
            return _of_another_framework(engine, key) or _not_modelled(engine, key, f"composition {composition}", known)
    for key, (usual, compositions) in OF_ITSELF.items():
        if getattr(engine, key) != usual and composition not in compositions:
            return _not_modelled(engine, key, f"composition {composition}", (usual,))
    if composition == "mixed" and engine.pressure != "block_needed":
        for key, usual in OLDER.items():
            if getattr(engine, key) != usual and key not in engine.own_rules:
                return _not_modelled(engine, key, f"pressure {engine.pressure}", (usual,))
    return _of_chunks(engine)


def _of_another_framework(engine: EngineSpec, key: str) -> Clash | None:
    """A composition that is not the preset's, beside values that are."""
    homes = [
        name for name in catalogue.names("engines") if _shipped(name)["values"]["composition"] == engine.composition
    ]
    if engine.preset in homes or engine.preset not in catalogue.names("engines"):
        return None
    what = f"composition {engine.composition} with {key} {_written(getattr(engine, key))} is not modelled"
    return Clash(what, f"choose preset {' or '.join(homes)}, which has all that goes with it, or drop composition")


def _of_reservation(engine: EngineSpec) -> Clash | None:
    """What a reservation at admission leaves to decide, and a place in the queue for those who come back."""
    if (engine.gate == "slot") != (engine.kv_allocation == "reserved"):
        return Clash(
            f"gate {engine.gate} with kv_allocation {engine.kv_allocation}: reserved memory is admitted by slot and "
            "only reserved memory is",
            "drop gate",
        )
    order = engine.own_rules.get("order", engine.order)
    if engine.requeue == "tail" and order != "fcfs":
        return Clash(f"requeue tail with order {order}, which has a place for everybody", "set requeue to head")
    if engine.gate == "first_chunk" and engine.kv_allocation == "paged_prompt" and "gate" not in engine.own_rules:
        what = "gate first_chunk with kv_allocation paged_prompt, which takes the blocks of a whole prompt at once"
        return Clash(what, "set gate to whole_prompt or kv_allocation to paged")
    return None


def _of_blocks(engine: EngineSpec) -> Clash | None:
    """What blocks are taken by, and when they are given back."""
    takes_blocks_as_needed = engine.pressure == "block_needed" and engine.kv_allocation != "paged_prompt"
    others = f"pressure {engine.pressure}, kv_allocation {engine.kv_allocation}, running_order {engine.running_order}"
    for key in ("enable_prefix_caching", "async_scheduling"):
        if getattr(engine, key) and not (takes_blocks_as_needed and engine.running_order == "admission"):
            return _not_modelled(engine, key, others, (False,))
    if engine.preemption_mode == "swap" and engine.pressure != "no_free_block":
        return _not_modelled(engine, "preemption_mode", f"pressure {engine.pressure}", ("recompute",))
    if engine.release == "next_call" and engine.composition != "decodes_first":
        return _not_modelled(engine, "release", f"composition {engine.composition}", ("on_finish",))
    pool, blocks = engine.kv_pool_tokens, engine.num_gpu_blocks
    if pool is not None and blocks is not None and blocks != pool // engine.block_size:
        return Clash(f"kv_pool_tokens {pool} and num_gpu_blocks {blocks} both say how much memory there is", "keep one")
    return None


def _of_chunks(engine: EngineSpec) -> Clash | None:
    """Chunks that no prompt would get through."""
    budget, chunk = engine.max_num_batched_tokens, engine.long_prefill_token_threshold
    if not engine.enable_chunked_prefill:
        return None
    if engine.composition == "prefill_until_full" and budget is not None and budget < engine.block_size:
        return Clash(
            f"max_num_batched_tokens {budget} (the tokens of a chunk) with block_size {engine.block_size}: a chunk is "
            "of whole blocks",
            "raise the one or lower the other",
        )
    if engine.composition == "rounds" and not chunk:
        return Clash(
            "long_prefill_token_threshold 0 (the tokens of a chunk) with composition rounds: no prompt would come to "
            "its end",
            "raise it or set enable_chunked_prefill to false",
        )
    return None


def _not_modelled(engine: EngineSpec, key: str, beside: str, known: tuple[object, ...]) -> Clash:
    """A value that goes with none of what the engine has besides."""
    value = getattr(engine, key)
    return Clash(f"{key} {_written(value)} with {beside} is not modelled", f"set {key} to {_or(known)}", key, value)


def _presets_with(engine: EngineSpec, key: str, value: object) -> list[str]:
    """The presets that ship in which a value goes with all the rest."""
    fields = type(engine).model_fields
    usual = {
        name: field.get_default(call_default_factory=True) for name, field in fields.items() if not field.is_required()
    }
    able = []
    for name in catalogue.names("engines"):
        entry = _shipped(name)
        rows = entry.get("by_memory", [{"values": {}}])
        values = usual | {"preset": name} | rows[0]["values"] | entry["values"] | {key: value}
        if _clash(engine.model_copy(update=values)) is None:
            able.append(name)
    family = engine.preset.partition("-")[0]
    return sorted(able, key=lambda name: (not name.startswith(engine.preset), not name.startswith(family)))


@cache
def _shipped(preset: str) -> dict[str, Any]:
    return catalogue.entry("engines", preset, "engine.preset")


def _or(values: tuple[object, ...]) -> str:
    return " or ".join(map(_written, values))


def _written(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
