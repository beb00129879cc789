"""Parameter and KV counts of the catalogue against the published sizes."""

import json

import pytest

from sim.config import experiment_from
from sim.errors import InputError
from sim.specs import catalogue
from sim.specs.hf_config import model_from_hf
from sim.specs.model import ModelSpec

PUBLISHED = {  # name: (parameters in billions, KV bytes per token in 16 bit)
    "llama-2-7b": (6.74, 524_288),
    "llama-2-13b": (13.02, 819_200),
    "llama-3.1-8b": (8.03, 131_072),
    "llama-3.1-70b": (70.55, 327_680),
    "qwen2.5-7b": (7.62, 57_344),
    "qwen3-32b": (32.76, 262_144),
}


def model(name: str) -> ModelSpec:
    return ModelSpec.model_validate(catalogue.entry("models", name, "model"))


def test_the_catalogue_is_the_published_table():
    assert catalogue.names("models") == sorted(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_agree_with_published_sizes(name):
    billions, kv_bytes = PUBLISHED[name]
    assert model(name).total_parameters / 1e9 == pytest.approx(billions, rel=0.002)
    assert model(name).kv_bytes_per_token == kv_bytes


def test_llama_3_1_8b_is_exact():
    assert model("llama-3.1-8b").total_parameters == 8_030_261_248
    assert model("llama-3.1-8b").weight_bytes == 16_060_522_496


def test_grouped_query_attention_divides_the_cache_of_multi_head_attention():
    grouped = model("llama-3.1-8b")
    multi_head = grouped.model_copy(update={"num_key_value_heads": 32})
    assert multi_head.kv_bytes_per_token == 4 * grouped.kv_bytes_per_token


def test_tied_embeddings_are_counted_once():
    untied = model("llama-3.1-8b")
    tied = untied.model_copy(update={"tie_word_embeddings": True})
    assert untied.total_parameters - tied.total_parameters == 128256 * 4096


@pytest.mark.parametrize(
    ("file", "billions"),
    [
        ("llama-2-7b-hf.json", 6.74),
        ("meta-llama--Meta-Llama-3.1-8B.json", 8.03),
        ("meta-llama--Meta-Llama-3.1-70B.json", 70.55),
        ("meta-llama--Meta-Llama-3.1-405B.json", 405.85),
        ("meta-llama--Llama-2-70b-hf.json", 68.98),
        ("qwen2.5-7b-instruct.json", 7.62),
        ("Qwen--Qwen3-8B.json", 8.19),
        ("Qwen--Qwen3-32B.json", 32.76),
        ("Qwen--Qwen3-0.6B.json", 0.596),
        ("mistral-nemo-instruct-2407.json", 12.25),
        ("yi-34b.json", 34.39),
    ],
)
def test_hugging_face_configs_are_counted_right(measured_data, file, billions):
    config = json.loads((measured_data / "hf_configs" / file).read_text())
    assert model_from_hf(config, file, file).total_parameters / 1e9 == pytest.approx(billions, rel=0.005)


def test_every_hugging_face_config_is_counted_or_refused_by_name(measured_data):
    refused = {}
    for path in sorted((measured_data / "hf_configs").glob("*.json")):
        try:
            model_from_hf(json.loads(path.read_text()), path.stem, path.name)
        except InputError as error:
            refused[path.name] = str(error)
    assert refused
    assert all(message.startswith(name) for name, message in refused.items())


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
