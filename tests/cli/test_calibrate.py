"""`servesim calibrate` end to end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from cli_helpers import servesim, servesim_here

from sim.config import load_accelerator
from sim.study.calibrate.tables import read_tables

TABLE = """operator,rows,dtype,inputs,outputs,sequences,time_us
"""


def matrix_us(rows: int, inputs: int, outputs: int) -> float:
    """With 80 % of an H100's compute and 75 % of its memory bandwidth."""
    compute = 2 * rows * inputs * outputs / (989.5e12 * 0.8)
    memory = 2 * (inputs * outputs + rows * (inputs + outputs)) / (3.35e12 * 0.75)
    return 5 + 1e6 * (compute**2 + memory**2) ** 0.5


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """`mine.csv` is there."""
    shapes = [(rows, 4096, outputs) for rows in (1, 16, 128, 1024, 4096) for outputs in (4096, 8192, 28672)]
    lines = [f"gemm,{rows},bfloat16,{k},{n},,{matrix_us(rows, k, n)}\n" for rows, k, n in shapes]
    (tmp_path / "mine.csv").write_text(TABLE + "".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def calibrate(folder, monkeypatch, capsys):
    return lambda *words: servesim_here(capsys, monkeypatch, "calibrate", *words)


def test_from_the_shell_it_writes_an_accelerator_and_a_picture(folder):
    done = servesim(
        folder, "calibrate", "--ops", "mine.csv", "--accelerator", "h100-sxm", "--out", "my.yaml", "--picture", "my.png"
    )
    assert done.code == 0, done.err
    assert (folder / "my.png").read_bytes().startswith(b"\x89PNG")
    fitted = load_accelerator("my.yaml", folder)
    assert (fitted.efficiency.gemm_compute, fitted.efficiency.gemm_memory) == pytest.approx((0.8, 0.75), rel=1e-3)
    assert "fitted on mine.csv" in fitted.kernels.source
    for words in ("gemm bfloat16", "mean |error|", "efficiency.gemm_compute", "standard error"):
        assert words in done.out
    assert "note: the accelerator is in my.yaml" in done.err


def test_json_has_operators_and_the_accelerator(calibrate):
    found = json.loads(calibrate("--ops", "mine.csv", "--accelerator", "h100-sxm", "--json").out)
    gemm = found["operators"]["gemm bfloat16"]
    assert (gemm["points"], gemm["screened"]) == (15, {})
    assert gemm["mean_abs_error"] < 1e-3
    assert found["accelerator"]["efficiency"]["gemm_memory"] == pytest.approx(0.75, rel=1e-3)
    assert (found["sources"], found["end_to_end"]) == (["mine.csv"], None)


def test_whole_runs_settle_the_gap(calibrate, monkeypatch):
    def replay(accelerator, _):
        error = accelerator.kernels.gap_s / 1e-6 - 1
        return {"tpot": error, "e2e": error}

    monkeypatch.setattr("sim.cli.calibrate.replay_errors", replay)
    done = calibrate("--ops", "mine.csv", "--accelerator", "h100-sxm", "--runs", "one", "--out", "my.yaml")
    assert done.code == 0, done.err
    assert "from whole runs" in done.out
    assert load_accelerator("my.yaml", Path()).kernels.gap_s == pytest.approx(1e-6, rel=1e-2)


def test_measuring_writes_a_table_that_can_be_fitted(calibrate, monkeypatch):
    def timer(call):
        return 1e-6 * matrix_us(*map(int, (call.row["rows"], call.row["inputs"], call.row["outputs"]))) \
            if call.operator == "gemm" else None  # fmt: skip

    monkeypatch.setattr("sim.cli.calibrate._timer", lambda: timer)
    done = calibrate("--measure", "--out", "made.csv", "--json")
    assert json.loads(done.out) == {"table": "made.csv", "rows": 78}
    assert set(read_tables([Path("made.csv")])) == {"gemm"}
    assert calibrate("--ops", "made.csv", "--accelerator", "h100-sxm").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "error: --ops: none given"),
        (("--ops", "mine.csv"), "error: --accelerator: none given"),
        (("--ops", "mine.csv", "--accelerator", "h100"), "error: accelerator: 'h100' is not in the catalogue; did you"),
        (("--ops", "none.csv", "--accelerator", "h100-sxm"), "error: --ops: none.csv: no such file"),
        (("--ops", "mine.csv", "--accelerator", "t4"), "error: --ops: gemm bfloat16: t4 lists no peak of bfloat16"),
        (("--ops", "mine.csv", "--accelerator", "l4"), "rows are faster than the accelerator's peak allows"),
        (("--ops", "mine.csv", "--accelerator", "h100-sxm", "--out", "mine.csv"), "--out: mine.csv is a table that is"),
        (("--ops", "mine.csv", "--accelerator", "h100-sxm", "--runs", "one"), "error: one: "),
        (("--measure", "--ops", "mine.csv"), "error: --measure: takes --out and --json alone"),
        (
            ("--ops", "mine.csv", "--accelerator", "h100-sxm", "--picture", "fit.doc"),
            "--picture: got fit.doc, must end",
        ),
        (
            ("--ops", "mine.csv", "--accelerator", "h100-sxm", "--picture", "fit"),
            "--picture: got fit, must end in .png",
        ),
        (
            ("--ops", "mine.csv", "--accelerator", "h100-sxm", "--picture", "a.png", "--out", "a.png"),
            "--picture: a.png is where --out writes the accelerator",
        ),
        (("--ops", "mine.csv", "--accelerator", "h100-sxm", "--scalars", "clock"), "--scalars: got clock, but nothing"),
    ],
)
def test_bad_input_is_one_message(calibrate, words, message):
    done = calibrate(*words)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err


def test_without_pytorch_the_remedy_is_told(calibrate, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    done = calibrate("--measure")
    assert done.code == 2
    assert "error: --measure: needs PyTorch, which is not installed; pip install 'servesim[measure]'" in done.err
