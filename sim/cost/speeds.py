"""What the kernels of an accelerator reach for a model: peaks of the data types in use, times fitted shares of them."""

from __future__ import annotations

from sim.cost.kernels.attention import AttentionSpeed
from sim.cost.kernels.gemm import Speed
from sim.cost.kernels.moe import ExpertSpeed
from sim.specs.accelerator import AcceleratorSpec
from sim.specs.kernels import ExpertShares, Shares
from sim.specs.model import ModelSpec

ASSUMED_EXPERTS = ExpertShares(compute=0.55, memory=0.93, power=1.25, start_s=35e-6, element_s=4e-12)
"""Of an accelerator whose expert kernels were not measured: about what the measured ones have in common."""


def computes_in(model: ModelSpec, part: str, accelerator: AcceleratorSpec) -> str:
    """The data type in which a part (`attention`, `mlp`, `expert`, or `other`) is multiplied.

    That of the weights where activations are quantised too and the accelerator has such a peak; else the weights are
    turned into the model's own type on the way, as weight-only kernels (Marlin) do.
    """
    quantization = model.quantization
    if quantization is None or part == "other" or getattr(quantization, f"{part}_bits") > 8.5:
        return model.dtype
    dtype = quantization.computes_in
    return dtype if dtype in accelerator.peak_flop_per_s else model.dtype


def gemm_speed(dtype: str, accelerator: AcceleratorSpec) -> Speed:
    """Matrix multiplication in that type."""
    efficiency, kernels = accelerator.efficiency, accelerator.kernels
    shares = {"float8": kernels.float8_gemm, "float4": kernels.float4_gemm or kernels.float8_gemm}.get(dtype)
    return _speed(dtype, accelerator, shares or Shares(compute=efficiency.gemm_compute, memory=efficiency.gemm_memory))


def expert_speed(dtype: str, accelerator: AcceleratorSpec) -> ExpertSpeed:
    """Grouped expert GEMMs in that type."""
    kernels = accelerator.kernels
    low_precision = kernels.float8_experts if dtype in ("float8", "float4") else None
    shares = low_precision or kernels.experts or ASSUMED_EXPERTS
    speed = _speed(dtype, accelerator, shares)
    return ExpertSpeed(speed.flop_per_s, speed.bytes_per_s, shares.start_s, shares.element_s, shares.power)


def attention_speed(dtype: str, accelerator: AcceleratorSpec) -> AttentionSpeed:
    """Both attention kernels in that type."""
    efficiency, kernels = accelerator.efficiency, accelerator.kernels
    return AttentionSpeed(
        accelerator.peak_flop_per_s[dtype] * efficiency.attention_compute,  # type: ignore[index]
        accelerator.memory_bytes_per_s * efficiency.attention_memory,
        kernels.decode_start_s,
        kernels.decode_row_s,
        kernels.prefill_start_s,
        kernels.prefill_tile_s,
        kernels.query_tile_tokens,
        kernels.packs_decode_rows,
        kernels.multiprocessors,
    )


def _speed(dtype: str, accelerator: AcceleratorSpec, shares: Shares) -> Speed:
    return Speed(
        accelerator.peak_flop_per_s[dtype] * shares.compute,  # type: ignore[index]
        accelerator.memory_bytes_per_s * shares.memory,
        accelerator.kernels.gemm_start_s,
    )
