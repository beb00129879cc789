"""What an accelerator can do: datasheet peaks, and apart from them what share of the peaks real kernels reach."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sim.specs.base import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, Spec

ASSUMED = "assumed"


class Efficiency(Spec):
    """Shares of the datasheet peaks that real kernels reach, one a resource; the defaults are assumed, not measured."""

    gemm_compute: Fraction = 0.70
    gemm_memory: Fraction = 0.80
    attention_compute: Fraction = 0.50
    attention_memory: Fraction = 0.80
    link: Fraction = 0.60
    source: str = ASSUMED


class AcceleratorSpec(Spec):
    """One device. Peaks are dense (no sparsity); bandwidths in bytes per second.

    `memory_bytes` is what the driver reports, which is what a serving engine divides up; it differs from the GB on the
    box. `link_bytes_per_s` is the sum of both directions of the link to its peers. `power_w` is the thermal design
    power (TDP), the most a device draws for long. `price_per_hour` is what one costs for an hour, in any currency;
    prices depend on contract and place, so the catalogue has none.
    """

    name: str
    memory_bytes: PositiveInt
    memory_bytes_per_s: PositiveFloat
    peak_flop_per_s: dict[Literal["bfloat16", "float16", "float32", "float8", "int8", "float4"], PositiveFloat]
    link_bytes_per_s: PositiveFloat
    link_latency_s: NonNegativeFloat = 5e-6
    power_w: PositiveFloat | None = None
    price_per_hour: NonNegativeFloat | None = None
    efficiency: Efficiency = Field(default_factory=Efficiency)
    source: str = ""
    confidence: Literal["A", "B", "C"] = "C"
