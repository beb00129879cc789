"""`servesim sweep`: a run for every combination, one table and one picture."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess

import pandas as pd
import pytest
from cli_helpers import servesim, servesim_here, start, wait_until, write_config
from small_runs import CONSTANT, ONE_TOKEN_EACH

from sim.study.sweep import parse_axis, plan_sweep

PRESETS = ("--vary", "engine.preset=static,orca")
RATES = ("--vary", "workload.arrivals.rate=4,8")
RUN_FILES = {"summary.json", "requests.parquet", "iterations.parquet", "config.resolved.yaml", "manifest.json"}
LONG_VALUES = "{distribution: lognormal, mean: 50, cv: 1.5},{distribution: lognormal, mean: 60, cv: 1.5}"
COLUMNS = [
    "verdict", "slo_met", "request_throughput", "request_goodput", "output_throughput", "p50_ttft", "p99_ttft",
    "p50_tpot", "p99_tpot", "p99_itl", "p50_e2e", "p99_e2e", "mean_running", "idle_slot_fraction",
    "kv_mean_used_fraction", "kv_wasted_fraction", "preemptions", "step_time_bound", "queue_blocked_by",
]  # fmt: skip


def written(folder) -> dict[str, int]:
    """When each run of a sweep was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("out/*/manifest.json")}


# ---- end to end ------------------------------------------------------------------------------------------------------


def test_a_sweep_from_the_shell_writes_everything(tmp_path):
    write_config(tmp_path, {"slo": {"p99_ttft": 1.0}})
    done = servesim(tmp_path, "sweep", "small.yaml", *PRESETS, *RATES, "--workers", 2)
    assert done.code == 0, done.err
    folder = tmp_path / "results" / "sweep"
    cells = [f"preset-{preset}_rate-{rate}" for preset in ("static", "orca") for rate in (4, 8)]
    assert {path.name for path in folder.iterdir()} == {*cells, "sweep.csv", "sweep.png"}
    assert all({path.name for path in (folder / cell).iterdir()} == RUN_FILES for cell in cells)
    assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(folder / "sweep.csv")
    assert list(table) == ["engine.preset", "workload.arrivals.rate", *COLUMNS]
    assert table["engine.preset"].tolist() == ["static", "static", "orca", "orca"]
    assert table["workload.arrivals.rate"].tolist() == [4, 8, 4, 8]
    for row, cell in zip(table.to_dict("records"), cells, strict=True):
        summary = json.loads((folder / cell / "summary.json").read_text(encoding="utf-8"))
        assert row["output_throughput"] == pytest.approx(summary["output_throughput"])
        assert row["p99_ttft"] == pytest.approx(summary["sim"]["metrics"]["p99_ttft"])
        assert row["p99_itl"] == pytest.approx(summary["sim"]["metrics"]["p99_itl"])
        assert row["request_goodput"] == pytest.approx(summary["request_goodput"])
        assert row["slo_met"] == summary["sim"]["slo"]["met"]
    for words in ("preset", "rate", "static", "orca", "TTFT", "waste"):
        assert words in done.out
    assert "note: With p99_ttft <= 1 s, the highest of the rates tried that holds is: static " in done.err
    assert "note: table and runs are in results/sweep, the picture is results/sweep/sweep.png" in done.err


def test_json_is_the_table_and_nothing_else(sweep, tmp_path):
    done = sweep(*PRESETS, *RATES, "--json")
    rows = json.loads(done.out)
    assert [(row["engine.preset"], row["workload.arrivals.rate"]) for row in rows] == [
        ("static", 4), ("static", 8), ("orca", 4), ("orca", 8),
    ]  # fmt: skip
    assert list(rows[0]) == ["engine.preset", "workload.arrivals.rate", *COLUMNS]
    assert pd.read_csv(tmp_path / "out" / "sweep.csv")["p99_e2e"].tolist() == [row["p99_e2e"] for row in rows]
    assert rows[0]["slo_met"] is None


# ---- axes ------------------------------------------------------------------------------------------------------------


def test_one_numeric_axis_has_a_picture_and_no_sentences(sweep, tmp_path):
    done = sweep(*RATES)
    assert (tmp_path / "out" / "sweep.png").is_file()
    assert "highest" not in done.err
    assert done.out.count("unknown") == 2


