"""The roofline: each operation group takes the longer of its arithmetic and its memory traffic.

    t(group) = max( FLOPs / (peak · efficiency), bytes / (bandwidth · efficiency) )

An iteration runs the groups one after the other, plus host time per iteration and per sequence. Williams, Waterman,
Patterson, "Roofline: an insightful visual performance model", CACM 2009; efficiencies come with the accelerator.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.cost import operations
from sim.cost.batch import Batch, Bound, GroupTime
from sim.cost.operations import Work
from sim.specs.accelerator import AcceleratorSpec
from sim.specs.model import ModelSpec


@dataclass(frozen=True, slots=True)
class Roof:
    """What one kind of operation can reach: FLOP per second and bytes per second."""

    flop_per_s: float
    bytes_per_s: float

    def time(self, work: Work) -> tuple[float, Bound]:
        """Seconds for `work`, and which of the two resources sets them."""
        compute_s = work.flops / self.flop_per_s
        memory_s = work.bytes / self.bytes_per_s
        return (compute_s, "compute") if compute_s > memory_s else (memory_s, "memory")


class RooflineModel:
    """The cost of iterations of `model` on `tp` accelerators."""

    def __init__(
        self,
        model: ModelSpec,
        accelerator: AcceleratorSpec,
        tp: int,
        host_per_step_s: float,
        host_per_sequence_s: float,
    ) -> None:
        share = accelerator.efficiency
        peak, bandwidth = accelerator.peak_flop_per_s[model.dtype], accelerator.memory_bytes_per_s
        self._model, self._tp = model, tp
        self._gemm = Roof(peak * share.gemm_compute, bandwidth * share.gemm_memory)
        self._attention = Roof(peak * share.attention_compute, bandwidth * share.attention_memory)
        self._link_bytes_per_s = accelerator.link_bytes_per_s / 2 * share.link
        self._link_latency_s = accelerator.link_latency_s
        self._host_per_step_s, self._host_per_sequence_s = host_per_step_s, host_per_sequence_s

    def explain(self, batch: Batch) -> tuple[GroupTime, ...]:
        """Time by operation group and the resource that sets it."""
        model, tp = self._model, self._tp
        return (
            GroupTime("QKV and O", *self._gemm.time(operations.attention_projections(model, batch, tp))),
            GroupTime("MLP", *self._gemm.time(operations.mlp(model, batch, tp))),
            GroupTime("attention prefill", *self._attention.time(operations.attention_prefill(model, batch, tp))),
            GroupTime("attention decode", *self._attention.time(operations.attention_decode(model, batch, tp))),
            GroupTime("LM head", *self._gemm.time(operations.lm_head(model, batch, tp))),
            GroupTime("all-reduce", self._all_reduce_s(batch), "link"),
            GroupTime("host", self._host_per_step_s + self._host_per_sequence_s * batch.sequences, "host"),
        )

    def _all_reduce_s(self, batch: Batch) -> float:
        """Two all-reduces a layer: a start-up latency each, and the bytes over one direction of the link."""
        if self._tp == 1:
            return 0.0
        latency_s = 2 * self._model.num_hidden_layers * self._link_latency_s
        return latency_s + operations.all_reduce_bytes(self._model, batch, self._tp) / self._link_bytes_per_s
