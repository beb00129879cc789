"""The roofline: each operation group takes the longer of its arithmetic and its memory traffic.

    t(group) = max( FLOPs / (peak · efficiency), bytes / (bandwidth · efficiency) )

An iteration runs the groups one after the other, plus host time per iteration and per sequence. Williams, Waterman,
Patterson, "Roofline: an insightful visual performance model", CACM 2009; efficiencies come with the accelerator.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.cost import operations
from sim.cost.batch import Batch, GroupTime
from sim.cost.operations import Work
from sim.specs.accelerator import AcceleratorSpec
from sim.specs.model import ModelSpec


@dataclass(frozen=True, slots=True)
class Roof:
    """What one kind of operation can reach: FLOP per second and bytes per second."""

    flop_per_s: float
    bytes_per_s: float

    def time(self, group: str, work: Work) -> GroupTime:
        """Seconds `group` takes for `work`, and which of the two resources sets them."""
        compute_s = work.flops / self.flop_per_s
        memory_s = work.bytes / self.bytes_per_s
        if compute_s > memory_s:
            return GroupTime(group, compute_s, "compute", work.flops, work.bytes)
        return GroupTime(group, memory_s, "memory", work.flops, work.bytes)


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
            self._gemm.time("QKV and O", operations.attention_projections(model, batch, tp)),
            self._gemm.time("MLP", operations.mlp(model, batch, tp)),
            self._attention.time("attention prefill", operations.attention_prefill(model, batch, tp)),
            self._attention.time("attention decode", operations.attention_decode(model, batch, tp)),
            self._gemm.time("LM head", operations.lm_head(model, batch, tp)),
            GroupTime("all-reduce", self._all_reduce_s(batch), "link"),
            GroupTime("host", self._host_per_step_s + self._host_per_sequence_s * batch.sequences, "host"),
        )

    def _all_reduce_s(self, batch: Batch) -> float:
        """Two all-reduces a layer: a start-up latency each, and the bytes over one direction of the link."""
        if self._tp == 1:
            return 0.0
        latency_s = 2 * self._model.num_hidden_layers * self._link_latency_s
        return latency_s + operations.all_reduce_bytes(self._model, batch, self._tp) / self._link_bytes_per_s