def test_three_axes_give_every_combination(sweep, tmp_path):
    done = sweep(*PRESETS, "--vary", "engine.max_num_seqs=4,8", *RATES, "--json")
    rows = json.loads(done.out)
    assert len(rows) == len({tuple(row.values())[:3] for row in rows}) == 8
    assert (tmp_path / "out" / "preset-orca_max_num_seqs-8_rate-4" / "summary.json").is_file()
    assert (tmp_path / "out" / "sweep.png").is_file()


@pytest.mark.parametrize(
    "vary",
    [
        "engine.enable_chunked_prefill=true,false",
        "engine.max_num_batched_tokens=null,512",
        "engine.watermark=0,0.1",
        "workload.lengths.output={distribution: fixed, value: 10},{distribution: geometric, mean: 10}",
    ],
)
def test_any_kind_of_value_can_be_a_line_of_the_picture(sweep, tmp_path, vary):
    done = sweep("--vary", vary, *RATES)
    assert done.code == 0, done.err
    assert len(pd.read_csv(tmp_path / "out" / "sweep.csv")) == 4
    assert "highest of the rates tried that holds is" in done.err


def test_values_are_shown_as_they_were_written(sweep):
    done = sweep("--vary", "engine.max_num_batched_tokens=null,512", *RATES)
    assert done.code == 0, done.err
    assert "nan" not in done.out + done.err
    assert "512.0" not in done.out + done.err


def test_json_holds_values_as_they_were_written(sweep):
    rows = json.loads(sweep("--vary", "engine.max_num_batched_tokens=null,512", "--json").out)
    assert [row["engine.max_num_batched_tokens"] for row in rows] == [None, 512]
    assert isinstance(rows[1]["engine.max_num_batched_tokens"], int)


def test_an_endless_timeout_can_be_varied(sweep):
    done = sweep("--set", "engine.preset=static", "--vary", "engine.formation_timeout_s=0,.inf", "--json")
    assert done.code == 0, done.err
    assert len(json.loads(done.out)) == 2


def test_single_tokens_are_no_reason_to_miss_a_limit_on_tpot(sweep):
    done = sweep(*RATES, "--vary", "seed=1,2", "--json", changes=ONE_TOKEN_EACH | {"slo": {"p99_tpot": 1.0}})
    assert [row["slo_met"] for row in json.loads(done.out)] == [True] * 4


def test_a_verdict_that_is_not_known_is_not_called_stable(sweep):
    """30 requests are too few to tell, whatever the rate: no sentence may say that a rate is carried."""
    done = sweep(*PRESETS, "--vary", "workload.arrivals.rate=100,1000")
    assert done.out.count("unknown") == 4
    assert "static 1000" not in done.err


SGLANG = ("--set", "engine.preset=sglang")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "--vary: nothing to vary"),
        (["--vary", "seed"], "--vary 'seed': must be KEY=VALUE,VALUE"),
        (["--vary", "seed=1,1"], "lists a value twice"),
        (["--vary", "seed=1", "--vary", "seed=2"], "a key is varied twice (seed, seed)"),
        (["--vary", "engine.order=fcfs", "--vary", "engine.scheduling_policy=fcfs"], "a key is varied twice"),
        (
            [*SGLANG, "--vary", "engine.chunked_prefill_size=64", "--vary", "engine.max_num_batched_tokens=512"],
            "a key is varied twice",
        ),
        (["--vary", "workload={}", "--vary", "workload.num_requests=5"], "is a part of workload, which is varied too"),
        (["--vary", "engine.max_num_seq=1,2"], "engine.max_num_seq: unknown key"),
        (["--vary", "workload.num_requests=5,0"], "(with workload.num_requests=0)"),
        (["--vary", "engine.max_model_len=512,20"], "(with engine.max_model_len=20; runs that are finished are kept)"),
    ],
)
def test_what_cannot_be_used_is_one_message_and_exit_code_2(sweep, words, complaint):
    done = sweep(*words)
    assert done.code == 2
    assert done.out == ""
    assert complaint in done.err


def test_a_bad_value_anywhere_is_found_before_anything_runs(sweep, tmp_path):
    sweep("--vary", "workload.num_requests=5,6,0")
    assert not (tmp_path / "out").exists()


