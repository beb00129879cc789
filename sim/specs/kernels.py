"""What the kernels of an accelerator take beside the shares of its peaks: start-up times, tiles, its own all-reduce.

The defaults are those of no device in particular: about what the measured ones have in common.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from sim.specs.base import Spec

Moment = Annotated[float, Field(ge=0, le=0.1)]
Share = Annotated[float, Field(ge=1e-3, le=1)]
Rate = Annotated[float, Field(ge=1e3, le=1e18)]


class Shares(Spec):
    """Shares of peak arithmetic and of memory bandwidth."""

    compute: Share
    memory: Share


class ExpertShares(Shares):
    """Shares of a grouped expert GEMM, and the power p of its smooth roofline: (memory^p + compute^p)^(1/p).

    Beside it, sorting the rows by expert and adding up what the experts say take `start_s`, and `element_s` for each of
    the M k h elements of the rows that are copied to their experts and back.
    """

    power: Annotated[float, Field(ge=1, le=8)] = 1.4
    start_s: Moment = 0.0
    element_s: Annotated[float, Field(ge=0, le=1e-6)] = 0.0


class AllReduce(Spec):
    """The engine's own all-reduce among so many GPUs: `start_s` + message bytes / `bytes_per_s`."""

    start_s: Moment
    bytes_per_s: Rate


class KernelSpec(Spec):
    """Seconds, unless the name says otherwise; formulas are in `sim/cost/kernels`.

    `float8_gemm` replaces the shares of `efficiency` where matrices are multiplied in 8 bit, `float4_gemm` in 4 bit;
    `experts` and `float8_experts` are those of grouped expert GEMMs. `query_tile_tokens` is how many query rows
    a tile of the variable-length attention kernel has; unless it `packs_decode_rows`, a decode beside prompt chunks
    takes a tile a head. `clock` is by how much all kernels are slower under sustained load than in a benchmark.
    `standard_errors` are relative, by name (of these or of `efficiency`, dotted below: `float8_gemm.compute`); what is
    not named has `efficiency.error`.
    """

    gemm_start_s: Moment = 5e-6
    float8_gemm: Shares | None = None
    float4_gemm: Shares | None = None
    experts: ExpertShares | None = None
    float8_experts: ExpertShares | None = None
    decode_start_s: Moment = 15e-6
    decode_row_s: Moment = 0.05e-6
    prefill_start_s: Moment = 9e-6
    prefill_tile_s: Moment = 0.03e-6
    query_tile_tokens: Annotated[int, Field(ge=1, le=4096)] = 64
    packs_decode_rows: bool = False
    multiprocessors: Annotated[int, Field(ge=1, le=100_000)] = 132
    elementwise_start_s: Moment = 8e-6
    elementwise_memory: Share = 0.9
    sampler_start_s: Moment = 25e-6
    sampler_row_s: Moment = 0.7e-6
    gap_s: Moment = 1.9e-6
    clock: Annotated[float, Field(ge=0.5, le=3)] = 1.0
    all_reduce: dict[Annotated[int, Field(ge=2, le=1024)], AllReduce] = Field(default_factory=dict)
    standard_errors: dict[str, Annotated[float, Field(ge=0, le=2)]] = Field(default_factory=dict)
    source: str = ""


SECTIONS: dict[str, type[Spec]] = {
    "float8_gemm": Shares,
    "float4_gemm": Shares,
    "experts": ExpertShares,
    "float8_experts": ExpertShares,
    "all_reduce.N": AllReduce,
}


def constants_of_kernels() -> Iterator[str]:
    """The dotted name of every constant; `N` stands for a number of GPUs."""
    yield from (name for name, field in KernelSpec.model_fields.items() if field.annotation is float)
    for section, spec in SECTIONS.items():
        yield from (f"{section}.{name}" for name in spec.model_fields)
