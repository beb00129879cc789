"""Shares of a matrix multiplication's roofline, by data type of the weights. The start-up time is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sim.cost.kernels.gemm import Matrix, Speed, flops, gemm, memory_bytes
from sim.specs.accelerator import AcceleratorSpec
from sim.study.calibrate.fitted import LEAST_PER_CONSTANT, Fitted, fit
from sim.study.calibrate.operators import DTYPES
from sim.study.calibrate.screen import IMPOSSIBLE, kept, peak_of, possible, screened
from sim.study.calibrate.solve import Constant, Floats

NARROW = "narrower than 2048"
NARROWEST = 2048
ACTIVATION_BYTES = {"bfloat16": 2.0, "float16": 2.0, "float8": 1.0, "float4": 0.5625}
NAMES = {
    "bfloat16": ("efficiency.gemm_compute", "efficiency.gemm_memory"),
    "float16": ("efficiency.gemm_compute", "efficiency.gemm_memory"),
    "float8": ("kernels.float8_gemm.compute", "kernels.float8_gemm.memory"),
    "float4": ("kernels.float4_gemm.compute", "kernels.float4_gemm.memory"),
}
STARTS = (0.7, 0.8)


def fit_gemm(dtype: str, table: pd.DataFrame, accelerator: AcceleratorSpec) -> Fitted:
    """On matrices at least 2048 wide and high, as layers have them: small ones are start-up and little else."""
    operator = f"gemm {dtype}"
    wide = (table["inputs"] >= NARROWEST) & (table["outputs"] >= NARROWEST)
    screens = {IMPOSSIBLE: _possible(table, dtype, accelerator), NARROW: wide.to_numpy()}
    rows = kept(table, screens, operator, 2 * LEAST_PER_CONSTANT)
    constants = [Constant(name, start, 1.0) for name, start in zip(NAMES[dtype], STARTS, strict=True)]
    return fit(
        operator,
        rows,
        lambda shares: predicted(rows, dtype, accelerator, shares),
        constants,
        ("inputs", "outputs"),
        screened(screens),
    )


def compare_lm_head(table: pd.DataFrame, accelerator: AcceleratorSpec) -> Fitted:
    """The LM head is a GEMM with its shares; nothing is fitted on it."""
    shares = (accelerator.efficiency.gemm_compute, accelerator.efficiency.gemm_memory)
    screens = {IMPOSSIBLE: _possible(table, "bfloat16", accelerator)}
    rows = kept(table, screens, "lm_head", 1)
    seconds = predicted(rows, "bfloat16", accelerator, shares)
    return Fitted("lm_head", {}, {}, screened(screens), rows["seconds"].to_numpy(), seconds)


def predicted(table: pd.DataFrame, dtype: str, accelerator: AcceleratorSpec, shares: Sequence[float]) -> Floats:
    """Seconds of every row with these shares of compute and of memory."""
    compute, memory = shares
    peak = peak_of(accelerator, dtype, f"gemm {dtype}")
    speed = Speed(peak * compute, accelerator.memory_bytes_per_s * memory, accelerator.kernels.gemm_start_s)
    rows = table["rows"].to_numpy(float)
    return np.asarray(gemm(_matrix(table, dtype), rows, ACTIVATION_BYTES[dtype], speed).seconds)


def _matrix(table: pd.DataFrame, dtype: str) -> Matrix:
    return Matrix(table["inputs"].to_numpy(float), table["outputs"].to_numpy(float), DTYPES[dtype])  # type: ignore[arg-type]


def _possible(table: pd.DataFrame, dtype: str, accelerator: AcceleratorSpec) -> np.ndarray:
    rows, matrix = table["rows"].to_numpy(float), _matrix(table, dtype)
    peak, moved = peak_of(accelerator, dtype, f"gemm {dtype}"), memory_bytes(matrix, rows, ACTIVATION_BYTES[dtype])
    return possible(table["seconds"], flops(matrix, rows), moved, peak, accelerator.memory_bytes_per_s)