def test_a_run_that_refuses_does_not_keep_others_from_finishing(sweep, tmp_path):
    one_too_long = {"workload.lengths.output": {"distribution": "fixed", "value": 400}}
    done = sweep("--vary", "engine.max_model_len=300,512", "--workers", 1, changes=one_too_long)
    assert (done.code, done.out) == (2, "")
    assert "(with engine.max_model_len=300; runs that are finished are kept)" in done.err
    assert [path.parent.name for path in tmp_path.glob("out/*/manifest.json")] == ["max_model_len-512"]


# ---- what a file varies by itself ------------------------------------------------------------------------------------

VARIES = {"vary": {"engine.preset": ["static", "orca"], "workload.arrivals.rate": [4, 8]}}


def test_a_file_may_say_what_is_varied(sweep):
    from_file = sweep("--json", changes=VARIES)
    assert from_file.code == 0, from_file.err
    assert from_file.out == sweep(*PRESETS, *RATES, "--json").out


def test_the_command_line_replaces_what_the_file_varies(sweep):
    rows = json.loads(sweep("--vary", "seed=1,2", "--json", changes=VARIES).out)
    assert [row["seed"] for row in rows] == [1, 2]
    assert not rows[0].keys() & VARIES["vary"].keys()


@pytest.mark.parametrize(
    ("vary", "complaint"),
    [
        (3, "vary: got 3, must be a mapping"),
        ({}, "nothing to vary; give at least one"),
        ({"seed": []}, "vary.seed: got [], must be a list of at least one value"),
        ({"engine.max_num_seq": [1, 2]}, "engine.max_num_seq: unknown key; did you mean 'max_num_seqs'"),
        ({"seed": [1, -2]}, "seed: got -2"),
        ({"engine.order": ["fcfs"], "engine.policy": ["fcfs"]}, "a key is varied twice"),
    ],
)
def test_what_cannot_be_varied_is_one_message_and_exit_code_2(sweep, tmp_path, vary, complaint):
    done = sweep(changes={"vary": vary})
    assert (done.code, done.out) == (2, "")
    assert complaint in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["run"],
        ["estimate"],
        ["compare", "--vary", "seed=1,2"],
        ["capacity", "--slo", "p99_ttft<1"],
        ["sensitivity"],
    ],
    ids=lambda words: words[0],
)
def test_other_verbs_refuse_a_file_that_varies_and_say_what_to_do(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path, CONSTANT, VARIES)
    verb, *options = words
    done = servesim_here(capsys, monkeypatch, verb, "small.yaml", *options)
    assert (done.code, done.out) == (2, "")
    assert "vary: got values of engine.preset, workload.arrivals.rate" in done.err
    assert "use servesim sweep, or --set vary={}" in done.err


def test_one_of_the_runs_of_a_file_that_varies(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path, CONSTANT, {"workload.num_requests": 5}, VARIES)
    words = ("--set", "vary={}", "--set", "engine.preset=orca", "--json", "--no-plots", "--out", "out")
    done = servesim_here(capsys, monkeypatch, "run", "small.yaml", *words)
    assert done.code == 0, done.err


# ---- folders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "vary",
    [
        ["engine.max_num_seqs=1,2,4,8", "workload.arrivals.rate=1,2.5,1e3"],
        ["workload.lengths.prompt.high=50,60", "workload.lengths.output.high=50,60"],
        ["model=a/b.yaml,a-b.yaml"],
        [f"workload.lengths.prompt={LONG_VALUES}", f"workload.lengths.output={LONG_VALUES}", "seed=1,2"],
    ],
    ids=["numbers", "two keys that end alike", "names that look alike", "long values"],
)
def test_every_run_has_a_folder_of_its_own(tmp_path, vary):
    (tmp_path / "a").mkdir()
    path = write_config(tmp_path)
    model = (
        "hidden_size: 64\nnum_hidden_layers: 2\nnum_attention_heads: 4\nnum_key_value_heads: 4\nhead_dim: 16\n"
        "intermediate_size: 128\nvocab_size: 1000\nmax_position_embeddings: 4096\n"
    )
    for name in ("a/b", "a-b"):
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\n{model}", encoding="utf-8")
    cells = plan_sweep(path, [], [parse_axis(text) for text in vary], tmp_path / "out")
    assert len({cell.folder for cell in cells}) == len(cells)


