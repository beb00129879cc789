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


def test_a_watermark_that_an_idle_engine_keeps_is_a_share_of_all_blocks():
    found = experiment(num_gpu_blocks=10, watermark=0.55, watermark_when_idle=True)
    assert found.engine.longest_sequence_tokens == (10 - 1 - 5) * 16


# ---- shares of weights and KV cache alone ----------------------------------------------------------------------------


@pytest.mark.parametrize("engine", [{"preset": "lightllm"}, {"preset": "sglang"}, {"preset": "sglang-mixed"}])
def test_activations_take_what_their_share_leaves(engine):
    found = experiment(**engine)
    memory = found.memory
    limit = memory.memory_bytes * found.engine.gpu_memory_utilization
    assert memory.activation_bytes == 0
    assert limit - memory.kv_bytes_per_block < memory.weight_bytes + memory.kv_cache_bytes <= limit


GRAPHS = 50
"""SGLang's prefill graphs up to 4,096 tokens; beyond there is one every 512."""


@pytest.mark.parametrize(
    ("accelerator", "engine", "reserved_mib"),
    [
        ("h100-sxm", {}, 512 + 1.5 * 8192 + 128 + 2 * 256 + 8 * (GRAPHS + 8)),
        ("h100-sxm", {"chunked_prefill_size": 16384}, 512 + 1.5 * 16384 + 128 + 2 * 256 + 8 * (GRAPHS + 24)),
        ("h100-sxm", {"chunked_prefill_size": -1}, 512 + 1.5 * 16384 + 128 + 2 * 256),
        ("h100-sxm", {"chunked_prefill_size": 512}, 10 * 1024),
        ("h100-sxm", {"tp_size": 4}, 512 + 1.5 * 8192 + 4 * 128 + 2 * 512 + 8 * (GRAPHS + 8)),
        ("l40s", {"chunked_prefill_size": 1024}, 512 + 1.5 * 2048 + 128 + 2 * 32 + 8 * 38),
        ("l40s", {"max_running_requests": 10}, 512 + 1.5 * 4096 + 128 + 2 * 10 + 8 * GRAPHS),
        ("rtx-4090", {"tp_size": 4}, 512 + 1.5 * 4096 + 4 * 128 + 2 * 160 + 8 * GRAPHS),
        ("b200-sxm", {}, 512 + 1.5 * 16384 + 128 + 2 * 512 + 8 * (GRAPHS + 24)),
    ],
)
def test_sglang_keeps_back_what_chunks_and_graphs_take(accelerator, engine, reserved_mib):
    found = experiment(accelerator=accelerator, preset="sglang", **engine)
    share = 1 - reserved_mib * 2**20 / found.accelerator.memory_bytes
    assert found.engine.gpu_memory_utilization == pytest.approx(share, abs=0.0005)


def test_sglang_keeps_back_more_for_latent_attention():
    found = experiment("deepseek-v2-lite", "h100-sxm", preset="sglang")
    share = 1 - (512 + 1.5 * 8192 + 128 + 2 * 256 + 1536) * 2**20 / found.accelerator.memory_bytes
    assert found.engine.gpu_memory_utilization == pytest.approx(share, abs=0.0005)


def test_a_share_that_is_given_is_kept():
    assert experiment(preset="sglang", mem_fraction_static=0.9).engine.gpu_memory_utilization == 0.9
    found = experiment(preset="sglang")
    assert experiment_from(found.resolved()).engine == found.engine


def test_what_does_not_fit_beside_sglangs_reserve_is_refused_without_a_word_of_activations():
    with pytest.raises(
        InputError, match=r"Weights take 16\.1 GB of the 15\.2 GB that engine\.gpu_memory_utilization"
    ) as told:
        experiment(accelerator="a10g", preset="sglang", chunked_prefill_size=4608, gpu_memory_utilization=0.64)
    assert "raise engine.gpu_memory_utilization" in str(told.value)


# ---- blocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("preset", "key", "blocks"), [
    ("vllm-v1", "kv_pool_tokens", 2048), ("fastgen", "kv_pool_tokens", 512), ("sglang", "max_total_tokens", 32770),
])  # fmt: skip
def test_a_pool_given_in_tokens_has_as_many_blocks_as_fit_into_it(preset, key, blocks):
    found = experiment(preset=preset, max_model_len=4096, **{key: 32770})
    assert found.engine.num_gpu_blocks == blocks
    assert experiment_from(found.resolved()).engine == found.engine


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


