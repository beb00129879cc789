"""Dividing up GPU memory."""

import pytest

from sim.config import experiment_from
from sim.errors import InputError

WORKLOAD = {
    "arrivals": {"process": "poisson", "rate": 1},
    "lengths": {"prompt": {"distribution": "fixed", "value": 8}, "output": {"distribution": "fixed", "value": 2}},
    "num_requests": 1,
}


def experiment(model="llama-3.1-8b", accelerator="a100-80gb-sxm", **engine):
    return experiment_from({"model": model, "accelerator": accelerator, "engine": engine, "workload": WORKLOAD})


def test_the_parts_fill_the_share_of_memory_the_engine_may_use():
    found = experiment()
    memory = found.memory
    used = memory.weight_bytes + memory.activation_bytes + memory.kv_cache_bytes
    limit = memory.memory_bytes * found.engine.gpu_memory_utilization
    assert limit - memory.kv_bytes_per_block < used <= limit


def test_blocks_agree_with_the_recorded_run_on_an_rtx_4090():
    found = experiment(accelerator="rtx-4090", gpu_memory_utilization=0.9, max_model_len=32768)
    assert found.engine.num_gpu_blocks == pytest.approx(2588, rel=0.005)


def test_given_blocks_are_kept_and_a_hypothetical_amount_is_noted():
    assert experiment(num_gpu_blocks=500).engine.num_gpu_blocks == 500
    assert experiment(num_gpu_blocks=500, max_model_len=4096).notes == ()
    assert "hypothetical" in experiment(num_gpu_blocks=1_000_000).notes[0]


def test_max_model_len_is_the_models_or_what_memory_holds():
    assert experiment().engine.max_model_len == 131072
    small = experiment(accelerator="rtx-4090")
    assert small.engine.max_model_len == small.engine.usable_blocks * 16 < 131072
    assert "max_model_len" in small.notes[0]


def test_tensor_parallelism_splits_weights_and_kv_heads():
    one, two = experiment(), experiment(tensor_parallel_size=2)
    assert two.memory.weight_bytes == one.memory.weight_bytes // 2
    assert two.memory.kv_bytes_per_block == one.memory.kv_bytes_per_block // 2
    sixteen = experiment(tensor_parallel_size=16)
    assert sixteen.memory.kv_bytes_per_block == one.memory.kv_bytes_per_block // 8, "8 KV heads are repeated on 16 GPUs"


@pytest.mark.parametrize(
    ("accelerator", "model", "max_num_seqs", "max_num_batched_tokens"),
    [
        ("a100-80gb-sxm", "llama-3.1-8b", 256, 2048),
        ("rtx-4090", "llama-3.1-8b", 256, 2048),
        ("h100-sxm", "llama-3.1-8b", 1024, 8192),
        ("b200-sxm", "llama-3.1-8b", 1024, 16384),
    ],
)
def test_vllm_defaults_depend_on_gpu_memory(accelerator, model, max_num_seqs, max_num_batched_tokens):
    engine = experiment(model, accelerator).engine
    assert (engine.max_num_seqs, engine.max_num_batched_tokens) == (max_num_seqs, max_num_batched_tokens)


def test_the_null_block_of_vllm_holds_no_tokens():
    assert experiment(num_gpu_blocks=500).engine.usable_blocks == 499
    assert experiment(preset="orca", num_gpu_blocks=500, max_model_len=4096).engine.usable_blocks == 500


def test_vllm_names_of_our_keys_are_accepted():
    engine = experiment(
        num_gpu_blocks_override=77, scheduling_policy="priority", scheduler_reserve_full_isl=False
    ).engine
    assert (engine.num_gpu_blocks, engine.order, engine.gate) == (77, "priority", "first_chunk")


def test_reserving_memory_brings_its_gate_along():
    assert experiment(kv_allocation="reserved", max_model_len=4096).engine.gate == "slot"
    assert experiment(preset="orca", kv_allocation="paged", max_model_len=4096).engine.gate == "whole_prompt"


def test_a_value_without_effect_is_noted_not_ignored():
    found = experiment(preset="static", max_num_batched_tokens=2048, max_model_len=4096)
    assert found.engine.max_num_batched_tokens is None
    assert "max_num_batched_tokens 2048 has no effect" in found.notes[0]


# ---- what does not fit -----------------------------------------------------------------------------------------------


def refusal(model: str, **changes) -> str:
    with pytest.raises(InputError) as caught:
        experiment_from({"model": model, "accelerator": "l4", "workload": WORKLOAD} | changes)
    return str(caught.value)


def test_what_the_roofline_cannot_time_is_said_before_memory():
    """More GPUs would be of no use to it."""
    found = refusal("mixtral-8x7b", cost={"kind": "roofline"})
    assert found.startswith("cost.kind: roofline cannot time a mixture of experts")
    assert "tensor_parallel_size" not in found


def test_a_model_in_16_bit_may_hope_for_one_byte_a_weight():
    assert "one byte a weight (a checkpoint in fp8) would take 32.8 GB" in refusal("qwen2.5-32b")


def test_a_model_whose_weights_are_quantised_already_is_not_told_to_do_so():
    found = refusal("llama-3.1-70b-fp8", cost={"kind": "constant", "step_s": 0.01})
    assert "does not fit on l4" in found
    assert "set engine.tensor_parallel_size to 8" in found
    assert "one byte a weight" not in found
