"""Matrix multiplication: M rows of K elements through a K x N matrix.

    t = t0 + sqrt( (2 M N K / (F e_c))^2 + ((N K w + M (N + K) a) / (B e_m))^2 )

w and a: bytes of a weight, of an activation. 2 FLOPs a multiply-add; weights once, activations in and out. The form is
Williams, Waterman, Patterson, "Roofline", CACM 2009, made smooth; its constants are fitted on measured GEMMs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sim.cost.kernels.parts import Parts


class Speed(NamedTuple):
    """What kernels of one kind reach, shares included: FLOP/s, bytes/s; and what starting one takes, s."""

    flop_per_s: float
    bytes_per_s: float
    start_s: float = 0.0


class Matrix(NamedTuple):
    """The shard of a weight matrix on one GPU: K inputs, N outputs, bytes of a weight (scales included)."""

    inputs: float
    outputs: float
    weight_bytes: float


def flops(matrix: Matrix, rows: Any) -> Any:
    """2 M N K"""
    return 2 * rows * matrix.inputs * matrix.outputs


def memory_bytes(matrix: Matrix, rows: Any, activation_bytes: float) -> Any:
    """N K w + M (N + K) a"""
    weights = matrix.inputs * matrix.outputs * matrix.weight_bytes
    return weights + rows * (matrix.inputs + matrix.outputs) * activation_bytes


def gemm(matrix: Matrix, rows: Any, activation_bytes: float, speed: Speed) -> Parts:
    """The formula above, in its parts."""
    compute_s = flops(matrix, rows) / speed.flop_per_s
    return Parts(compute_s, memory_bytes(matrix, rows, activation_bytes) / speed.bytes_per_s, speed.start_s)
