"""Names of models and devices as engines and drivers write them."""

from __future__ import annotations

import pytest

from sim.errors import InputError
from sim.study.validate.names import device_named, model_named

MODELS = {
    "meta-llama/Llama-3.1-8B": ("llama-3.1-8b", None),
    "meta-llama/Meta-Llama-3.1-70B-Instruct": ("llama-3.1-70b", None),
    "RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8": ("llama-3.1-8b", "fp8"),
    "RedHatAI/Llama-4-Scout-17B-16E-Instruct-FP8-dynamic": ("llama-4-scout", "fp8"),
    "Qwen/Qwen3-30B-A3B-Instruct-2507": ("qwen3-30b-a3b", None),
    "Qwen/Qwen3-32B-FP8": ("qwen3-32b-fp8", None),
    "mistralai/Mistral-7B-Instruct-v0.3": ("mistral-7b-v0.3", None),
    "mistralai/Mixtral-8x7B-Instruct-v0.1": ("mixtral-8x7b", None),
    "codellama/CodeLlama-34b-Instruct-hf": ("codellama-34b", None),
    "meta-llama/Llama-2-7b-chat-hf": ("llama-2-7b", None),
    "openai/gpt-oss-20b": ("gpt-oss-20b", None),
    "deepseek-ai/DeepSeek-R1-0528": ("deepseek-r1", None),
    "/models/Llama-3.1-8B-Instruct/": ("llama-3.1-8b", None),
    "/cache/hub/models--meta-llama--Llama-3.1-8B/snapshots/0e9e39f": ("llama-3.1-8b", None),
    "llama-3.1-8b": ("llama-3.1-8b", None),
}
DEVICES = {
    "NVIDIA GeForce RTX 4090": "rtx-4090",
    "RTX4090": "rtx-4090",
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": "rtx-pro-6000",
    "NVIDIA H100 80GB HBM3": "h100-sxm",
    "NVIDIA H100 PCIe": "h100-pcie",
    "NVIDIA H100 NVL": "h100-nvl",
    "H100": "h100-sxm",
    "h100_sxm": "h100-sxm",
    "NVIDIA H200": "h200-sxm",
    "NVIDIA A100-SXM4-80GB": "a100-80gb-sxm",
    "NVIDIA A100-SXM4-40GB": "a100-40gb-sxm",
    "A100-SXM": "a100-80gb-sxm",
    "NVIDIA L40S": "l40s",
    "NVIDIA L4": "l4",
    "NVIDIA A10G": "a10g",
    "NVIDIA B200": "b200-sxm",
    "NVIDIA GB200": "gb200",
    "Tesla T4": "t4",
    "Tesla V100-SXM2-32GB": "v100-32gb-sxm2",
    "AMD Instinct MI300X": "mi300x",
    "NVIDIA H20": "h20",
}
NO_MODELS = ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "Qwen/Qwen2.5-7B-Instruct-AWQ", "llama", "")
NO_DEVICES = (
    *("NVIDIA GH200 480GB", "NVIDIA A100-SXM4-80GB MIG 3g.40gb", "NVIDIA GeForce RTX 4090 Laptop GPU"),
    *("NVIDIA A10", "NVIDIA B300", "", "cpu"),
)


@pytest.mark.parametrize(("name", "found"), MODELS.items(), ids=MODELS)
def test_a_models_name_means_an_entry(name, found):
    assert model_named(name, "model") == found


@pytest.mark.parametrize(("name", "entry"), DEVICES.items(), ids=DEVICES)
def test_a_devices_name_means_an_entry(name, entry):
    found = device_named(name, None, "device")
    assert (found.entry, dict(found.changes)) == (entry, {})


def test_memory_says_which_variant_a_device_is():
    assert device_named("NVIDIA A100", 42_000_000_000, "device").entry == "a100-40gb-sxm"
    assert device_named("NVIDIA A100", 85_000_000_000, "device").entry == "a100-80gb-sxm"


def test_a_pcie_card_has_its_own_bandwidths():
    found = device_named("NVIDIA A100 80GB PCIe", None, "device")
    assert found.entry == "a100-80gb-sxm"
    assert (found.changes["memory_bytes_per_s"], found.changes["link_bytes_per_s"]) == (1.935e12, 64e9)


@pytest.mark.parametrize("name", NO_MODELS)
def test_an_unknown_model_is_refused_with_what_is_known(name):
    with pytest.raises(InputError, match=r"^model: '.*known: codellama-34b, .*config.json beside it.*--set model=NAME"):
        model_named(name, "model")


@pytest.mark.parametrize("name", NO_DEVICES)
def test_an_unknown_device_is_refused_with_what_is_known(name):
    with pytest.raises(InputError, match=r"^device: '.*known: a100-40gb-sxm, .*--set accelerator=NAME"):
        device_named(name, None, "device")
