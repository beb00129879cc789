"""Values of the axes that do not go together are refused, with what does and with the presets that have the value."""

from __future__ import annotations

import re
from typing import Any

import pytest
from refusals import all_in, refused

from sim.config import load_accelerator
from sim.specs import catalogue
from sim.specs.axes import OF_ITSELF, OLDER, TOGETHER
from sim.specs.engine import EngineSpec
from sim.specs.preset_file import preset_of
from sim.specs.presets import complete_engine

A100 = load_accelerator("a100-80gb-sxm")
PRESETS = catalogue.names("engines")
COMPOSITIONS = {preset: preset_of(preset).values["composition"] for preset in PRESETS}
PRESSURES = {preset: preset_of(preset).values["pressure"] for preset in PRESETS}
OTHERS: dict[str, Any] = {
    "admission_after_preemption": "others",
    "async_scheduling": True,
    "disable_aggressive_schedule": True,
    "enable_mixed_chunk": True,
    "enable_prefix_caching": True,
    "formation": "drain_then_fill",
    "gate": "first_chunk",
    "kv_allocation": "paged",
    "long_prefill_token_threshold": 100,
    "long_prefill_token_threshold_adaptive": True,
    "max_prefill_tokens": 1000,
    "order": "priority",
    "pad_to_longest": True,
    "preemption_mode": "swap",
    "prefill_schedule_interval": 2,
    "router_max_new_token_len": 10,
    "router_max_wait_tokens": 1,
    "router_token_ratio": 0.5,
    "running_order": "as_run",
    "schedule_conservativeness": 0.5,
}
"""Another value than the usual one."""


def refusal(preset: str, **values: Any) -> str:
    return refused(complete_engine, {"preset": preset, **values}, A100)


