"""A `config.json` is somebody else's: whatever it holds, it becomes a ModelSpec or is refused in words."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from unfit_values import UNFIT, places, replaced

from sim.config import load_model
from sim.errors import InputError
from sim.specs.facts import model_facts
from sim.specs.hf_config import model_from_hf
from sim.specs.model import ModelSpec

SIZES = {
    "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 1000,
    "max_position_embeddings": 512, "torch_dtype": "bfloat16", "tie_word_embeddings": False, "attention_bias": False,
}  # fmt: skip
LLAMA = SIZES | {"model_type": "llama", "num_key_value_heads": 2, "head_dim": 16}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
FAMILIES = {
    "llama": LLAMA,
    "qwen2": LLAMA | {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 2},
    "qwen3_moe": LLAMA | EXPERTS | {
        "model_type": "qwen3_moe", "num_experts": 8, "decoder_sparse_step": 2, "mlp_only_layers": [1],
        "shared_expert_intermediate_size": 16,
    },
    "deepseek_v3": SIZES | EXPERTS | {
        "model_type": "deepseek_v3", "n_routed_experts": 8, "n_shared_experts": 1, "first_k_dense_replace": 1,
        "moe_layer_freq": 1, "q_lora_rank": 24, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8,
        "v_head_dim": 16, "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    },
    "llama4": {
        "model_type": "llama4",
        "text_config": LLAMA | EXPERTS | {
            "model_type": "llama4_text", "num_local_experts": 8, "interleave_moe_layer_step": 2,
            "intermediate_size_mlp": 256, "attention_chunk_size": 64,
        },
    },
    "gpt_oss": LLAMA | {
        "model_type": "gpt_oss", "num_local_experts": 8, "experts_per_token": 2, "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]},
    },
    "gptq": LLAMA | {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}},
    "compressed": LLAMA | {
        "quantization_config": {
            "quant_method": "compressed-tensors", "ignore": ["lm_head"],
            "config_groups": {"group_0": {"weights": {"num_bits": 8, "group_size": 64}}},
        },
    },
    "bitsandbytes": LLAMA | {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
    "modelopt": LLAMA | {
        "quantization_config": {
            "quant_method": "modelopt",
            "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]},
        },
    },
}  # fmt: skip
"""One minimal config per way of saying something."""

QUANTIZATION_FILE = {
    "producer": {"name": "modelopt"},
    "quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]},
}

ANYTHING = UNFIT | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)


def is_read_or_refused(config: Any, beside: Any = None) -> None:
    started_s = time.perf_counter()
    answer = model_or_refusal(config, beside)
    assert time.perf_counter() - started_s < 1
    if isinstance(answer, str):
        assert answer.startswith(("x.json", "hf_quant_config.json beside x.json"))
        assert len(answer) < 1000
    else:
        assert 0 < model_facts(answer)["parameters"]["active"] <= answer.total_parameters


def model_or_refusal(config: Any, beside: Any) -> ModelSpec | str:
    try:
        return model_from_hf(config, "x", "x.json", beside)
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_read(family):
    assert model_from_hf(FAMILIES[family], family, "x.json").total_parameters > 0


@settings(max_examples=500)
@given(st.data(), st.sampled_from(list(FAMILIES)), ANYTHING)
def test_any_value_anywhere_is_read_or_refused(data, family, value):
    place = data.draw(st.sampled_from(list(places(FAMILIES[family]))))
    is_read_or_refused(replaced(FAMILIES[family], place, value))


@given(
    st.sampled_from(list(FAMILIES)), st.sampled_from(["layer_types", "quantization_config", "text_config"]), ANYTHING
)
def test_any_value_of_a_field_that_was_not_there_is_read_or_refused(family, field, value):
    is_read_or_refused(FAMILIES[family] | {field: value})


@given(st.sampled_from(list(places(QUANTIZATION_FILE))), ANYTHING)
@example(("quantization",), "FP8")
def test_any_value_in_the_file_beside_it_is_read_or_refused(place, value):
    is_read_or_refused(LLAMA, replaced(QUANTIZATION_FILE, place, value))


@given(st.data(), UNFIT)
def test_any_value_anywhere_in_a_published_config_is_read_or_refused(measured_data, data, value):
    path = data.draw(st.sampled_from(sorted((measured_data / "hf_configs").glob("*.json"))))
    config = json.loads(path.read_text())
    is_read_or_refused(replaced(config, data.draw(st.sampled_from(list(places(config)))), value))


@pytest.mark.parametrize(
    ("family", "fields", "message"),
    [
        (
            "llama",
            {"num_hidden_layers": 10**9},
            "num_hidden_layers is 1000000000, .* from 1 to 10,000; correct the file",
        ),
        ("qwen3_moe", {"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000, .* from 1 to 10,000"),
        ("llama", {"hidden_size": 10**400}, "hidden_size is 1000.*, must be a whole number from 1 to 1,000,000,000"),
        ("llama", {"vocab_size": None}, "vocab_size is None, must be a whole number .*; complete the file"),
        ("llama", {"text_config": "llama"}, "text_config is 'llama', must be a mapping of names to values"),
        ("llama", {"layer_types": "full_attention"}, "layer_types is 'full_attention', must be a list of names"),
        ("llama", {"layer_types": ["full_attention"]}, "layer_types is .*, must have one of .* the 4 layers"),
        ("llama", {"layer_types": ["magic"] * 4}, "layer_types is .*, must have one of full_attention, "),
        ("llama", {"model_type": ["llama"]}, r"model_type is \['llama'\], must be text"),
        ("llama", {"tie_word_embeddings": 1}, "tie_word_embeddings is 1, must be true or false"),
        ("qwen3_moe", {"mlp_only_layers": 3}, "mlp_only_layers is 3, must be a list, each a whole number from 0"),
        ("qwen3_moe", {"decoder_sparse_step": 1.5}, "decoder_sparse_step is 1.5, must be a whole number from 1"),
        ("qwen3_moe", {"num_experts_per_tok": 9}, "experts: num_experts_per_tok 9 exceeds num_experts 8"),
        ("deepseek_v3", {"moe_layer_freq": [1, 0]}, r"moe_layer_freq is \[1, 0\], must be a whole number from 1"),
        ("deepseek_v3", {"first_k_dense_replace": 1.5}, "first_k_dense_replace is 1.5, must be a whole number from 0"),
        ("deepseek_v3", {"n_shared_experts": "1"}, "n_shared_experts is '1', must be a whole number from 0"),
        ("deepseek_v3", {"kv_lora_rank": "512"}, "kv_lora_rank is '512', must be a whole number from 1"),
        ("llama", {"quantization_config": "fp8"}, "quantization_config is 'fp8', must be a mapping"),
    ],
)
def test_the_refusal_says_field_value_and_what_is_allowed(family, fields, message):
    with pytest.raises(InputError, match=rf"^x.json[:.] ?{message}"):
        model_from_hf(FAMILIES[family] | fields, "x", "x.json")


@pytest.mark.parametrize(
    ("method", "fields", "message"),
    [
        (8, {}, "quant_method is 8, must be text"),
        (
            "fp8",
            {"weight_block_size": [0, 0]},
            r"weight_block_size is \[0, 0\], must be a list, each a whole .* from 1",
        ),
        ("fp8", {"weight_block_size": [8]}, r"weight_block_size is \[8\], must be two whole numbers"),
        ("fp8", {"modules_to_not_convert": 3}, "modules_to_not_convert is 3, must be a list of names"),
        ("gptq", {"bits": "4"}, "bits is '4', must be a whole number from 1 to 16"),
        ("awq", {"group_size": 0}, "group_size is 0, must be -1 for one group a row, or at least 1"),
        ("compressed-tensors", {"config_groups": {"all": 3}}, "config_groups.all is 3, must be a mapping"),
        ("bitsandbytes", {"load_in_8bit": "yes"}, "load_in_8bit is 'yes', must be true or false"),
    ],
)
def test_the_refusal_of_a_quantisation_does_so_too(method, fields, message):
    with pytest.raises(InputError, match=rf"^x.json: quantization_config\.{message}"):
        model_from_hf(LLAMA | {"quantization_config": {"quant_method": method, **fields}}, "x", "x.json")


def test_the_file_beside_it_is_named(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    (tmp_path / "hf_quant_config.json").write_text(json.dumps({"quantization": "FP8"}))
    with pytest.raises(InputError, match=r"^hf_quant_config.json beside .*: quantization is 'FP8', must be a mapping"):
        load_model(str(tmp_path / "config.json"))


@pytest.mark.parametrize(
    "field", ["layer_types", "head_dim", "sliding_window", "quantization_config", "attention_bias"]
)
def test_null_means_absent(field):
    absent = {key: value for key, value in LLAMA.items() if key != field}
    assert model_from_hf(LLAMA | {field: None}, "x", "x.json") == model_from_hf(absent, "x", "x.json")


@pytest.mark.parametrize(
    ("fields", "layers"),
    [
        ({"num_hidden_layers": 10, "moe_layer_freq": 2, "first_k_dense_replace": 3}, {4, 6, 8}),
        ({"num_hidden_layers": 10, "decoder_sparse_step": 3}, {2, 5, 8}),
        ({"num_hidden_layers": 4, "mlp_only_layers": [3]}, {1, 2}),
    ],
)
def test_which_layers_have_experts(fields, layers):
    """DeepSeek takes the multiples of `moe_layer_freq`, Qwen the last of every `decoder_sparse_step` layers."""
    assert model_from_hf(FAMILIES["deepseek_v3"] | fields, "x", "x.json").experts.num_moe_layers == len(layers)


def test_experts_in_no_layer_are_a_dense_model():
    dense = model_from_hf(FAMILIES["deepseek_v3"] | {"first_k_dense_replace": 4}, "x", "x.json")
    assert dense.experts is None
    assert dense.num_dense_layers == 4


def test_one_group_a_row_has_no_scales_worth_counting():
    rows = {"quant_method": "gptq", "bits": 4, "group_size": -1}
    assert model_from_hf(LLAMA | {"quantization_config": rows}, "x", "x.json").quantization.mlp_bits == 4
