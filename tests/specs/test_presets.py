"""Engine presets: each is complete on any GPU, takes its framework's own arguments, and refuses all others in words."""

from __future__ import annotations

from typing import Any

import pytest
from refusals import all_in, experiment_with, fixed, refused, refused_engine

import sim
from sim.config import load_accelerator
from sim.specs import catalogue
from sim.specs.engine import EngineSpec
from sim.specs.preset_file import preset_of
from sim.specs.presets import complete_engine

PRESETS = catalogue.names("engines")
A100 = load_accelerator("a100-80gb-sxm")

# ---- complete --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accelerator", ["rtx-4090", "h100-sxm"])  # 24 and 80 GiB
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_alone_serves_to_the_end_and_keeps_its_books(preset, accelerator):
    result = sim.run(experiment_with(preset, accelerator=accelerator))
    assert result.summary["completed"] == 40
    assert result.summary["sim"]["audit"]["violations"] == 0


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_serves_to_the_end_when_memory_is_short(preset):
    tokens = {"max_model_len": 256, "num_gpu_blocks": 480 // preset_of(preset).values["block_size"]}
    traffic = {"arrivals": {"process": "all_at_once"}, "lengths": {"prompt": fixed(100), "output": fixed(60)}}
    result = sim.run(experiment_with(preset, tokens, **traffic))
    assert result.summary["completed"] == 40
    assert result.summary["sim"]["kv_cache"]["peak_used_fraction"] > 0.5


@pytest.mark.parametrize(
    ("preset", "accelerator", "seats", "budget"),
    [
        ("vllm-v1", "rtx-4090", 256, 2048),
        ("vllm-v1", "h100-sxm", 1024, 8192),
        ("vllm-v1", "a100-80gb-sxm", 256, 2048),  # which vLLM excepts
        ("vllm-v1", "b200-sxm", 1024, 16384),
        ("sglang", "t4", 2048, 2048),
        ("sglang", "rtx-4090", 2048, 4096),
        ("sglang", "h100-sxm", 2048, 8192),
        ("sglang", "b200-sxm", 2048, 16384),
        ("vllm-v0", "rtx-4090", 256, 2048),
        ("orca", "h100-sxm", 256, None),
    ],
)
def test_limits_follow_the_memory_of_the_gpu_where_the_framework_has_it_so(preset, accelerator, seats, budget):
    engine, _ = complete_engine({"preset": preset}, load_accelerator(accelerator))
    assert (engine.max_num_seqs, engine.max_num_batched_tokens) == (seats, budget)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_resolved_experiment_loads_to_itself(preset):
    resolved = experiment_with(preset).resolved()
    again = sim.experiment_from(resolved)
    assert again.resolved() == resolved
    assert not [note for note in again.notes if "no effect" in note]


def test_memory_given_in_tokens_loads_to_itself_too():
    experiment = experiment_with("sglang", {"max_total_num_tokens": 5000, "page_size": 16})
    assert experiment.engine.num_gpu_blocks == 312
    assert sim.experiment_from(experiment.resolved()).engine == experiment.engine


@pytest.mark.parametrize("space_gib", [0.5, 4])
def test_swap_space_is_counted_in_blocks(space_gib):
    engine = experiment_with("vllm-v0", {"preemption_mode": "swap", "swap_space": space_gib}).engine
    assert engine.num_cpu_blocks == space_gib * 2**30 // (16 * 131_072)


# ---- arguments -------------------------------------------------------------------------------------------------------

OTHER_VALUES: dict[str, Any] = {
    "block_size": 8,
    "gpu_memory_utilization": 0.71,
    "kv_pool_tokens": 77_777,
    "long_prefill_token_threshold": 77,
    "max_concurrent_requests": 55,
    "max_model_len": 700,
    "max_num_batched_tokens": 9000,
    "max_num_seqs": 33,
    "num_gpu_blocks": 7777,
    "order": "priority",
    "swap_space_gib": 1.5,
    "tensor_parallel_size": 2,
}
"""Of keys that are not choices, a value that no preset has by itself."""

CASES = [
    (preset, argument, theirs, key, ours)
    for preset in PRESETS
    for argument, target in preset_of(preset).arguments.items()
    for key, meaning in (target.items() if isinstance(target, dict) else [(target, None)])
    for theirs, ours in (meaning.items() if meaning else [(OTHER_VALUES.get(key), OTHER_VALUES.get(key))])
    if key != "speculation"
]


@pytest.mark.parametrize(("preset", "argument", "theirs", "key", "ours"), CASES)
def test_an_argument_of_the_framework_lands_in_the_key_it_means(preset, argument, theirs, key, ours):
    pages = {"kv_allocation": "paged", "release": "on_finish"} if key == "gate" else {}  # slots leave no choice
    engine, notes = complete_engine({"preset": preset, argument: theirs, **pages}, A100)
    assert getattr(engine, key) == ours
    assert notes == []


@pytest.mark.parametrize("preset", ["sglang", "sglang-mixed"])
@pytest.mark.parametrize("off", [-1, None])
def test_sglangs_chunk_size_switches_chunks_off(preset, off):
    engine = experiment_with(preset, {"chunked_prefill_size": off}).engine
    assert not engine.enable_chunked_prefill
    assert not engine.decodes_ride_along, "SGLang mixes chunks alone"
    message = refused_engine(preset, chunked_prefill_size=off, enable_chunked_prefill=True)
    all_in(message, ["engine.chunked_prefill_size: sets enable_chunked_prefill", "keep one"])


def test_vllms_speculative_config_lands_in_speculation():
    said = {"method": "ngram", "num_speculative_tokens": 3, "acceptance": {"kind": "constant", "rate": 0.6}}
    engine = experiment_with("vllm-v1", {"speculative_config": said}).engine
    assert engine.num_speculative_tokens == 3


ONLY = [(preset, argument, value) for preset in PRESETS for argument, value in preset_of(preset).only.items()]


@pytest.mark.parametrize(("preset", "argument", "value"), ONLY)
def test_an_argument_of_which_one_value_is_modelled_may_say_that_and_nothing_else(preset, argument, value):
    assert complete_engine({"preset": preset, argument: value}, A100) == complete_engine({"preset": preset}, A100)
    others = [None, "x", [], {}, 3, *([0, 1] if isinstance(value, bool) else [True, False])]
    for other in others:
        message = refused(complete_engine, {"preset": preset, argument: other}, A100)
        all_in(message, [f"engine.{argument}: got {other!r}", f"of {preset} only", str(value).lower(), "drop it"])


@pytest.mark.parametrize("preset", PRESETS)
def test_another_frameworks_argument_is_refused_with_whose_it_is_and_what_it_is_called_here(preset):
    known = {*preset_of(preset).argument_names, *EngineSpec.model_fields}
    for owner in PRESETS:
        for argument in set(preset_of(owner).argument_names) - known:
            message = refused(complete_engine, {"preset": preset, argument: 1}, A100)
            key = preset_of(owner).owner_of(argument)
            all_in(message, [f"engine.{argument}: {preset} has no such argument", owner, key or "drop it"])


def test_an_argument_that_two_frameworks_mean_differently_is_told_as_both():
    message = refused(complete_engine, {"chunked_prefill_size": 512}, A100)
    all_in(message, ["long_prefill_token_threshold (as in lightllm)", "max_num_batched_tokens (as in sglang"])


@pytest.mark.parametrize(
    ("preset", "argument", "nearest"),
    [
        ("vllm-v1", "max_num_seq", "max_num_seqs"),
        ("vllm-v1", "num_gpu_block_override", "num_gpu_blocks_override"),
        ("sglang", "max_running_request", "max_running_requests"),
        ("sglang", "disable_radix", "disable_radix_cache"),
        ("fastgen", "max_ragged_batchsize", "max_ragged_batch_size"),
        ("lightllm", "mem_frac", "mem_fraction"),
    ],
)
def test_an_unknown_argument_is_refused_with_the_nearest_of_this_framework(preset, argument, nearest):
    message = refused(complete_engine, {"preset": preset, argument: 1}, A100)
    all_in(message, [f"engine.{argument}: unknown key; did you mean '{nearest}'", "known: "])


@pytest.mark.parametrize(("preset", "argument", "theirs", "key", "ours"), CASES)
def test_a_key_given_twice_is_refused_under_the_frameworks_name(preset, argument, theirs, key, ours):
    if argument != key:
        message = refused(complete_engine, {"preset": preset, key: ours, argument: theirs}, A100)
        all_in(message, [f"engine.{argument}: sets {key}", f"engine.{key} is also given", "keep one"])


@pytest.mark.parametrize(
    ("preset", "values", "fragments"),
    [
        ("sglang", {"max_running_requests": 0}, ["engine.max_running_requests: got 0", "equal to 1", "correct"]),
        ("sglang", {"mem_fraction_static": 88}, ["engine.mem_fraction_static: got 88", "1", "correct"]),
        ("fastgen", {"max_ragged_batch_size": "all"}, ["engine.max_ragged_batch_size: got 'all'", "whole number"]),
        (
            "lightllm",
            {"disable_chunked_prefill": 1},
            ["engine.disable_chunked_prefill: got 1", "true or false", "drop"],
        ),
        ("lightllm", {"disable_chunked_prefill": None}, ["engine.disable_chunked_prefill: got None", "true or false"]),
        ("vllm-v0", {"preemption_mode": "kill"}, ["engine.preemption_mode: got 'kill'", "null or recompute or swap"]),
        ("vllm-v1", {"scheduling_policy": None}, ["engine.scheduling_policy: got None", "fcfs", "priority"]),
        (
            "sglang",
            {"max_total_tokens": 5, "page_size": 16},
            ["engine.max_total_tokens: got 5", "block of 16", "raise"],
        ),
        ("static", {"max_num_seqs": None}, ["engine.max_num_seqs: got None", "whole number"]),
    ],
)
def test_a_bad_value_is_refused_under_the_name_it_was_given(preset, values, fragments):
    all_in(refused(complete_engine, {"preset": preset, **values}, A100), fragments)


@pytest.mark.parametrize("name", [None, 3, True, ["vllm-v1"], {}])
def test_a_preset_that_is_no_name_is_refused(name):
    all_in(refused(complete_engine, {"preset": name}, A100), ["engine.preset: got", "a name or a path", "vllm-v1"])


def test_a_value_without_effect_is_noted_and_the_presets_stays():
    engine, notes = complete_engine({"preset": "sglang", "watermark": 0.5}, A100)
    assert notes == ["engine.watermark 0.5 has no effect under preset sglang: SGLang keeps no memory back"]
    assert engine.watermark == 0


# ---- budgets that a prompt must get through --------------------------------------------------------------------------


def test_a_budget_below_the_longest_prompt_is_refused_where_prompts_are_not_cut():
    message = refused_engine("vllm-v0", max_num_batched_tokens=1000)
    all_in(message, ["engine.max_num_batched_tokens: 1000", "max_model_len 2048", "raise it to that"])


def test_without_a_budget_of_its_own_vllm_v0_has_room_for_the_longest_prompt():
    assert experiment_with("vllm-v0", {"max_model_len": 9000}).engine.max_num_batched_tokens == 9000
    assert experiment_with("vllm-v0", {"max_model_len": 900}).engine.max_num_batched_tokens == 2048


def test_a_chunk_above_the_batch_is_refused_under_lightllm():
    message = refused_engine("lightllm", chunked_prefill_size=1500, batch_max_tokens=1499)
    all_in(message, ["engine.max_num_batched_tokens: 1499", "1500 tokens", "raise it to that, or lower the chunk"])
    assert experiment_with("lightllm", {"chunked_prefill_size": 1500, "batch_max_tokens": 1500})


def test_a_request_that_lightllms_gate_would_never_let_in_is_refused_and_not_waited_for():
    experiment = experiment_with("lightllm", {"num_gpu_blocks": 4000}, max_new_tokens=1_000_000)
    all_in(refused(sim.run, experiment), ["request 0", "up to 1000000", "4000 tokens", "raise"])


@pytest.mark.parametrize("preset", ["vllm-v0", "vllm-v0-chunked", "sarathi", "sarathi-simple-chunking"])
def test_a_sequence_that_fills_all_memory_but_the_block_that_must_stay_free_still_finishes(preset):
    memory = {"num_gpu_blocks": 30, "max_model_len": 480}
    longest = experiment_with(preset, memory).engine.longest_sequence_tokens
    assert longest == 29 * 16
    lengths = {"prompt": fixed(longest - 20), "output": fixed(20)}
    assert sim.run(experiment_with(preset, memory, lengths=lengths, num_requests=3)).summary["completed"] == 3


def test_a_request_of_a_trace_that_would_never_get_through_is_refused_and_not_waited_for(tmp_path):
    (tmp_path / "t.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,470,5\n1,40,8\n")
    memory = {"num_gpu_blocks": 30, "max_model_len": 480, "max_num_batched_tokens": 64}
    case = experiment_with("vllm-v0-chunked", memory)
    trace = {"trace": {"path": str(tmp_path / "t.csv"), "format": "csv"}}
    message = refused(sim.run, sim.experiment_from(case.resolved() | {"workload": trace}))
    all_in(message, ["line 2", "470 prompt and 5 output tokens exceed", "464 tokens", "raise engine.num_gpu_blocks"])
