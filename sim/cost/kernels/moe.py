"""The routed experts of one layer: grouped GEMMs over the experts that the batch's tokens happen to choose.

    D = E (1 - (1 - k/E)^M)                                      experts touched, expected under even routing
    t = t0 + c M k h + ( (D w / (B e_m))^p + (2 · 3 h I (M k + 8 D) / (F e_c))^p )^(1/p),   w = 3 h I bytes

E experts, k a token; I is an expert's width on this GPU. 8 D: half a 16-row tile of padding an expert touched. c M k h:
rows are copied to their experts and what these say is added up; t0 includes sorting the rows. An `imbalance` factor
multiplies the rows that the busiest expert computes, for whom all wait. Fitted on whole layers of experts as measured.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sim.cost.kernels.parts import Parts

PADDING_ROWS = 8


class Routed(NamedTuple):
    """The routed experts of one layer on one GPU."""

    hidden_size: int
    intermediate_size: float
    num_experts: int
    num_experts_per_tok: int
    weight_bytes: float

    @property
    def parameters(self) -> float:
        """Of one expert: gate, up and down."""
        return 3 * self.hidden_size * self.intermediate_size


def distinct_experts(routed: Routed, rows: Any) -> Any:
    """Expected number of experts that at least one of `rows` tokens chooses."""
    missed = 1 - routed.num_experts_per_tok / routed.num_experts
    return routed.num_experts * (1 - missed**rows)


def expert_flops(routed: Routed, rows: Any) -> Any:
    """2 · 3 h I · M k: what the tokens ask for, without padding."""
    return 2 * routed.parameters * rows * routed.num_experts_per_tok


class ExpertSpeed(NamedTuple):
    """Constants of the formula above, shares of peaks included: F e_c, B e_m, t0, c, p."""

    flop_per_s: float
    bytes_per_s: float
    start_s: float
    element_s: float
    power: float


def experts(routed: Routed, rows: Any, speed: ExpertSpeed, imbalance: float = 1.0) -> Parts:
    """The formula above, in its parts; copying rows is memory traffic beside the rest."""
    touched = distinct_experts(routed, rows)
    padded_rows = rows * routed.num_experts_per_tok * imbalance + PADDING_ROWS * touched
    compute_s = 2 * routed.parameters * padded_rows / speed.flop_per_s
    memory_s = touched * routed.parameters * routed.weight_bytes / speed.bytes_per_s
    copied_s = rows * routed.num_experts_per_tok * routed.hidden_size * speed.element_s
    return Parts(compute_s, memory_s, speed.start_s + copied_s, speed.power)
