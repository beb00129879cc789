"""Parameter and KV counts of the catalogue against the published sizes."""

import pytest

from sim.config import experiment_from, load_model
from sim.errors import InputError
from sim.specs import catalogue
from sim.specs.hf_config import model_from_hf
from sim.specs.model import ModelSpec

PUBLISHED = {  # name: (total, active parameters in billions, weights in GB, KV bytes per token)
    "codellama-34b": (33.74, 33.74, 67.5, 196_608),
    "deepseek-r1": (671.03, 37.55, 673, 70_272),
    "deepseek-v2-lite": (15.71, 2.66, 31.4, 31_104),
    "deepseek-v3": (671.03, 37.55, 673, 70_272),
    "glm-4.5-air": (106.9, 13.4, 213.7, 188_416),
    "gpt-oss-120b": (116.79, 5.71, 65.2, 73_728),
    "gpt-oss-20b": (20.91, 4.19, 13.7, 49_152),
    "kimi-k2": (1026.4, 32.86, 1029, 70_272),
    "llama-2-13b": (13.02, 13.02, 26.0, 819_200),
    "llama-2-70b": (68.98, 68.98, 138.0, 327_680),
    "llama-2-7b": (6.74, 6.74, 13.5, 524_288),
    "llama-3-70b": (70.55, 70.55, 141.1, 327_680),
    "llama-3-8b": (8.03, 8.03, 16.1, 131_072),
    "llama-3.1-405b": (405.85, 405.85, 811.7, 516_096),
    "llama-3.1-70b": (70.55, 70.55, 141.1, 327_680),
    "llama-3.1-70b-fp8": (70.55, 70.55, 72.7, 163_840),
    "llama-3.1-8b": (8.03, 8.03, 16.1, 131_072),
    "llama-3.2-1b": (1.24, 1.24, 2.47, 32_768),
    "llama-3.2-3b": (3.21, 3.21, 6.43, 114_688),
    "llama-3.3-70b": (70.55, 70.55, 141.1, 327_680),
    "llama-4-scout": (107.8, 17.2, 215.5, 196_608),
    "minimax-m2.5": (228.7, 11.03, 230.0, 253_952),
    "mistral-7b-v0.3": (7.25, 7.25, 14.5, 131_072),
    "mistral-nemo-12b": (12.25, 12.25, 24.5, 163_840),
    "mixtral-8x7b": (46.70, 12.88, 93.4, 131_072),
    "phi-4": (14.66, 14.66, 29.3, 204_800),
    "qwen2.5-14b": (14.77, 14.77, 29.5, 196_608),
    "qwen2.5-32b": (32.76, 32.76, 65.5, 262_144),
    "qwen2.5-72b": (72.71, 72.71, 145.4, 327_680),
    "qwen2.5-7b": (7.62, 7.62, 15.2, 57_344),
    "qwen3-0.6b": (0.596, 0.596, 1.19, 114_688),
    "qwen3-14b": (14.77, 14.77, 29.5, 163_840),
    "qwen3-235b-a22b": (235.09, 22.19, 470.2, 192_512),
    "qwen3-235b-a22b-nvfp4": (235.09, 22.19, 134, 96_256),
    "qwen3-30b-a3b": (30.53, 3.35, 61.1, 98_304),
    "qwen3-32b": (32.76, 32.76, 65.5, 262_144),
    "qwen3-32b-fp8": (32.76, 32.76, 34.3, 262_144),
    "qwen3-4b": (4.02, 4.02, 8.04, 147_456),
    "qwen3-8b": (8.19, 8.19, 16.4, 147_456),
    "yi-34b": (34.39, 34.39, 68.8, 245_760),
}


def model(name: str) -> ModelSpec:
    return ModelSpec.model_validate(catalogue.entry("models", name, "model"))


