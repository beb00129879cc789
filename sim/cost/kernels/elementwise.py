"""Norms, rotary embedding, activation, residuals: what reads and writes activations and computes next to nothing.

    t = L t0 + M a · elements / (B e),        elements = 6 h + 3 I + 4 (H_q + 2 H_kv) d a layer

An effective term, settled on end-to-end runs: it is more than the kernels take by themselves.
"""

from __future__ import annotations

from typing import Any

from sim.cost.kernels.parts import Parts


def elementwise(
    rows: Any, elements_per_row: float, activation_bytes: float, bytes_per_s: float, start_s: float
) -> Parts:
    """Of all layers; `start_s` is L t0."""
    return Parts(0.0 * rows, rows * elements_per_row * activation_bytes / bytes_per_s, start_s)
