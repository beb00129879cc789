"""Routed experts, by data type of their weights: the grouped GEMMs, and bringing rows to experts and back.

    t = t0 + c M k h + (grouped GEMMs) / ranks,        as in sim/cost/kernels/moe.py

An expert parallel rank has E / ranks of the experts; the rows that it sorts and adds up are those of all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sim.cost.kernels.moe import ExpertSpeed, Routed, expert_flops, experts
from sim.errors import InputError
from sim.specs.accelerator import AcceleratorSpec
from sim.study.calibrate.fitted import LEAST_PER_CONSTANT, Fitted, fit
from sim.study.calibrate.operators import DTYPES
from sim.study.calibrate.screen import IMPOSSIBLE, kept, peak_of, possible, screened
from sim.study.calibrate.solve import Constant, Floats

BALANCED = "dealt out evenly"
UNEVEN = "widths no multiple of 16"
SECTIONS = {"bfloat16": "experts", "float16": "experts", "float8": "float8_experts"}
SHAPE = ("hidden_size", "intermediate_size", "num_experts", "num_experts_per_tok", "ranks")


def fit_experts(dtype: str, table: pd.DataFrame, accelerator: AcceleratorSpec) -> Fitted:
    """On tokens that choose experts at random: where each in turn gets the next ones, more are touched than are ever.

    Widths that are no multiple of 16 run on kernels that no engine would be configured to use.
    """
    operator = f"experts {dtype}"
    if dtype not in SECTIONS:
        raise InputError(f"--ops: {operator}: constants are fitted in {', '.join(SECTIONS)} alone; remove those rows")
    section = f"kernels.{SECTIONS[dtype]}"
    screens = {
        IMPOSSIBLE: _possible(table, dtype, accelerator),
        UNEVEN: (table["intermediate_size"] % 16 == 0).to_numpy(),
        BALANCED: (table["distribution"] != "balanced").to_numpy(),
    }
    rows = kept(table, screens, operator, 5 * LEAST_PER_CONSTANT)
    constants = [
        Constant(f"{section}.compute", 0.5, 1.0),
        Constant(f"{section}.memory", 0.8, 1.0),
        Constant(f"{section}.power", 1.4, 8.0, 1.0),
        Constant(f"{section}.start_s", 30e-6, 0.1),
        Constant(f"{section}.element_s", 4e-12, 1e-6),
    ]
    return fit(
        operator,
        rows,
        lambda values: predicted(rows, dtype, accelerator, values),
        constants,
        SHAPE,
        screened(screens),
    )


def predicted(table: pd.DataFrame, dtype: str, accelerator: AcceleratorSpec, values: Sequence[float]) -> Floats:
    """Seconds of every row with these shares, this power, start-up and time of an element."""
    compute, memory, power, start_s, element_s = values
    peak = peak_of(accelerator, dtype, f"experts {dtype}")
    speed = ExpertSpeed(peak * compute, accelerator.memory_bytes_per_s * memory, start_s, element_s, power)
    parts = experts(_routed(table, dtype), table["rows"].to_numpy(float), speed)
    return np.asarray(parts.launch_s + parts.overlapped_s / table["ranks"].to_numpy(float))


def _routed(table: pd.DataFrame, dtype: str) -> Routed:
    """Columns instead of numbers: the formulas take either."""
    columns = {
        name: table[name].to_numpy(float)
        for name in ("hidden_size", "intermediate_size", "num_experts", "num_experts_per_tok")
    }
    return Routed(**columns, weight_bytes=DTYPES[dtype])  # type: ignore[arg-type]


def _possible(table: pd.DataFrame, dtype: str, accelerator: AcceleratorSpec) -> np.ndarray:
    """At least the weights of one row's experts on the rank are read."""
    routed, rows, ranks = _routed(table, dtype), table["rows"].to_numpy(float), table["ranks"].to_numpy(float)
    chosen = np.floor(np.asarray(routed.num_experts_per_tok) / ranks)
    peak = peak_of(accelerator, dtype, f"experts {dtype}")
    moved = chosen * routed.parameters * routed.weight_bytes
    flops = np.where(ranks == 1, expert_flops(routed, rows), 0.0)
    return possible(table["seconds"], flops, moved, peak, accelerator.memory_bytes_per_s)
