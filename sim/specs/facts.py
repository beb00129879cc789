"""Descriptions and what follows from them, as plain values: the content of `servesim catalog`."""

from __future__ import annotations

from typing import Any

from sim.specs.accelerator import AcceleratorSpec
from sim.specs.model import ModelSpec
from sim.specs.preset_file import Preset


def model_facts(model: ModelSpec) -> dict[str, Any]:
    """Parameters, weight bytes over all GPUs, and what one token of context keeps in the KV cache (bytes)."""
    windowed = model.windowed_layers
    return {
        "kind": "model",
        "name": model.name,
        "parameters": {"total": model.total_parameters, "active": model.active_parameters},
        "weight_bytes": model.weight_bytes,
        "kv_bytes_per_token": model.kv_bytes_per_token,
        "kv_cache": {
            "bytes_per_token_per_layer": model.kv_bytes_per_token_per_layer,
            "layers_keeping_all_tokens": model.num_hidden_layers - (windowed.num_layers if windowed else 0),
            "layers_keeping_a_window": windowed.num_layers if windowed else 0,
            "window_tokens": windowed.window_tokens if windowed else None,
            "is_latent": model.latent_attention is not None,
        },
        "description": model.model_dump(exclude={"name"}),
    }


def accelerator_facts(accelerator: AcceleratorSpec) -> dict[str, Any]:
    """Its fields, and the ridge points: FLOPs per byte of memory traffic at which arithmetic becomes the limit."""
    bandwidth = accelerator.memory_bytes_per_s
    return {
        "kind": "accelerator",
        **accelerator.model_dump(),
        "ridge_flop_per_byte": {dtype: peak / bandwidth for dtype, peak in accelerator.peak_flop_per_s.items()},
    }


def preset_facts(preset: Preset) -> dict[str, Any]:
    """An engine preset: what keys of `engine` get that an experiment leaves out, and what else they may be called."""
    return {"kind": "engine", **preset.model_dump(by_alias=True, exclude={"base"})}
