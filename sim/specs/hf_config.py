"""A Hugging Face `config.json` read as a ModelSpec. What this program does not model is refused by name."""

from __future__ import annotations

from typing import Any

from sim.errors import InputError, did_you_mean
from sim.specs.model import ModelSpec
from sim.specs.validation import validate

DENSE_GATED_MLP = ("llama", "mistral", "qwen2", "qwen3")
_UNMODELLED = {
    "quantization_config": "quantised weights",
    "num_experts": "a mixture of experts",
    "num_local_experts": "a mixture of experts",
    "n_routed_experts": "a mixture of experts",
    "vision_config": "a vision tower",
    "text_config": "a multimodal model (nested text_config)",
}


def model_from_hf(config: dict[str, Any], name: str, source: str) -> ModelSpec:
    """The ModelSpec of an unmodified `config.json`; `name` and `source` say where it came from.

    Raises InputError for a field that is missing or an architecture that would be counted wrong.
    """
    _refuse_unmodelled(config, source)
    heads = _integer(config, "num_attention_heads", source)
    hidden = _integer(config, "hidden_size", source)
    return validate(
        ModelSpec,
        {
            "name": name,
            "hidden_size": hidden,
            "num_hidden_layers": _integer(config, "num_hidden_layers", source),
            "num_attention_heads": heads,
            "num_key_value_heads": _integer(config, "num_key_value_heads", source, default=heads),
            "head_dim": _integer(config, "head_dim", source, default=hidden // heads),
            "intermediate_size": _integer(config, "intermediate_size", source),
            "vocab_size": _integer(config, "vocab_size", source),
            "max_position_embeddings": _integer(config, "max_position_embeddings", source),
            "tie_word_embeddings": config.get("tie_word_embeddings", False),
            "attention_bias": config.get("attention_bias", config["model_type"] == "qwen2"),
            "dtype": config.get("dtype") or config.get("torch_dtype") or "bfloat16",
            "source": source,
        },
        source,
    )


def _refuse_unmodelled(config: dict[str, Any], source: str) -> None:
    for field, meaning in _UNMODELLED.items():
        if config.get(field) is not None:
            raise InputError(f"{source}: {field} means {meaning}, which is not modelled yet; use a dense bf16 model")
    model_type = config.get("model_type")
    if model_type not in DENSE_GATED_MLP:
        raise InputError(
            f"{source}: model_type '{model_type}' is not modelled; {did_you_mean(str(model_type), DENSE_GATED_MLP)}"
        )
    if "sliding_attention" in (config.get("layer_types") or ()):
        raise InputError(f"{source}: layer_types holds sliding_attention, which is not modelled yet; use another model")
    if config.get("sliding_window") is not None and config.get("use_sliding_window", True):
        raise InputError(
            f"{source}: sliding_window {config['sliding_window']} is not modelled yet; "
            "set it to null to count every layer as full attention"
        )


def _integer(config: dict[str, Any], field: str, source: str, default: int | None = None) -> int:
    value = config.get(field)
    if value is None:
        value = default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{source}: {field} is {value!r}, must be a whole number >= 1; complete the config.json")
    return value
