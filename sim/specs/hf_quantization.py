"""How a checkpoint says that its weights are quantised, and what that makes of a weight's bits.

The dialects: `quantization_config` inside config.json (fp8, mxfp4, gptq, awq, compressed-tensors, bitsandbytes) and
NVIDIA ModelOpt's `hf_quant_config.json` beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sim.errors import InputError, did_you_mean

Config = dict[str, Any]
NOT_QUANTIZED_BITS = 16.0


def quantization_from_hf(config: Config, text: Config, beside: Config | None, source: str) -> Config | None:
    """The `quantization` of a ModelSpec, or None when the weights are not quantised."""
    if beside is not None:
        return _modelopt(beside.get("quantization", beside), source)
    written = config.get("quantization_config") or text.get("quantization_config")
    if written is None:
        return None
    method = written.get("quant_method")
    if method == "modelopt":
        return _modelopt(written.get("quantization", written), source)
    if method not in _BITS:
        known = did_you_mean(str(method), [*_BITS, "modelopt"])
        raise InputError(f"{source}: quant_method '{method}' is not known; {known}")
    bits = _BITS[method](written)
    excluded = _first_list(written, "modules_to_not_convert", "ignore")
    return _described(str(method), bits, excluded, experts_only=method == "mxfp4")


def _described(
    method: str, bits: float, excluded: list[str], experts_only: bool = False, kv: int | None = None
) -> Config:
    """Bits by part; a part whose modules are excluded keeps 16."""
    attention_is_out = experts_only or any("attn" in module for module in excluded)
    return {
        "method": method,
        "attention_bits": NOT_QUANTIZED_BITS if attention_is_out else bits,
        "mlp_bits": NOT_QUANTIZED_BITS if experts_only else bits,
        "expert_bits": bits,
        "kv_cache_bytes": kv,
    }


def _modelopt(written: Config, source: str) -> Config:
    """FP8 with a scale a tensor; NVFP4 with an 8-bit scale for every 16 weights."""
    bits = {"FP8": 8.0, "NVFP4": 4.5, "W4A16_AWQ": 4.125, "INT8": 8.0}
    algorithm = written.get("quant_algo")
    if algorithm not in bits:
        raise InputError(f"{source}: quant_algo '{algorithm}' is not known; {did_you_mean(str(algorithm), bits)}")
    kv = 1 if written.get("kv_cache_quant_algo") in ("FP8", "INT8") else None
    excluded = _first_list(written, "exclude_modules", "ignore")
    return _described(f"modelopt {algorithm}", bits[algorithm], excluded, kv=kv)


def _fp8_bits(written: Config) -> float:
    """One byte, and a 32-bit scale for every block (128 x 128 in DeepSeek's scheme)."""
    rows, columns = written.get("weight_block_size") or (2**20, 1)
    return 8 + 32 / (rows * columns)


def _grouped_bits(written: Config) -> float:
    """GPTQ and AWQ: `bits` a weight, and for every group a 16-bit scale and a zero point of the same bits."""
    bits, group = float(written.get("bits") or 4), written.get("group_size") or 128
    return bits + (16 + bits) / group if group > 0 else bits


def _compressed_tensors_bits(written: Config) -> float:
    """The first group's weights: `num_bits`, and a 16-bit scale for every group of weights if there are groups."""
    groups = written.get("config_groups") or {}
    weights: Config = next((group["weights"] for group in groups.values() if group.get("weights")), {})
    bits, group = float(weights.get("num_bits") or 8), weights.get("group_size")
    return bits + 16 / group if group and group > 0 else bits


_BITS: dict[str, Callable[[Config], float]] = {
    "fp8": _fp8_bits,
    "mxfp4": lambda written: 4.25,
    "gptq": _grouped_bits,
    "awq": _grouped_bits,
    "compressed-tensors": _compressed_tensors_bits,
    "bitsandbytes": lambda written: 8.0 if written.get("load_in_8bit") else 4.5,
}
"""Bits per quantised weight, scales included, by `quant_method`. MXFP4 shares an 8-bit scale among 32 weights."""


def _first_list(written: Config, *fields: str) -> list[str]:
    return next((list(written[field]) for field in fields if written.get(field)), [])