def as_yaml(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def check_the_presets_it_names(message: str, key: str, value: Any) -> None:
    """Every preset that a message says to choose takes the value."""
    named = re.search(rf"choose a preset that takes {key} {as_yaml(value)} \((.*?)\)", message)
    for preset in named[1].split(", ") if named else ():
        complete_engine({"preset": preset, key: value}, A100)


# ---- by composition --------------------------------------------------------------------------------------------------

BY_ITSELF = [
    (preset, key)
    for preset in PRESETS
    for key, (_, knowing) in OF_ITSELF.items()
    if COMPOSITIONS[preset] not in knowing
]


@pytest.mark.parametrize(("preset", "key"), BY_ITSELF)
def test_what_a_composition_does_not_know_is_refused(preset, key):
    message = refusal(preset, **{key: OTHERS[key]})
    usual = as_yaml(OF_ITSELF[key][0])
    given, composition = f"{key} {as_yaml(OTHERS[key])}", f"composition {COMPOSITIONS[preset]}"
    all_in(message, ["engine: ", given, composition, "not modelled", f"set {key} to {usual}"])
    check_the_presets_it_names(message, key, OTHERS[key])


PAIRS = [
    (preset, key, value, by_composition[COMPOSITIONS[preset]])
    for preset in PRESETS
    for key, by_composition in TOGETHER.items()
    if COMPOSITIONS[preset] in by_composition
    for value in sorted(
        {value for values in by_composition.values() for value in values} | {preset_of(preset).values[key]}
    )
    if value not in by_composition[COMPOSITIONS[preset]]
]


@pytest.mark.parametrize(("preset", "key", "value", "known"), PAIRS)
def test_what_no_framework_has_beside_a_composition_is_refused(preset, key, value, known):
    message = refusal(preset, **{key: value})
    remedy = f"set {key} to {' or '.join(map(as_yaml, known))}"
    all_in(message, [f"{key} {as_yaml(value)}", f"composition {COMPOSITIONS[preset]}", "not modelled", remedy])
    check_the_presets_it_names(message, key, value)


@pytest.mark.parametrize("key", OLDER)
@pytest.mark.parametrize("preset", ["vllm-v0-chunked", "sarathi"])
def test_mixed_batches_under_an_older_pressure_know_nothing_newer(preset, key):
    message = refusal(preset, **{key: OTHERS[key]})
    all_in(
        message,
        [f"{key} {as_yaml(OTHERS[key])}", f"pressure {PRESSURES[preset]}", f"set {key} to {OLDER[key]}".lower()],
    )
    check_the_presets_it_names(message, key, OTHERS[key])


@pytest.mark.parametrize(
    ("preset", "composition", "home"),
    [
        ("vllm-v1", "rounds", "lightllm"),
        ("vllm-v1", "prefill_until_full", "sglang or sglang-mixed"),
        ("vllm-v1", "prefill_first", "vllm-v0"),
        ("sglang", "decodes_first", "fastgen"),
        ("orca", "alternate", "sarathi-simple-chunking"),
        ("lightllm", "mixed", "vllm-v1"),
        ("fastgen", "mixed", "vllm-v1"),
    ],
)
def test_the_composition_of_another_framework_needs_the_rest_of_it(preset, composition, home):
    message = refusal(preset, composition=composition)
    all_in(message, [f"composition {composition} with", "choose preset ", home, "drop composition"])


# ---- the other pairs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "values", "fragments"),
    [
        ("vllm-v1", {"gate": "slot"}, ["gate slot with kv_allocation paged", "drop gate"]),
        ("orca", {"gate": "whole_prompt"}, ["gate whole_prompt with kv_allocation reserved", "drop gate"]),
        ("vllm-v1", {"formation_timeout_s": 1.5}, ["formation_timeout_s 1.5 needs formation drain_then_fill", "0"]),
        ("orca", {"release": "batch_end"}, ["release batch_end needs formation drain_then_fill", "on_finish"]),
        ("static", {"kv_allocation": "paged"}, ["release batch_end needs kv_allocation reserved", "on_finish"]),
        ("lightllm", {"block_size": 16}, ["block_size 16 with composition rounds", "set block_size to 1"]),
        ("static", {"kv_allocation": "paged_prompt"}, ["release batch_end needs kv_allocation reserved", "on_finish"]),
        ("static", {"async_scheduling": True}, ["async_scheduling", "release batch_end", "set async_scheduling to"]),
        ("vllm-v1", {"release": "next_call"}, ["release next_call with composition mixed", "on_finish", "fastgen"]),
        ("vllm-v1", {"preemption_mode": "swap"}, ["swap with pressure block_needed", "recompute", "vllm-v0"]),
        ("vllm-v1", {"requeue": "tail", "order": "priority"}, ["requeue tail with order priority", "head"]),
        (
            "vllm-v0-chunked",
            {"use_v2_block_manager": True, "gate": "first_chunk"},
            ["gate first_chunk with kv_allocation paged_prompt", "whole_prompt"],
        ),
        ("sarathi", {"enable_prefix_caching": True}, ["enable_prefix_caching true with pressure no_free", "vllm-v1"]),
        ("sarathi", {"async_scheduling": True}, ["async_scheduling true with pressure no_free", "vllm-v1"]),
        ("vllm-v1", {"running_order": "as_run"}, ["true with", "running_order as_run", "false"]),
        ("sglang", {"kv_pool_tokens": 9, "num_gpu_blocks": 8}, ["kv_pool_tokens 9 and num_gpu_blocks 8", "keep one"]),
        ("sglang", {"max_num_batched_tokens": 15, "block_size": 16}, ["15 (the tokens of a chunk)", "16", "raise"]),
        ("lightllm", {"long_prefill_token_threshold": 0}, ["threshold 0", "chunk", "enable_chunked_prefill to false"]),
    ],
)
def test_values_that_contradict_each_other_are_refused(preset, values, fragments):
    all_in(refusal(preset, **values), ["engine: ", *fragments])


@pytest.mark.parametrize(
    ("preset", "values"),
    [
        ("sglang", {"max_num_batched_tokens": 16, "block_size": 16}),
        ("sglang", {"max_num_batched_tokens": 15, "block_size": 16, "enable_chunked_prefill": False}),
        ("lightllm", {"long_prefill_token_threshold": 0, "disable_chunked_prefill": True}),
        ("vllm-v1", {"kv_allocation": "reserved"}),
        ("static", {"kv_allocation": "paged", "release": "on_finish"}),
        ("vllm-v0", {"preemption_mode": "swap"}),
        ("sglang", {"kv_pool_tokens": 8, "num_gpu_blocks": 8}),
        ("sglang", {"enable_mixed_chunk": True}),
    ],
)
def test_values_that_look_alike_and_go_together_are_not(preset, values):
    assert isinstance(complete_engine({"preset": preset, **values}, A100)[0], EngineSpec)


def test_a_clash_speaks_of_a_key_by_the_frameworks_name_as_well():
    message = refusal("lightllm", chunked_prefill_size=0)
    assert message.endswith("(chunked_prefill_size is long_prefill_token_threshold here)")


def test_speculation_stays_with_the_axes_of_vllm_v1():
    said = {"method": "ngram", "num_speculative_tokens": 3, "acceptance": {"kind": "constant", "rate": 0.6}}
    message = refusal("vllm-v0", speculation=said)
    all_in(message, ["speculation", "composition mixed", "vllm-v1", "prefill_first", "set speculation to null"])