def test_the_catalogue_is_the_published_table():
    assert catalogue.names("models") == sorted(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_agree_with_published_sizes(name):
    total, active, weights_gb, kv_bytes = PUBLISHED[name]
    assert model(name).total_parameters / 1e9 == pytest.approx(total, rel=0.005)
    assert model(name).active_parameters / 1e9 == pytest.approx(active, rel=0.005)
    assert model(name).weight_bytes / 1e9 == pytest.approx(weights_gb, rel=0.005)
    assert model(name).kv_bytes_per_token == kv_bytes


def test_qwen2_5_32b_is_the_checkpoint_with_its_biases_and_norms():
    assert model("qwen2.5-32b").total_parameters == 32_763_876_352


def test_llama_3_1_8b_is_exact():
    assert model("llama-3.1-8b").total_parameters == 8_030_261_248
    assert model("llama-3.1-8b").weight_bytes == 16_060_522_496


def test_grouped_query_attention_divides_the_cache_of_multi_head_attention():
    grouped = model("llama-3.1-8b")
    multi_head = grouped.model_copy(update={"num_key_value_heads": 32})
    assert multi_head.kv_bytes_per_token == 4 * grouped.kv_bytes_per_token


def test_matrices_are_what_a_token_is_multiplied_with():
    """Neither the input embedding nor norms and biases, and of the experts only the token's own."""
    tied, experts = model("qwen3-0.6b"), model("qwen3-30b-a3b")
    assert model("qwen2.5-32b").matrix_parameters == 32_763_876_352 - 152064 * 5120 - 64 * (7168 + 2 * 5120) - 5120
    assert tied.matrix_parameters == tied.total_parameters - (2 * 28 + 1) * 1024
    layer = experts.attention_parameters_per_layer + 2048 * 128 + 8 * 3 * 2048 * 768
    assert experts.matrix_parameters == 48 * layer + 151936 * 2048


def test_tied_embeddings_are_counted_once():
    untied = model("llama-3.1-8b")
    tied = untied.model_copy(update={"tie_word_embeddings": True})
    assert untied.total_parameters - tied.total_parameters == 128256 * 4096


COUNTED = {  # file: (total, active) parameters in billions
    "MiniMaxAI--MiniMax-M2.5": (228.7, 11.0),
    "Qwen--Qwen3-0.6B": (0.596, 0.596),
    "Qwen--Qwen3-235B-A22B": (235.09, 22.19),
    "Qwen--Qwen3-30B-A3B": (30.53, 3.35),
    "Qwen--Qwen3-32B-FP8": (32.76, 32.76),
    "Qwen--Qwen3-32B": (32.76, 32.76),
    "Qwen--Qwen3-8B": (8.19, 8.19),
    "codellama--CodeLlama-34b-hf": (33.74, 33.74),
    "deepseek-ai--DeepSeek-R1": (671.03, 37.55),
    "deepseek-ai--DeepSeek-V3": (671.03, 37.55),
    "deepseek-v2-lite": (15.7, 2.66),
    "llama-2-7b-hf": (6.74, 6.74),
    "meta-llama--Llama-2-70b-hf": (68.98, 68.98),
    "meta-llama--Llama-4-Scout-17B-16E-Instruct": (107.8, 17.2),
    "meta-llama--Meta-Llama-3.1-405B": (405.85, 405.85),
    "meta-llama--Meta-Llama-3.1-70B": (70.55, 70.55),
    "meta-llama--Meta-Llama-3.1-8B": (8.03, 8.03),
    "mistral-nemo-instruct-2407": (12.25, 12.25),
    "mistralai--Mixtral-8x7B-v0.1": (46.70, 12.88),
    "moonshotai--Kimi-K2-Instruct": (1026.4, 32.86),
    "nvidia--Llama-3.1-70B-Instruct-FP8": (70.55, 70.55),
    "nvidia--Qwen3-235B-A22B-NVFP4": (235.09, 22.19),
    "openai--gpt-oss-120b": (116.79, 5.71),
    "openai--gpt-oss-20b": (20.91, 4.19),
    "qwen2.5-7b-instruct": (7.62, 7.62),
    "yi-34b": (34.39, 34.39),
}
REFUSED = {  # file: what of it is not modelled
    "Qwen--Qwen3-VL-8B-Instruct": "a vision tower",
    "Qwen--Qwen3.5-35B-A3B": "a vision tower",
    "deepseek-ai--DeepSeek-V3.2": "sparse attention",
    "google--gemma-4-26B-A4B": "a vision tower",
    "nvidia--Llama-3.1-70B-Instruct-FP8.hf_quant": "not a model's config.json",
    "nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": "Mamba layers",
    "nvidia--Qwen3-235B-A22B-NVFP4.hf_quant": "not a model's config.json",
    "zai-org--GLM-5-FP8": "sparse attention",
}


@pytest.mark.parametrize("file", COUNTED)
def test_hugging_face_configs_are_counted_right(measured_data, file):
    total, active = COUNTED[file]
    found = load_model(str(measured_data / "hf_configs" / f"{file}.json"))
    assert found.total_parameters / 1e9 == pytest.approx(total, rel=0.005)
    assert found.active_parameters / 1e9 == pytest.approx(active, rel=0.005)


@pytest.mark.parametrize("file", REFUSED)
def test_what_would_be_counted_wrong_is_refused_by_name(measured_data, file):
    with pytest.raises(InputError, match=REFUSED[file]):
        load_model(str(measured_data / "hf_configs" / f"{file}.json"))


def test_every_hugging_face_config_at_hand_is_one_of_the_two(measured_data):
    assert {path.stem for path in (measured_data / "hf_configs").glob("*.json")} == set(COUNTED) | set(REFUSED)


LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
LAYERS = 32 * (4096 * (2 * 4096 + 2 * 1024) + 3 * 4096 * 14336)


FLOAT8 = {"num_bits": 8, "type": "float"}


@pytest.mark.parametrize(
    ("group", "computes_in"),
    [
        ({"weights": FLOAT8, "input_activations": FLOAT8 | {"dynamic": True}}, "float8"),
        ({"weights": FLOAT8, "input_activations": None}, None),
        ({"weights": {"num_bits": 4, "type": "int"}, "input_activations": FLOAT8}, None),
        ({"weights": {"num_bits": 8}, "input_activations": {"num_bits": 8}}, None),
    ],
)
def test_compressed_tensors_multiply_in_8_bit_where_activations_are_so_too(group, computes_in):
    written = {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}}
    found = model_from_hf(LLAMA | {"quantization_config": written}, "x", "x.json").quantization
    assert found is not None
    assert (found.computes_in, found.mlp_bits) == (computes_in, group["weights"]["num_bits"])


