"""Fits to real operator tables are as near as such formulas get; the catalogue's constants as well.

Bounds are mean absolute errors over points, of published fits of the same formulas under the same screens: GEMMs at
least 2048 wide and high; decodes on contexts beyond 64 that read their cache for 50 µs or more, where the published
constants are off by 11.4, 2.6, 4.4, 1.6 and 8.3 %. Experts have bounds of their own, from their first fit.
"""

from __future__ import annotations

import numpy as np
import pytest

from sim.config import load_accelerator
from sim.study.calibrate.calibration import calibrate
from sim.study.calibrate.changed import changed
from sim.study.calibrate.fits import attention
from sim.study.calibrate.tables import read_tables

PREFIX = {
    "rtx-4090": "lss_rtx4090_llama31_8b_tp1",
    "rtx-pro-6000": "lss_rtxpro6000_llama31_8b_tp1",
    "a100-80gb-sxm": "aic_a100_sxm",
    "h100-sxm": "aic_h100_sxm",
    "h200-sxm": "aic_h200_sxm",
    "b200-sxm": "aic_b200_sxm",
    "l40s": "aic_l40s",
}
PROFILED = {
    "rtx-4090": {"gemm bfloat16": 0.0365, "decodes": 0.11, "prefill_attention": 0.0815, "mixed_attention": 0.145},
    "rtx-pro-6000": {"gemm bfloat16": 0.0715, "decodes": 0.0635, "prefill_attention": 0.085, "mixed_attention": 0.165},
}
TABLED = {
    "a100-80gb-sxm": {"gemm bfloat16": 0.095, "long decodes": 0.125},
    "h100-sxm": {"gemm bfloat16": 0.075, "gemm float8": 0.135, "long decodes": 0.035},
    "h200-sxm": {"gemm bfloat16": 0.085, "gemm float8": 0.175, "long decodes": 0.045},
    "b200-sxm": {"gemm bfloat16": 0.085, "gemm float8": 0.125, "long decodes": 0.045},
    "l40s": {"gemm bfloat16": 0.095, "gemm float8": 0.145, "long decodes": 0.085},
}
EXPERTS = {
    "a100-80gb-sxm": {"experts bfloat16": 0.27},
    "h100-sxm": {"experts bfloat16": 0.13, "experts float8": 0.13},
    "h200-sxm": {"experts bfloat16": 0.135, "experts float8": 0.13},
    "b200-sxm": {"experts bfloat16": 0.16, "experts float8": 0.175},
    "l40s": {"experts bfloat16": 0.235, "experts float8": 0.28},
}


def tables_of(folder, name, *words):
    paths = sorted((folder / "op_profiles").glob(f"{PREFIX[name]}_*"))
    chosen = [path for path in paths if any(word in path.name for word in words)]
    if not chosen:
        pytest.skip(f"no tables of {name} in {folder / 'op_profiles'}")
    return read_tables(chosen)


def errors(found, tables) -> dict[str, float]:
    """Mean absolute errors by operator; of decodes all that are possible, and those of them that read for long."""
    whole = {one.operator: one.mean_abs_error for one in found.operators}
    if "decode_attention" in tables:
        rows = tables["decode_attention"]
        rows = rows[(rows["kv_bytes"] == 2) & (rows["seconds"] >= attention.read_s(rows, found.accelerator))]
        kernels = found.accelerator.kernels
        constants = kernels.decode_start_s, kernels.decode_row_s, found.accelerator.efficiency.attention_memory
        off = np.abs(attention.predicted_decode(rows, found.accelerator, constants) / rows["seconds"] - 1)
        beyond = rows["keys"] >= attention.SHORTEST * rows["sequences"]
        long = beyond & (attention.read_s(rows, found.accelerator) >= attention.LONG_READ_S)
        whole |= {"decodes": off.mean(), "long decodes": off[long].mean()}
    return whole


@pytest.mark.parametrize("name", PROFILED)
def test_layer_profiles(measured_data, name):
    tables = tables_of(measured_data, name, "dense", "_attention")
    found = calibrate(tables, load_accelerator(name), ("profiles",))
    for operator, bound in PROFILED[name].items():
        assert errors(found, tables)[operator] <= bound, operator


@pytest.mark.parametrize("name", TABLED)
def test_operator_tables(measured_data, name):
    tables = tables_of(measured_data, name, "gemm", "attention")
    found = calibrate(tables, load_accelerator(name), ("tables",))
    got = errors(found, tables)
    for operator, bound in TABLED[name].items():
        assert got[operator] <= bound, operator


@pytest.mark.parametrize("name", EXPERTS)
def test_expert_tables(measured_data, name):
    tables = tables_of(measured_data, name, "moe")
    found = calibrate(tables, load_accelerator(name), ("tables",))
    for operator, bound in EXPERTS[name].items():
        assert errors(found, tables)[operator] <= bound, operator


@pytest.mark.parametrize("name", TABLED)
def test_the_catalogue_has_what_the_tables_give(measured_data, name):
    catalogued = load_accelerator(name)
    words = ("gemm", "attention", "allreduce", "moe")
    found = calibrate(tables_of(measured_data, name, *words), catalogued, ("tables",)).operators
    constants = {constant: value for one in found for constant, value in one.constants.items()}
    fitted = changed(catalogued, constants)
    sections = (fitted.efficiency, catalogued.efficiency), (fitted.kernels, catalogued.kernels)
    for ours, theirs in sections:
        now, then = (
            flat(one.model_dump(exclude={"source", "standard_errors"}, exclude_none=True)) for one in (ours, theirs)
        )
        assert now == pytest.approx(then, rel=2e-3, abs=1e-15)


def flat(value, name=""):
    if not isinstance(value, dict):
        return {name: value}
    return {key: inner for part, one in value.items() for key, inner in flat(one, f"{name}.{part}").items()}