# ---- a draft model beside it -----------------------------------------------------------------------------------------

DRAFTING = {"method": "draft_model", "num_speculative_tokens": 3, "acceptance": {"kind": "constant", "rate": 0.7}}


def drafting(draft, model="llama-3.1-8b", accelerator="a100-80gb-sxm", **engine):
    return experiment(model, accelerator, speculation=DRAFTING | {"model": draft}, **engine)


def test_a_draft_model_takes_its_weights_and_its_part_of_every_block():
    alone, beside = experiment(), drafting("llama-3.2-1b")
    draft, memory = beside.engine.draft_model, beside.memory
    assert memory.draft_weight_bytes == draft.weight_bytes
    assert memory.draft_kv_bytes_per_block == 16 * draft.kv_bytes_per_token
    assert memory.kv_bytes_per_block == alone.memory.kv_bytes_per_block + memory.draft_kv_bytes_per_block
    used = memory.weight_bytes + memory.draft_weight_bytes + memory.activation_bytes + memory.kv_cache_bytes
    limit = memory.memory_bytes * beside.engine.gpu_memory_utilization
    assert limit - memory.kv_bytes_per_block < used <= limit


def test_a_draft_model_leaves_fewer_blocks_and_says_so():
    """2.5 GB of weights, and a fifth of 163,840 bytes a token."""
    alone, beside = experiment(), drafting("llama-3.2-1b")
    assert beside.engine.num_gpu_blocks < 0.8 * alone.engine.num_gpu_blocks
    (note,) = beside.notes
    assert note == "the draft model llama-3.2-1b takes 2.5 GB of each GPU and 20% of every KV block"


def test_without_a_draft_model_memory_is_divided_as_ever():
    lookup = {"method": "ngram", "num_speculative_tokens": 3, "acceptance": {"kind": "constant", "rate": 0.7}}
    assert experiment(speculation=lookup).memory == experiment().memory
    assert experiment().memory.draft_weight_bytes is None


def test_given_blocks_are_kept_beside_a_draft_model():
    assert drafting("llama-3.2-1b", num_gpu_blocks=500).engine.num_gpu_blocks == 500


def test_gpus_share_a_draft_model_as_they_share_the_model():
    one, two = drafting("llama-3.2-1b"), drafting("llama-3.2-1b", tensor_parallel_size=2)
    assert two.memory.draft_weight_bytes == one.memory.draft_weight_bytes // 2
    assert two.memory.draft_kv_bytes_per_block == one.memory.draft_kv_bytes_per_block // 2


@pytest.mark.parametrize(
    ("found", "fragments"),
    [
        (
            lambda: drafting("llama-3.1-70b"),
            [
                "engine.speculation.model: llama-3.1-70b does not fit",
                "beside llama-3.1-8b",
                "141.1 GB",
                "smaller draft",
            ],
        ),
        (
            lambda: drafting("llama-3.1-8b", accelerator="rtx-4090"),
            ["engine.speculation.model: llama-3.1-8b does not fit", "GB short", "ngram", "tensor_parallel_size to 2"],
        ),
        (
            lambda: drafting("llama-3.2-1b", model="llama-3.1-70b"),
            ["model: llama-3.1-70b does not fit", "64.3 GB short"],
        ),
        (
            lambda: drafting(WIDE_DRAFT, tensor_parallel_size=8),
            ["engine.tensor_parallel_size: 8", "6 attention heads and 6 KV heads of wide", "use one of 1, 2"],
        ),
    ],
    ids=["larger than memory", "no room beside", "the model itself", "heads"],
)
def test_a_draft_model_that_does_not_fit_is_refused_by_its_name(found, fragments):
    with pytest.raises(InputError) as caught:
        found()
    missing = [fragment for fragment in fragments if fragment not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"


def test_more_gpus_make_room_where_the_message_says_so():
    with pytest.raises(InputError, match="tensor_parallel_size to 2"):
        drafting("llama-3.1-8b", accelerator="rtx-4090")
    assert drafting("llama-3.1-8b", accelerator="rtx-4090", tensor_parallel_size=2).engine.num_gpu_blocks > 1


WIDE_DRAFT = {
    "name": "wide", "hidden_size": 384, "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 6,
    "head_dim": 64, "intermediate_size": 1024, "vocab_size": 128256, "max_position_embeddings": 4096,
}  # fmt: skip
