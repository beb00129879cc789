"""A Hugging Face `config.json` read as a ModelSpec: fields are read, names of models are not.

What would be counted wrong is refused by name: vision towers, Mamba and linear-attention layers, sparse attention.
"""

from __future__ import annotations

from typing import Any

from sim.errors import InputError, did_you_mean
from sim.specs.hf_quantization import quantization_from_hf
from sim.specs.model import ModelSpec
from sim.specs.validation import validate

Config = dict[str, Any]

KNOWN_TYPES = (
    *("llama", "mistral", "qwen2", "qwen3"),
    *("mixtral", "qwen3_moe", "minimax_m2", "gpt_oss", "llama4", "llama4_text", "glm4_moe"),
    *("deepseek_v2", "deepseek_v3", "kimi_k2"),
)
_UNMODELLED = {
    "vision_config": "a vision tower",
    "audio_config": "an audio tower",
    "hybrid_override_pattern": "Mamba layers",
    "mamba_num_heads": "Mamba layers",
    "index_topk": "sparse attention over an index",
}
_UNMODELLED_LAYERS = {"linear_attention": "linear-attention layers", "mamba": "Mamba layers"}


def model_from_hf(config: Config, name: str, source: str, quantization_file: Config | None = None) -> ModelSpec:
    """The ModelSpec of an unmodified `config.json`; `name` and `source` say where it came from.

    `quantization_file` is the content of the `hf_quant_config.json` that some checkpoints carry beside it. Raises
    InputError for a field that is missing or an architecture that would be counted wrong.
    """
    text = config.get("text_config") or config
    _refuse_unmodelled(config, text, source)
    heads, hidden = _integer(text, "num_attention_heads", source), _integer(text, "hidden_size", source)
    experts = _experts(text, source)
    latent = _latent_attention(text)
    dtype = text.get("dtype") or text.get("torch_dtype") or config.get("dtype") or config.get("torch_dtype")
    described: Config = {
        "name": name,
        "hidden_size": hidden,
        "num_hidden_layers": _integer(text, "num_hidden_layers", source),
        "num_attention_heads": heads,
        "num_key_value_heads": heads if latent else _integer(text, "num_key_value_heads", source, default=heads),
        "head_dim": _head_dim(text, latent, source, default=max(hidden // heads, 1)),
        "intermediate_size": _first(text, "intermediate_size_mlp", "intermediate_size"),
        "vocab_size": _integer(text, "vocab_size", source),
        "max_position_embeddings": _integer(text, "max_position_embeddings", source),
        "tie_word_embeddings": text.get("tie_word_embeddings", False),
        "attention_bias": text.get("attention_bias", text["model_type"] == "qwen2"),
        "dtype": dtype or "bfloat16",
        "latent_attention": latent,
        "experts": experts,
        "windowed_layers": _windowed_layers(text, source),
        "quantization": quantization_from_hf(config, text, quantization_file, source),
        "source": source,
    }
    return validate(ModelSpec, described, source)


def _refuse_unmodelled(config: Config, text: Config, source: str) -> None:
    for part in (config, text):
        for field, meaning in _UNMODELLED.items():
            if part.get(field) is not None:
                raise InputError(f"{source}: {field} means {meaning}, which is not modelled; use another model")
    for kind in text.get("layer_types") or ():
        if kind in _UNMODELLED_LAYERS:
            meaning = _UNMODELLED_LAYERS[kind]
            raise InputError(f"{source}: layer_types holds {kind}: {meaning} are not modelled; use another model")
    model_type = text.get("model_type")
    if model_type is None:
        raise InputError(f"{source}: has no model_type, so it is not a model's config.json; give that file")
    if model_type not in KNOWN_TYPES:
        known = did_you_mean(str(model_type), KNOWN_TYPES)
        raise InputError(f"{source}: model_type '{model_type}' is not modelled; {known}")


def _latent_attention(text: Config) -> Config | None:
    if text.get("kv_lora_rank") is None:
        return None
    keys = ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    return {key: text[key] for key in keys if key in text}


def _head_dim(text: Config, latent: Config | None, source: str, default: int) -> int:
    """Width of a query head; with latent attention it is a rotary and a plain part, whatever `head_dim` says."""
    if latent is None:
        return _integer(text, "head_dim", source, default)
    return _integer(latent, "qk_nope_head_dim", source) + _integer(latent, "qk_rope_head_dim", source)


def _experts(text: Config, source: str) -> Config | None:
    """The mixture of experts under any of its names."""
    count = _first(text, "n_routed_experts", "num_local_experts", "num_experts")
    if count is None:
        return None
    width = _first(text, "moe_intermediate_size", "intermediate_size")
    per_token = _first(text, "num_experts_per_tok", "top_k_experts", "experts_per_token")
    if per_token is None:
        raise InputError(
            f"{source}: num_experts_per_tok is None, must be a whole number >= 1; complete the config.json"
        )
    layers = _integer(text, "num_hidden_layers", source)
    return {
        "num_experts": count,
        "num_experts_per_tok": per_token,
        "moe_intermediate_size": width,
        "shared_intermediate_size": _shared_width(text, width),
        "num_moe_layers": sum(_is_moe_layer(layer, text) for layer in range(layers)),
    }


def _shared_width(text: Config, width: Any) -> Any:
    """All shared experts together; Llama 4 has one that its config does not name."""
    written = _first(text, "shared_expert_intermediate_size", "shared_intermediate_size")
    if written is not None:
        return written
    count = text.get("n_shared_experts") or (1 if text["model_type"].startswith("llama4") else 0)
    return count * width if isinstance(width, int) else width


def _is_moe_layer(layer: int, text: Config) -> bool:
    """Whether layer number `layer` (from 0) is a mixture of experts: three ways of saying so are in use."""
    if layer < (text.get("first_k_dense_replace") or 0) or layer in (text.get("mlp_only_layers") or ()):
        return False
    step = _first(text, "interleave_moe_layer_step", "decoder_sparse_step", "moe_layer_freq") or 1
    return (layer + 1) % step == 0


def _windowed_layers(text: Config, source: str) -> Config | None:
    """Layers that keep only a window (or, in Llama 4, a chunk) of the context."""
    layers = _integer(text, "num_hidden_layers", source)
    if text.get("attention_chunk_size"):
        every_fourth_is_full = layers - layers // 4
        return {"num_layers": every_fourth_is_full, "window_tokens": text["attention_chunk_size"]}
    window = text.get("sliding_window")
    if window is None or not text.get("use_sliding_window", True):
        return None
    if "layer_types" in text:
        windowed = text["layer_types"].count("sliding_attention")
    else:
        windowed = layers - (text.get("max_window_layers") or 0)
    return {"num_layers": windowed, "window_tokens": window} if windowed > 0 else None


def _first(text: Config, *fields: str) -> Any:
    """The first of several names under which a value may stand."""
    return next((text[field] for field in fields if text.get(field) is not None), None)


def _integer(config: Config, field: str, source: str, default: int | None = None) -> int:
    value = config.get(field)
    if value is None:
        value = default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{source}: {field} is {value!r}, must be a whole number >= 1; complete the config.json")
    return value
