"""The all-reduce after attention and after the MLP of every layer, among the GPUs that share the model.

    t = alpha + message bytes / beta        two a layer; message: M h a bytes

alpha and beta are of the engine's own kernel (vLLM's custom all-reduce inside a CUDA graph), by link and number of
GPUs; NCCL's would be up to 2.3 times off on PCIe.
"""

from __future__ import annotations

from typing import Any

from sim.specs.accelerator import AcceleratorSpec
from sim.specs.kernels import AllReduce


def all_reduce_s(message_bytes: Any, kernel: AllReduce) -> Any:
    """The formula above."""
    return kernel.start_s + message_bytes / kernel.bytes_per_s


def all_reduce_among(gpus: int, accelerator: AcceleratorSpec) -> AllReduce:
    """As measured among so many GPUs; else a ring over one direction of the link: 2 (p - 1)/p of the message each.

    Where another number of GPUs was measured, the ring is as fast as that one's nearest.
    """
    measured = accelerator.kernels.all_reduce
    if gpus in measured:
        return measured[gpus]
    ring = 2 * (gpus - 1) / gpus
    if not measured:
        rate = accelerator.link_bytes_per_s / 2 * accelerator.efficiency.link
        return AllReduce(start_s=accelerator.link_latency_s, bytes_per_s=rate / ring)
    nearest = min(measured, key=lambda other: abs(other - gpus))
    rate = measured[nearest].bytes_per_s * 2 * (nearest - 1) / nearest
    return AllReduce(start_s=measured[nearest].start_s, bytes_per_s=rate / ring)
