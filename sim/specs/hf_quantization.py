"""How a checkpoint says that its weights are quantised, and what that makes of a weight's bits.

The dialects: `quantization_config` inside config.json (fp8, mxfp4, gptq, awq, compressed-tensors, bitsandbytes) and
NVIDIA ModelOpt's `hf_quant_config.json` beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from sim.specs.base import MOST_UNITS
from sim.specs.hf_fields import Fields
from sim.specs.model import COMPRESSED_FP8

Config = dict[str, Any]
NOT_QUANTIZED_BITS, MOST_BITS = 16.0, 16
DEFAULT_BITS, DEFAULT_GROUP = 4, 128
"""Of GPTQ and AWQ, where the file does not say."""
MODELOPT_BITS = {"FP8": 8.0, "NVFP4": 4.5, "W4A16_AWQ": 4.125, "INT8": 8.0}
"""FP8 with a scale a tensor; NVFP4 with an 8-bit scale for every 16 weights."""


def quantization_from_hf(top: Fields, text: Fields, beside: Config | None) -> Config | None:
    """The `quantization` of a ModelSpec, or None when the weights are not quantised.

    `top` is the config, `text` its part that describes the language model, `beside` the content of ModelOpt's file.
    """
    if beside is not None:
        file = Fields(beside, f"hf_quant_config.json beside {top.source}")
        return _modelopt(file.section("quantization") or file)
    written = top.section("quantization_config") or text.section("quantization_config")
    if written is None:
        return None
    method = written.one_of("quant_method", [*_BITS, "modelopt"])
    if method == "modelopt":
        return _modelopt(written.section("quantization") or written)
    excluded = written.words("modules_to_not_convert", "ignore")
    bits = _BITS[method](written)
    if method == "compressed-tensors" and _activations_in_fp8(written):
        method = COMPRESSED_FP8
    return _described(method, bits, excluded, experts_only=method == "mxfp4")


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


def _modelopt(written: Fields) -> Config:
    algorithm = written.one_of("quant_algo", MODELOPT_BITS)
    kv = 1 if written.text("kv_cache_quant_algo") in ("FP8", "INT8") else None
    excluded = written.words("exclude_modules", "ignore")
    return _described(f"modelopt {algorithm}", MODELOPT_BITS[algorithm], excluded, kv=kv)


def _fp8_bits(written: Fields) -> float:
    """One byte, and a 32-bit scale for every block (128 x 128 in DeepSeek's scheme) or, without blocks, a tensor."""
    block = written.wholes("weight_block_size", low=1, high=MOST_UNITS)
    if len(block) not in (0, 2):
        raise written.refusal("weight_block_size", "must be two whole numbers, the rows and columns of a block")
    return 8 + 32 / math.prod(block) if block else 8.0


def _grouped_bits(written: Fields) -> float:
    """GPTQ and AWQ: `bits` a weight, and for every group a 16-bit scale and a zero point of the same bits."""
    bits, group = written.whole("bits", high=MOST_BITS) or DEFAULT_BITS, _group_size(written) or DEFAULT_GROUP
    return bits + (16 + bits) / group


def _compressed_tensors_bits(written: Fields) -> float:
    """The first group's weights: `num_bits`, and a 16-bit scale for every group of weights if there are groups."""
    groups = written.section("config_groups")
    found = [weights for group in groups.sections() if (weights := group.section("weights"))] if groups else []
    bits = (found[0].whole("num_bits", high=MOST_BITS) if found else None) or 8
    return bits + 16 / (_group_size(found[0]) or math.inf) if found else float(bits)


def _activations_in_fp8(written: Fields) -> bool:
    """Whether the first group's matrices are multiplied in 8-bit floating point (W8A8 FP8), not only kept in it."""
    groups = written.section("config_groups")
    for group in groups.sections() if groups else ():
        parts = group.section("weights"), group.section("input_activations")
        return all(part is not None and part.text("type") == "float" and part.whole("num_bits") == 8 for part in parts)
    return False


def _group_size(written: Fields) -> float | None:
    """Weights that share a scale; -1 means one group a row, whose scale is not worth counting."""
    size = written.whole("group_size", low=-1)
    if size == 0:
        raise written.refusal("group_size", "must be -1 for one group a row, or at least 1")
    return math.inf if size == -1 else size


def _bitsandbytes_bits(written: Fields) -> float:
    return 8.0 if written.flag("load_in_8bit") else 4.5


_BITS: Mapping[str, Callable[[Fields], float]] = {
    "fp8": _fp8_bits,
    "mxfp4": lambda written: 4.25,
    "gptq": _grouped_bits,
    "awq": _grouped_bits,
    "compressed-tensors": _compressed_tensors_bits,
    "bitsandbytes": _bitsandbytes_bits,
}
"""Bits per quantised weight, scales included, by `quant_method`. MXFP4 shares an 8-bit scale among 32 weights."""
