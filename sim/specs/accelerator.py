"""What an accelerator can do: datasheet peaks, and apart from them what share of the peaks real kernels reach.

The bounds are generous, from a microcontroller's board to a rack that calls itself one device; what lies beyond is a
slip of the unit.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sim.errors import did_you_mean
from sim.specs.base import Spec
from sim.specs.kernels import KernelSpec, constants_of_kernels

ASSUMED = "assumed"
GIB = 2**30

Share = Annotated[float, Field(ge=1e-3, le=1)]
MemoryBytes = Annotated[int, Field(ge=10**6, le=10**15)]
BytesPerSecond = Annotated[float, Field(ge=1e6, le=1e18)]
FlopPerSecond = Annotated[float, Field(ge=1e6, le=1e21)]
LinkLatency = Annotated[float, Field(ge=0, le=1)]
MOST_WATTS = 1e6
Watts = Annotated[float, Field(ge=1e-3, le=MOST_WATTS)]
PricePerHour = Annotated[float, Field(ge=0, le=1e9)]


class Efficiency(Spec):
    """Shares of the datasheet peaks that real kernels reach, one a resource; the defaults are assumed, not measured.

    `error` is how far off each of them may be, as a relative standard error: a judgement, 5 % where they are fitted on
    this device's operators (whose single points the fits miss by 4 to 11 %), 10 % where on a relative's.
    """

    gemm_compute: Share = 0.70
    gemm_memory: Share = 0.80
    attention_compute: Share = 0.50
    attention_memory: Share = 0.80
    link: Share = 0.60
    error: Annotated[float, Field(ge=0, le=1)] = 0.20
    source: str = ASSUMED


class AcceleratorSpec(Spec):
    """One device. Peaks are dense (no sparsity); bandwidths in bytes per second.

    `memory_bytes` is what the driver reports, which is what a serving engine divides up; it differs from the GB on the
    box. `link_bytes_per_s` is the sum of both directions of the link to its peers, `host_link_bytes_per_s` one
    direction of that to the host (assumed: PCIe 4.0 x16 at four fifths of its 31.5 GB/s). `power_w` is the thermal
    design power (TDP), the most a device draws for long. `price_per_hour` is what one costs for an hour, in any
    currency; prices depend on contract and place, so the catalogue has none.
    """

    name: str
    memory_bytes: MemoryBytes
    memory_bytes_per_s: BytesPerSecond
    peak_flop_per_s: dict[Literal["bfloat16", "float16", "float32", "float8", "int8", "float4"], FlopPerSecond]
    link_bytes_per_s: BytesPerSecond
    link_latency_s: LinkLatency = 5e-6
    host_link_bytes_per_s: BytesPerSecond = 25e9
    power_w: Watts | None = None
    price_per_hour: PricePerHour | None = None
    efficiency: Efficiency = Field(default_factory=Efficiency)
    kernels: KernelSpec = Field(default_factory=KernelSpec)
    source: str = ""
    confidence: Literal["A", "B", "C"] = "C"

    @model_validator(mode="after")
    def _errors_are_of_constants(self) -> AcceleratorSpec:
        shares = (name for name in Efficiency.model_fields if name not in ("error", "source"))
        known = [*shares, *constants_of_kernels()]
        for name in self.kernels.standard_errors:
            if re.sub(r"^all_reduce\.\d+\.", "all_reduce.N.", name) not in known:
                raise ValueError(f"kernels.standard_errors: unknown constant '{name}'; {did_you_mean(name, known)}")
        return self