@pytest.mark.parametrize(
    ("quantization", "bits"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 8 + 32 / 128**2),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, 4 + 20 / 128),
        ({"quant_method": "awq", "bits": 4, "group_size": 64}, 4 + 20 / 64),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 8}}}}, 8),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 8),
    ],
)
def test_quantised_weights_by_dialect(quantization, bits):
    plain, quantised = (
        model_from_hf(LLAMA | extra, "x", "x.json") for extra in ({}, {"quantization_config": quantization})
    )
    assert quantised.weight_bytes == pytest.approx(plain.weight_bytes - LAYERS * (16 - bits) / 8, abs=1)


def test_an_unknown_quantisation_is_refused():
    with pytest.raises(InputError, match="quant_method 'magic' is not known"):
        model_from_hf(LLAMA | {"quantization_config": {"quant_method": "magic"}}, "x", "x.json")


def test_modules_that_stay_in_16_bit_are_counted_so():
    quantization = {"quant_method": "fp8", "modules_to_not_convert": ["model.layers.0.self_attn"]}
    found = model_from_hf(LLAMA | {"quantization_config": quantization}, "x", "x.json")
    assert found.quantization.attention_bits == 16
    assert found.quantization.mlp_bits == pytest.approx(8, abs=0.01)


@pytest.mark.parametrize(
    ("fields", "layers"),
    [
        ({"sliding_window": 4096}, 32),
        ({"sliding_window": None}, 0),
        ({"sliding_window": 4096, "use_sliding_window": False}, 0),
        ({"sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 28}, 4),
        ({"sliding_window": 512, "layer_types": ["sliding_attention", "full_attention"] * 16}, 16),
    ],
)
def test_layers_that_keep_a_window(fields, layers):
    windowed = model_from_hf(LLAMA | fields, "x", "x.json").windowed_layers
    assert (windowed.num_layers if windowed else 0) == layers


@pytest.mark.parametrize(
    ("fields", "layers"),
    [
        ({}, 32),
        ({"first_k_dense_replace": 3}, 29),
        ({"decoder_sparse_step": 2}, 16),
        ({"mlp_only_layers": [0, 5]}, 30),
    ],
)
def test_layers_with_experts(fields, layers):
    experts = {"model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 512}
    assert model_from_hf(LLAMA | experts | fields, "x", "x.json").experts.num_moe_layers == layers


def test_what_the_textbook_cannot_time_is_refused_unless_another_cost_is_chosen():
    data = {
        "model": "gpt-oss-20b",
        "accelerator": "h100-sxm",
        "workload": {
            "arrivals": {"process": "all_at_once"},
            "lengths": {
                "prompt": {"distribution": "fixed", "value": 8},
                "output": {"distribution": "fixed", "value": 2},
            },
            "num_requests": 1,
        },
    }
    with pytest.raises(
        InputError, match=r"cost.kind: roofline cannot time a mixture of experts, which gpt-oss-20b has"
    ):
        experiment_from({**data, "cost": {"kind": "roofline"}})
    assert experiment_from(data | {"cost": {"kind": "constant", "step_s": 0.01}}).memory.weight_bytes < 14e9


def test_a_config_json_works_as_the_model_of_an_experiment(measured_data):
    experiment = experiment_from(
        {
            "model": str(measured_data / "hf_configs" / "Qwen--Qwen3-8B.json"),
            "accelerator": "h100-sxm",
            "workload": {
                "arrivals": {"process": "all_at_once"},
                "lengths": {
                    "prompt": {"distribution": "fixed", "value": 8},
                    "output": {"distribution": "fixed", "value": 2},
                },
                "num_requests": 1,
            },
        }
    )
    assert experiment.model.name == "Qwen--Qwen3-8B"
    assert experiment.model.num_hidden_layers == 36
