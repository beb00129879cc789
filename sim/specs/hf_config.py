"""A Hugging Face `config.json` read as a ModelSpec: fields are read, names of models are not.

What would be counted wrong is refused by name: vision towers, Mamba and linear-attention layers, sparse attention.
"""

from __future__ import annotations

from typing import Any

from sim.errors import InputError
from sim.specs.base import MOST_HEADS, MOST_LAYERS
from sim.specs.hf_fields import Fields
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
_FULL, _WINDOWED = "full_attention", ("sliding_attention", "chunked_attention")
_UNMODELLED_LAYERS = {"linear_attention": "linear-attention layers", "mamba": "Mamba layers"}


def model_from_hf(config: Config, name: str, source: str, quantization_file: Config | None = None) -> ModelSpec:
    """The ModelSpec of an unmodified `config.json`; `name` and `source` say where it came from.

    `quantization_file` is the content of the `hf_quant_config.json` that some checkpoints carry beside it. Raises
    InputError for a field that is missing or not what it has to be, and for an architecture that would be counted
    wrong.
    """
    top = Fields(config, source)
    text = top.section("text_config") or top
    model_type = _model_type(top, text)
    layers = text.required("num_hidden_layers", high=MOST_LAYERS)
    heads = text.required("num_attention_heads", high=MOST_HEADS)
    hidden = text.required("hidden_size")
    latent = _latent_attention(text)
    kinds = _layer_kinds(text, layers)
    described: Config = {
        "name": name,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads if latent else text.whole("num_key_value_heads", high=MOST_HEADS) or heads,
        "head_dim": _head_dim(latent) or text.whole("head_dim") or max(hidden // heads, 1),
        "intermediate_size": text.required("intermediate_size_mlp", "intermediate_size"),
        "vocab_size": text.required("vocab_size"),
        "max_position_embeddings": text.required("max_position_embeddings"),
        "tie_word_embeddings": text.flag("tie_word_embeddings"),
        "attention_bias": text.flag("attention_bias", default=model_type == "qwen2"),
        "dtype": next((dtype for part in (text, top) if (dtype := _dtype(part))), "bfloat16"),
        "latent_attention": latent,
        "experts": _experts(text, model_type, layers),
        "windowed_layers": _windowed_layers(text, layers, kinds),
        "quantization": quantization_from_hf(top, text, quantization_file),
        "source": source,
    }
    return validate(ModelSpec, described, source)


def _model_type(top: Fields, text: Fields) -> str:
    """Which architecture it is; what would be counted wrong is refused."""
    for part in (top, text):
        for field, meaning in _UNMODELLED.items():
            if part.has(field):
                raise InputError(f"{top.source}: {field} means {meaning}, which is not modelled; use another model")
    for kind, meaning in _UNMODELLED_LAYERS.items():
        if kind in text.words("layer_types"):
            raise InputError(f"{top.source}: layer_types holds {kind}: {meaning} are not modelled; use another model")
    if not text.has("model_type"):
        raise InputError(f"{top.source}: has no model_type, so it is not a model's config.json; give that file")
    return text.one_of("model_type", KNOWN_TYPES)


def _dtype(part: Fields) -> str | None:
    return part.text("dtype") or part.text("torch_dtype")


def _layer_kinds(text: Fields, layers: int) -> list[str]:
    """The kind of attention of every layer, where the config spells them out."""
    kinds = text.words("layer_types")
    known = (_FULL, *_WINDOWED)
    if kinds and (len(kinds) != layers or not set(kinds) <= set(known)):
        raise text.refusal("layer_types", f"must have one of {', '.join(known)} for each of the {layers} layers")
    return kinds


def _latent_attention(text: Fields) -> Config | None:
    if not text.has("kv_lora_rank"):
        return None
    keys = ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    return {"q_lora_rank": text.whole("q_lora_rank"), **{key: text.required(key) for key in keys}}


def _head_dim(latent: Config | None) -> int | None:
    """Width of a query head with latent attention: a rotary and a plain part, whatever `head_dim` says."""
    return latent["qk_nope_head_dim"] + latent["qk_rope_head_dim"] if latent else None


def _experts(text: Fields, model_type: str, layers: int) -> Config | None:
    """The mixture of experts under any of its names, if there is one in any layer."""
    count = text.whole("n_routed_experts", "num_local_experts", "num_experts")
    moe_layers = _num_moe_layers(text, layers)
    if count is None or moe_layers == 0:
        return None
    width = text.required("moe_intermediate_size", "intermediate_size")
    return {
        "num_experts": count,
        "num_experts_per_tok": text.required("num_experts_per_tok", "top_k_experts", "experts_per_token"),
        "moe_intermediate_size": width,
        "shared_intermediate_size": _shared_width(text, model_type, width),
        "num_moe_layers": moe_layers,
    }


def _shared_width(text: Fields, model_type: str, width: int) -> int:
    """All shared experts together; Llama 4 has one that its config does not name."""
    width_of_all = text.whole("shared_expert_intermediate_size", "shared_intermediate_size", low=0)
    if width_of_all is not None:
        return width_of_all
    unnamed = 1 if model_type.startswith("llama4") else 0
    return (text.whole("n_shared_experts", low=0) or unnamed) * width


def _num_moe_layers(text: Fields, layers: int) -> int:
    """Layers, counted from 0, that are mixtures of experts.

    After the dense ones at the beginning DeepSeek's `moe_layer_freq` takes the multiples of it; the other two names
    take the last of every so many layers.
    """
    first = text.whole("first_k_dense_replace", low=0, high=MOST_LAYERS) or 0
    dense = set(text.wholes("mlp_only_layers", low=0, high=MOST_LAYERS))
    step = text.whole("interleave_moe_layer_step", "decoder_sparse_step", high=MOST_LAYERS)
    offset = 0 if step is None else 1
    step = step or text.whole("moe_layer_freq", high=MOST_LAYERS) or 1
    return sum((layer + offset) % step == 0 and layer not in dense for layer in range(first, layers))


def _windowed_layers(text: Fields, layers: int, kinds: list[str]) -> Config | None:
    """Layers that keep only a window (or, in Llama 4, a chunk) of the context."""
    chunk = text.whole("attention_chunk_size")
    if chunk is not None:
        every_fourth_is_full = layers - layers // 4
        windowed = sum(kind in _WINDOWED for kind in kinds) if kinds else every_fourth_is_full
        return {"num_layers": windowed, "window_tokens": chunk} if windowed else None
    if not text.has("sliding_window") or not text.flag("use_sliding_window", default=True):
        return None
    first = text.whole("max_window_layers", low=0, high=MOST_LAYERS) or 0
    windowed = sum(kind in _WINDOWED for kind in kinds) if kinds else layers - first
    return {"num_layers": windowed, "window_tokens": text.required("sliding_window")} if windowed > 0 else None
