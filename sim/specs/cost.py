"""The `cost` section: which model turns a batch into seconds, and its constants."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sim.specs.base import Seconds, SecondsOrZero, Spec
from sim.specs.distributions import DurationDistribution


class KernelsCost(Spec):
    """Physics: every kernel of the iteration by a smooth roofline of its own, fitted on measured kernels.

    Batches of up to `graph_tokens` tokens run as captured CUDA graphs, padded to their sizes; 0 is eager mode.
    `expert_imbalance` is by how much the busiest GPU or expert tile exceeds even routing.
    """

    kind: Literal["kernels"] = "kernels"
    graph_tokens: Annotated[int, Field(ge=0, le=65536)] = 512
    expert_imbalance: Annotated[float, Field(ge=1, le=1000)] = 1.0


class RooflineCost(Spec):
    """The textbook: each operation group takes the longer of its arithmetic and its memory traffic, plus host time.

    The host defaults are the textbook form that lands within 1.3 % of a recorded RTX 4090 run (1 ms + 5 µs a row).
    """

    kind: Literal["roofline"] = "roofline"
    host_per_step_s: SecondsOrZero = 1e-3
    host_per_sequence_s: SecondsOrZero = 5e-6


class ConstantCost(Spec):
    """Every iteration takes the same time."""

    kind: Literal["constant"]
    step_s: Seconds


class AffineCost(Spec):
    """step = per_step + per_sequence·B + per_prefill_token·(prefill tokens) + per_decode_token·(decode tokens)."""

    kind: Literal["affine"]
    per_step_s: SecondsOrZero
    per_sequence_s: SecondsOrZero = 0.0
    per_prefill_token_s: SecondsOrZero = 0.0
    per_decode_token_s: SecondsOrZero = 0.0

    @model_validator(mode="after")
    def _takes_time(self) -> AffineCost:
        if self.per_step_s + self.per_sequence_s + self.per_prefill_token_s + self.per_decode_token_s == 0:
            raise ValueError("all constants are 0, so nothing would take time; raise one of them")
        return self


class PerRequestCost(Spec):
    """A request's whole service time is drawn at its arrival; needs `max_num_seqs` 1 (a single-server queue)."""

    kind: Literal["per_request"]
    service_s: DurationDistribution


PHYSICAL = ("kernels", "roofline")
"""Kinds of cost that need an accelerator's peaks, and whose constants have errors."""

CostSpec = Annotated[
    KernelsCost | RooflineCost | ConstantCost | AffineCost | PerRequestCost, Field(discriminator="kind")
]
