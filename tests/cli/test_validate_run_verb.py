"""`servesim validate run` end to end."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from cli_helpers import servesim, servesim_here
from interrupts import interrupt_at
from real_runs import META, recorded_requests, write_run

RECORDED = recorded_requests()
FILES = {"validation.json", "latencies.csv", "curves.csv", "latencies.png", "requests.png", "curves.png"}
NAMES = {"ttft", "ttft_queued", "tpot", "e2e", "e2e_queued", "output_throughput"}


@pytest.fixture
def validate(tmp_path, monkeypatch, capsys):
    """Runs in this process; the run is in the folder `recorded`."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "recorded", RECORDED)
    return lambda *words: servesim_here(capsys, monkeypatch, "validate", "run", *words)


def test_from_the_shell_the_folder_alone_suffices(tmp_path):
    write_run(tmp_path / "recorded", RECORDED)
    done = servesim(tmp_path, "validate", "run", "recorded")
    assert done.code == 0, done.err
    folder = tmp_path / "results" / "validate-recorded"
    assert {path.name for path in folder.iterdir()} == FILES
    for name in FILES:
        if name.endswith(".png"):
            assert (folder / name).read_bytes().startswith(b"\x89PNG")
    words = ("llama-3.1-8b on rtx-4090", "TTFT from arrival", "TTFT from queued", "TPOT", "E2E", "output throughput")
    for text in (*words, "requests running", "requests waiting", "39 requests, 1 left out"):
        assert text in done.out
    assert "note: latencies leave out request 0" in done.err
    assert "note: tables and pictures are in results/validate-recorded" in done.err
    assert len(pd.read_csv(folder / "latencies.csv")) == len(RECORDED) - 1


def test_json_is_all_of_standard_output(validate):
    done = validate("recorded", "--json", "--no-plots", "--skip", 0)
    found = json.loads(done.out)
    assert set(found["metrics"]) == NAMES
    assert set(found["metrics"]["output_throughput"]) == {"mean"}
    for name in NAMES - {"output_throughput"}:
        assert set(found["metrics"][name]) == {"mean", "p50", "p90", "p99"}
    for name in NAMES:
        for pair in found["metrics"][name].values():
            assert set(pair) == {"real", "simulated", "error"}
            assert pair["error"] == pytest.approx(0, abs=1e-6)
    assert found["requests"] == {"compared": len(RECORDED), "left_out": []}
    assert found["settings"]["engine"]["num_gpu_blocks"] == 1500
    assert set(found["over_time"]) == {"running", "waiting"}


def test_overrides_reach_the_replay(validate, tmp_path):
    done = validate("recorded", "--json", "--no-plots", "--set", "engine.max_num_seqs=1", "--out", "out")
    found = json.loads(done.out)
    assert found["settings"]["engine"]["max_num_seqs"] == 1
    assert found["over_time"]["running"]["max"]["simulated"] == 1
    assert found["metrics"]["ttft"]["mean"]["error"] > 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"validation.json", "latencies.csv", "curves.csv"}


def test_ctrl_c_leaves_nothing(validate, tmp_path, monkeypatch):
    interrupt_at(monkeypatch, 2.0)
    done = validate("recorded")
    assert (done.code, done.out) == (130, "")
    assert "note: interrupted" in done.err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("absent",), "error: absent: no such folder"),
        (("recorded", "--skip", 40), "error: --skip: got 40, must be at least 0 and below the 40 requests"),
        (("recorded", "--skip", -1), "of recorded; --skip 0 keeps all"),
        (("recorded", "--set", "engine.nonsense=1"), "error: engine.nonsense: unknown key"),
        (("recorded", "--set", "accelerator=h1000"), "error: accelerator: 'h1000' is not in the catalogue"),
        (("recorded", "--set", "accelerator=3"), "error: --set accelerator: got 3, must be a name or a path"),
        (("other",), "error: other/meta.json: data_parallel_size: got 2, data parallelism is not modelled yet"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(validate, tmp_path, words, message):
    write_run(tmp_path / "other", RECORDED, engine_kwargs=META["engine_kwargs"] | {"data_parallel_size": 2})
    done = validate(*words)
    assert done.code == 2
    assert message in done.err
    assert done.out == ""
    assert not (tmp_path / "results").exists()


def test_results_do_not_take_the_place_of_the_run(validate, tmp_path):
    done = validate("recorded", "--out", "recorded", "--no-plots")
    assert done.code == 0
    assert {"meta.json", "requests.csv.gz"} < {path.name for path in (tmp_path / "recorded").iterdir()}
