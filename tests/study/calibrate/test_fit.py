"""Constants that made a table are found in it; what cannot be fitted is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import synthetic

from sim.errors import InputError
from sim.study.calibrate.calibration import calibrate
from sim.study.calibrate.changed import changed
from sim.study.calibrate.operators import ALL_REDUCE, COPY, DECODE, EXPERTS, GEMM, MIXED, SAMPLER


def constants(found) -> dict[str, float]:
    return {name: value for one in found.operators for name, value in one.constants.items()}


def test_all_constants_come_back():
    found = calibrate(synthetic.everything(), synthetic.base(), ("made",))
    assert constants(found) == pytest.approx(synthetic.TRUTH, rel=5e-3)
    assert all(one.mean_abs_error < 1e-3 for one in found.operators if one.constants)
    assert changed(found.accelerator, {}) == found.accelerator


def test_standard_errors_are_what_noise_does():
    """Over 30 tables with 5 % of noise, constants scatter as their standard errors say."""
    tables = {DECODE: synthetic.decodes(), GEMM: synthetic.matrices("bfloat16")}
    away, stated = [], []
    for seed in range(30):
        found = calibrate(synthetic.noisy(tables, seed), synthetic.base(), ("made",))
        values = constants(found)
        away.append([value / synthetic.TRUTH[name] - 1 for name, value in values.items()])
        stated.append([one.standard_errors[name] for one in found.operators for name in one.constants])
    assert np.std(away, axis=0) == pytest.approx(np.mean(stated, axis=0), rel=0.6)


def test_an_accelerator_states_no_smaller_error_than_tables_differ_by():
    found = calibrate(synthetic.noisy(synthetic.everything()), synthetic.base(), ("made",))
    errors = found.standard_errors
    assert errors["decode_row_s"] > errors["gemm_compute"] > 0.03


def test_what_no_table_holds_stays_and_the_source_is_told():
    found = calibrate({COPY: synthetic.small(COPY)}, synthetic.base(), ("mine.csv",))
    assert found.accelerator.efficiency.gemm_compute == synthetic.base().efficiency.gemm_compute
    assert found.accelerator.kernels.elementwise_memory == pytest.approx(0.88, rel=1e-3)
    assert "fitted on mine.csv" in found.accelerator.kernels.source


def test_outliers_hardly_move_the_fit():
    rows = synthetic.matrices("bfloat16")
    rows.loc[::9, "seconds"] *= 3
    found = constants(calibrate({GEMM: rows}, synthetic.base(), ("made",)))
    assert found["efficiency.gemm_memory"] == pytest.approx(0.77, rel=0.05)


def test_mixed_batches_are_only_compared():
    found = calibrate({MIXED: synthetic.everything()[MIXED]}, synthetic.base(), ("made",))
    mixed = found.operators[-1]
    assert (mixed.operator, mixed.constants, len(mixed.measured_s)) == ("mixed_attention", {}, 16)


def faster(rows, factor):
    return rows.assign(seconds=rows["seconds"] / factor)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({}, "--ops: the files hold no rows of any operator"),
        ({GEMM: faster(synthetic.matrices("bfloat16"), 1000)}, "36 of 36 rows are faster than the accelerator's peak"),
        ({DECODE: faster(synthetic.decodes(), 1000)}, "decode_attention: 1[0-9] of 16 rows are faster"),
        (
            {GEMM: synthetic.matrices("bfloat16").head(5)},
            "gemm bfloat16: 5 of 5 rows can be used, its constants need 8",
        ),
        ({GEMM: synthetic.matrices("bfloat16").assign(inputs=512.0)}, "36 narrower than 2048"),
        ({EXPERTS: synthetic.routed().assign(distribution="balanced")}, "48 dealt out evenly"),
        ({EXPERTS: synthetic.routed().assign(dtype="float4")}, "float4"),
        ({GEMM: synthetic.matrices("bfloat16").assign(dtype="float4")}, "h100-sxm lists no peak of float4"),
        ({GEMM: faster(synthetic.matrices("bfloat16"), 1e-3)}, r"gemm_compute: got 0\.00.*check the unit of the times"),
        (
            {SAMPLER: faster(synthetic.small(SAMPLER), 1e-6)},
            r"sampler_start_s comes out at its bound of 0\.1; check the unit",
        ),
        (
            {ALL_REDUCE: synthetic.small(ALL_REDUCE).assign(gpus=1.0)},
            "gpus: got 1, must be a whole number from 2 to 1024",
        ),
        ({ALL_REDUCE: synthetic.small(ALL_REDUCE).assign(gpus=2.5)}, r"gpus: got 2\.5, must be a whole number"),
        ({ALL_REDUCE: faster(synthetic.small(ALL_REDUCE), 1e-6)}, r"start_s comes out at its bound of 0\.1"),
    ],
)
def test_what_cannot_be_fitted_is_refused(tables, message):
    with pytest.raises(InputError, match=message):
        calibrate(tables, synthetic.base(), ("made",))


def test_rows_that_leave_a_share_open_are_refused():
    rows = synthetic.noisy({GEMM: synthetic.matrices("bfloat16", (16384.0, 65536.0), (8192.0, 16384.0))})[GEMM]
    with pytest.raises(InputError, match=r"leave efficiency\.gemm_memory open .* small and large calls"):
        calibrate({GEMM: rows}, synthetic.base(), ("made",))
