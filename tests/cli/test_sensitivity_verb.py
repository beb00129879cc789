"""`servesim sensitivity` end to end."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from cli_helpers import InThisProcess, servesim, servesim_here, write_config

FEW = ("--replications", 3)
INPUTS = ("--inputs", "workload.arrivals.rate, accelerator.kernels.gap_s")


@pytest.fixture
def sensitivity(tmp_path, monkeypatch, capsys):
    """Runs in this process, `small.yaml` is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sim.cli.workers.ProcessPoolExecutor", InThisProcess)
    write_config(tmp_path, {})
    return lambda *words: servesim_here(
        capsys, monkeypatch, "sensitivity", "small.yaml", *words, "--out", "out", "--no-plots"
    )


def test_from_the_shell_it_writes_everything(tmp_path):
    write_config(tmp_path, {})
    done = servesim(tmp_path, "sensitivity", "small.yaml", *INPUTS, *FEW, "--workers", 2)
    assert done.code == 0, done.err
    folder = tmp_path / "results" / "sensitivity"
    assert {path.name for path in folder.iterdir()} == {"sensitivity.json", "sensitivity.csv", "tornado.png"}
    assert (folder / "tornado.png").read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(folder / "sensitivity.csv")
    assert table["input"].tolist() == ["workload.arrivals.rate", "accelerator.kernels.gap_s"] * 4
    for words in ("% of change per % of change of an input", "P99 TTFT", "from sampling", "the cost model's own error"):
        assert words in done.out
    assert "note: table and picture are in results/sensitivity" in done.err


def test_json_has_elasticities_by_input_and_metric(sensitivity):
    found = json.loads(sensitivity(*INPUTS, *FEW, "--metrics", "mean_tpot", "--step", 0.1, "--json").out)
    assert (found["replications"], found["step"], list(found["metrics"])) == (3, 0.1, ["mean_tpot"])
    rate = found["inputs"]["workload.arrivals.rate"]
    assert (rate["value"], rate["higher"]) == (8, pytest.approx(8.8))
    interval = rate["elasticities"]["mean_tpot"]
    assert interval["low"] <= interval["value"] <= interval["high"]
    measure = found["metrics"]["mean_tpot"]
    assert measure["with_model_error"]["low"] < measure["low"] < measure["high"] < measure["with_model_error"]["high"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--inputs", "rate"), "error: inputs: unknown number 'rate'"),
        (("--metrics", "p99_latency"), "error: --metrics: unknown metric 'p99_latency'"),
        (("--step", 2), "error: --step: got 2, must be at least 0.005"),
        (("--replications", 1), "error: --replications: got 1"),
        (("--level", 0), "error: --level: got 0"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(sensitivity, tmp_path, words, message):
    done = sensitivity(*words)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "out").exists()