# ---- runs that are there already -------------------------------------------------------------------------------------


def test_finished_runs_are_not_repeated(sweep, tmp_path):
    first = sweep(*PRESETS, *RATES)
    before = written(tmp_path)
    again = sweep(*PRESETS, *RATES)
    assert len(before) == 4
    assert written(tmp_path) == before
    assert again.out == first.out


def test_only_new_combinations_run(sweep, tmp_path):
    sweep(*PRESETS)
    before = written(tmp_path)
    sweep("--vary", "engine.preset=static,orca,vllm-v1")
    after = written(tmp_path)
    assert {name: when for name, when in after.items() if name in before} == before
    assert set(after) - set(before) == {"preset-vllm-v1"}


@pytest.mark.parametrize("words", [["--set", "seed=9"], ["--set", "workload.num_requests=31"]])
def test_another_config_runs_anew(sweep, tmp_path, words):
    sweep(*PRESETS)
    before = written(tmp_path)
    sweep(*PRESETS, *words)
    after = written(tmp_path)
    assert set(after) == set(before)
    assert all(after[name] > before[name] for name in before)


@pytest.mark.parametrize("damage", ["no manifest", "half a summary", "interrupted"])
def test_a_run_that_is_not_whole_runs_anew(sweep, tmp_path, damage):
    sweep(*PRESETS)
    manifest, summary = (tmp_path / "out" / "preset-orca" / f"{name}.json" for name in ("manifest", "summary"))
    if damage == "no manifest":
        manifest.unlink()
    elif damage == "half a summary":
        summary.write_text('{"date": ', encoding="utf-8")
    else:
        manifest.write_text(manifest.read_text(encoding="utf-8").replace("false", "true"), encoding="utf-8")
    assert sweep(*PRESETS).code == 0
    assert json.loads(summary.read_text(encoding="utf-8"))["completed"] == 30
    assert not json.loads(manifest.read_text(encoding="utf-8"))["interrupted"]


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------


def test_ctrl_c_keeps_finished_runs_and_the_same_command_resumes(tmp_path):
    write_config(tmp_path)
    command = ("sweep", "small.yaml", "--vary", "workload.num_requests=20,4000", "--workers", 1, "--out", "out")
    process = start(tmp_path, *command)
    first = tmp_path / "out" / "num_requests-20" / "manifest.json"
    wait_until(first.is_file)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert re.search("note: interrupted: [01] of 2 runs are finished and kept; the same command resumes", err)
    assert "Traceback" not in err
    assert list(written(tmp_path)) == ["num_requests-20"]
    kept = first.stat().st_mtime_ns
    done = servesim(tmp_path, *command)
    assert done.code == 0, done.err
    assert first.stat().st_mtime_ns == kept
    assert len(pd.read_csv(tmp_path / "out" / "sweep.csv")) == 2


def children_of(process: subprocess.Popen) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def test_workers_leave_ctrl_c_to_the_command_from_their_first_moment(tmp_path):
    """A worker that is still loading libraries must not answer Ctrl-C with a traceback of its own."""
    write_config(tmp_path, {"workload.num_requests": 20})
    process = start(tmp_path, "sweep", "small.yaml", *RATES, "--workers", 2, "--out", "out")
    wait_until(lambda: len(children_of(process)) == 3)  # two workers and Python's resource tracker
    for pid in children_of(process):
        os.kill(pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert "Traceback" not in err
    assert process.returncode == 0


def test_turns_are_swept_and_rates_are_of_conversations(sweep, tmp_path, monkeypatch):
    labels = []
    monkeypatch.setattr("sim.plots.sweep_figure", lambda *words: labels.append(words[4]))
    talk = {"workload.conversations": {"turns": {"distribution": "geometric", "mean": 3.0}}}
    assert sweep("--vary", "workload.conversations.turns=1,2,4", changes=talk).code == 0
    assert pd.read_csv(tmp_path / "out" / "sweep.csv")["workload.conversations.turns"].tolist() == [1, 2, 4]
    assert sweep(*PRESETS, *RATES, changes=talk).err.count("At 8 conversations/s, ") == 1
    assert labels == ["workload.conversations.turns", "arrival rate (conversations/s)"]
