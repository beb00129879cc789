"""`servesim run --model-uncertainty`."""

from __future__ import annotations

import json

import pytest
from cli_helpers import InThisProcess, servesim, servesim_here, write_config


@pytest.fixture
def run_here(tmp_path, monkeypatch, capsys):
    """Runs in this process, `small.yaml` is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sim.cli.workers.ProcessPoolExecutor", InThisProcess)
    write_config(tmp_path, {})
    return lambda *words: servesim_here(capsys, monkeypatch, "run", "small.yaml", *words, "--out", "out", "--no-plots")


def test_from_the_shell_the_report_has_a_line_of_ranges(tmp_path):
    write_config(tmp_path, {})
    done = servesim(tmp_path, "run", "small.yaml", "--model-uncertainty", 3, "--workers", 2, "--no-plots")
    assert done.code == 0, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith("model ")]
    assert "mean_ttft" in line
    assert "at 95%, from 3 draws of the cost model's constants" in line


def test_json_has_a_range_for_every_metric(run_here):
    found = json.loads(run_here("--model-uncertainty", 4, "--level", 0.8, "--json").out)["sim"]
    told = found["model_uncertainty"]
    assert (told["draws"], told["planned"], told["level"]) == (4, 4, 0.8)
    tpot = told["metrics"]["mean_tpot"]
    assert tpot["value"] == found["metrics"]["mean_tpot"]
    assert tpot["low"] < tpot["high"]
    assert "output_throughput" in told["metrics"]


def test_ctrl_c_keeps_the_draws_that_are_finished(run_here, monkeypatch):
    def interrupted(futures):
        yield from futures[:4]
        raise KeyboardInterrupt

    monkeypatch.setattr("sim.study.workers.as_completed", interrupted)
    done = run_here("--model-uncertainty", 9)
    assert done.code == 130
    assert done.err.splitlines()[-1] == "note: interrupted: 4 of 9 draws are finished and kept"
    assert "from 4 of 9 draws" in done.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--model-uncertainty", 1), "--model-uncertainty: got 1, must be at least 3"),
        (("--model-uncertainty", 5, "--replications", 4), "drop one of them, or take `servesim sensitivity`"),
        (("--model-uncertainty", 5, "--until", "p99_ttft:5%"), "got 5 beside --replications or --until"),
        (("--model-uncertainty", 5, "--level", 2), "--level: got 2"),
        (("--model-uncertainty", 5, "--set", "cost={kind: constant, step_s: 0.1}"), "cost kind constant is given"),
    ],
)
def test_what_it_cannot_be(run_here, words, told):
    done = run_here(*words)
    assert done.code == 2
    assert told in done.err
    assert not done.out
