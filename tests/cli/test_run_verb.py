"""`servesim run`, from one config file to a folder of results."""

from __future__ import annotations

import json
import os
import re
import signal

import pandas as pd
import pytest
from cli_helpers import Output, servesim, servesim_here, start, wait_until, write_config
from small_runs import CONSTANT, ONE_TOKEN_EACH, ORCA, PREEMPTING, STATIC, experiment

from sim.config import load_experiment
from sim.study.store import config_hash

TABLES = ("requests.parquet", "iterations.parquet")
FILES = {
    "summary.json", *TABLES, "config.resolved.yaml", "manifest.json", "latency.png", "timeline.png", "step_time.png",
}  # fmt: skip
STEP_KEYS = {
    "kind", "step", "arrived", "scheduled", "total_tokens", "preempted", "running", "waiting", "free_blocks", "emitted",
    "finished", "free_blocks_after_update", "output_of_step", "start_s", "duration_s",
}  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """Runs the command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def command(*words: object) -> Output:
        return servesim_here(capsys, monkeypatch, *words)

    return command


@pytest.fixture
def run_here(here, tmp_path):
    """Runs a changed small config without pictures; gives the result folder."""

    def command(*changes: dict, name: str = "out"):
        done = here("run", write_config(tmp_path, *changes), "--out", tmp_path / name, "--no-plots")
        assert done.code == 0, done.err
        return tmp_path / name

    return command


def summary_in(folder) -> dict:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def without_times(summary: dict) -> dict:
    """What must be the same in every run."""
    ours = {key: value for key, value in summary["sim"].items() if key != "performance"}
    return {key: value for key, value in summary.items() if key != "date"} | {"sim": ours}


# ---- end to end ------------------------------------------------------------------------------------------------------


def test_a_run_from_the_shell_writes_everything(tmp_path):
    write_config(tmp_path)
    done = servesim(tmp_path, "run", "small.yaml", "--schedule-log", "log.jsonl")
    assert done.code == 0, done.err
    (folder,) = (tmp_path / "results").iterdir()
    assert folder.name == f"small-{config_hash(experiment())}"
    assert {path.name for path in folder.iterdir()} == FILES
    assert all(path.stat().st_size > 100 for path in folder.iterdir())
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.glob("*.png"))
    assert "TTFT" in done.out
    assert done.err.splitlines() == [f"note: results are in results/{folder.name}"]
    assert (tmp_path / "log.jsonl").read_text(encoding="utf-8").count("\n") == len(
        pd.read_parquet(folder / "iterations.parquet")
    )


def test_json_is_the_summary_and_nothing_else(tmp_path):
    write_config(tmp_path, STATIC, {"engine.max_num_batched_tokens": 512})
    done = servesim(tmp_path, "run", "small.yaml", "--json", "--out", "out")
    assert json.loads(done.out) == summary_in(tmp_path / "out")
    assert "note: engine.max_num_batched_tokens 512 has no effect" in done.err
    assert "note: results are in out" in done.err


def test_the_report_names_what_people_look_for(here, tmp_path):
    done = here("run", write_config(tmp_path, PREEMPTING, {"slo": {"p99_ttft": 1e-3}}), "--no-plots")
    for words in (
        "small",
        "TTFT",
        "TPOT",
        "ITL",
        "E2E",
        "queueing",
        "p99",
        "requests/s",
        "UNKNOWN: all requests arrive",
    ):
        assert words in done.out
    assert re.search(r"SLO +MISSED: p99_ttft \S+ exceeds 0\.001 s; 0\.0% of requests within the limits", done.out)
    assert re.search(r"[1-9]\d* preemptions", done.out)


def test_without_plots_there_are_none(run_here):
    assert {path.name for path in run_here().iterdir()} == {name for name in FILES if not name.endswith(".png")}


# ---- overrides -------------------------------------------------------------------------------------------------------


def test_set_overrides_the_file(here, tmp_path):
    path = write_config(tmp_path)
    settings = ["--set", "seed=9", "--set", "workload.num_requests=30", "--set", "workload.arrivals.rate=2e1"]
    done = here("run", path, "--json", "--no-plots", *settings)
    summary = json.loads(done.out)
    assert (summary["sim"]["seed"], summary["num_prompts"], summary["request_rate"]) == (9, 30, 20)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--set", "engine.max_num_seq=4"], "engine.max_num_seq: unknown key; did you mean 'max_num_seqs'"),
        (["--set", "seed"], "'seed': must be KEY=VALUE"),
        (["--set", "seed=[1"], "'seed=[1'"),
        (["--set", "workload.num_requests=0"], "workload.num_requests: got 0"),
        (["--set", "slo.p99_tttf=1"], "p99_tttf"),
        (["--out", "small.yaml"], "small.yaml: cannot be written"),
        (["--schedule-log", "absent/log.jsonl"], "absent/log.jsonl: cannot be written"),
    ],
)
def test_what_cannot_be_used_is_one_message_and_exit_code_2(here, tmp_path, words, complaint):
    write_config(tmp_path)
    done = here("run", "small.yaml", "--no-plots", *words)
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert complaint in done.err


def test_a_schedule_log_that_cannot_be_written_needs_another_schedule_log(here, tmp_path):
    write_config(tmp_path)
    message = here("run", "small.yaml", "--no-plots", "--schedule-log", "absent/log.jsonl").err
    assert "--out" not in message
    assert "--schedule-log" in message


def test_a_config_that_is_not_there_is_exit_code_2(here):
    assert here("run", "absent.yaml") == (2, "", "error: absent.yaml: no such file; check the path\n")


# ---- the schedule log ------------------------------------------------------------------------------------------------


@pytest.fixture(params=[{}, PREEMPTING, ORCA, {"engine.max_num_batched_tokens": 64}])
def logged(request, here, tmp_path):
    """A schedule log and the result folder of the same run."""
    path, log = write_config(tmp_path, request.param), tmp_path / "log.jsonl"
    assert here("run", path, "--out", "out", "--no-plots", "--schedule-log", log).code == 0
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()], tmp_path / "out"


def test_a_line_of_the_schedule_log_has_the_keys_of_the_recordings_and_its_time(logged):
    steps, _ = logged
    assert all(set(step) == STEP_KEYS for step in steps)
    part = {"id", "how", "start", "tokens", "new_blocks", "held_blocks", "samples"}
    for scheduled in (scheduled for step in steps for scheduled in step["scheduled"]):
        assert set(scheduled) == part | ({"hit_tokens"} if scheduled["how"] != "running" else set())


def test_the_schedule_log_agrees_with_the_tables(logged):
    steps, folder = logged
    requests, iterations = (pd.read_parquet(folder / name) for name in TABLES)
    usable = summary_in(folder)["sim"]["kv_cache"]["usable_blocks"]
    ours = pd.DataFrame(
        {
            "start_s": [step["start_s"] for step in steps],
            "first_step_s": [step["duration_s"] for step in steps],
            "running": [len(step["running"]) for step in steps],
            "waiting": [len(step["waiting"]) for step in steps],
            "kv_used_blocks": [usable - step["free_blocks"] for step in steps],
            "preemptions": [len(step["preempted"]) for step in steps],
        }
    )
    pd.testing.assert_frame_equal(ours, iterations[list(ours)], check_exact=True, check_dtype=False)
    assert (iterations["iterations"] == 1).all()
    computed = [sum(part["tokens"] for part in step["scheduled"]) for step in steps]
    assert computed == [step["total_tokens"] for step in steps]
    assert computed == (iterations["decode_requests"] + iterations["prefill_tokens"]).tolist()
    assert sum(len(step["emitted"]) for step in steps) == requests["output_tokens"].sum()
    assert sorted(i for step in steps for i in step["arrived"]) == requests["request_id"].tolist()
    assert sorted(i for step in steps for i in step["finished"]) == requests["request_id"].tolist()


# ---- the same again --------------------------------------------------------------------------------------------------

ALL_KINDS = {
    "vllm-v1": {},
    "preempting": PREEMPTING,
    "orca": ORCA | {"engine.max_num_batched_tokens": 100},
    "static": STATIC | {"engine.formation_timeout_s": 0.5},
    "static, paged": STATIC | {"engine.kv_allocation": "paged", "engine.release": "on_finish"},
    "static, waiting for a full batch": STATIC | {"engine.formation_timeout_s": float("inf")},
    "priorities": {"engine.order": "priority", "workload.priorities": {0: 1.0, 2: 3.0}},
    "joint lengths": {"workload.lengths": {"distribution": "azure-2023-conversation"}},
    "constant steps": CONSTANT | {"slo": {"p99_ttft": 1.0}},
    "one token each": ONE_TOKEN_EACH,
    "two GPUs": {"engine.tensor_parallel_size": 2},
}


@pytest.mark.parametrize("changes", ALL_KINDS.values(), ids=ALL_KINDS)
def test_the_resolved_config_runs_again_to_the_same_bytes(run_here, here, tmp_path, changes):
    first = run_here(changes)
    done = here("run", first / "config.resolved.yaml", "--out", "again", "--no-plots")
    assert done.code == 0, done.err
    for name in (*TABLES, "config.resolved.yaml"):
        assert (first / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_an_endless_timeout_survives_the_resolved_config(run_here):
    folder = run_here(STATIC, {"engine.formation_timeout_s": float("inf")})
    assert "formation_timeout_s: .inf\n" in (folder / "config.resolved.yaml").read_text(encoding="utf-8")
    assert load_experiment(folder / "config.resolved.yaml").engine.formation_timeout_s == float("inf")


def test_the_same_config_and_seed_give_the_same_bytes(run_here):
    first, second = run_here(PREEMPTING), run_here(PREEMPTING, name="second")
    for name in TABLES:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert without_times(summary_in(first)) == without_times(summary_in(second))


def test_another_seed_gives_another_run_in_another_folder(here, tmp_path):
    for seed in (1, 2):
        here("run", write_config(tmp_path, {"seed": seed}), "--no-plots")
    one, other = (tmp_path / "results").iterdir()
    assert (one / "requests.parquet").read_bytes() != (other / "requests.parquet").read_bytes()


def test_the_manifest_says_what_the_result_depends_on(run_here, tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n0,10,3\n1,20,4\n", encoding="utf-8")
    folder = run_here({"workload": {"trace": {"path": "trace.csv", "format": "csv"}}})
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert set(manifest) == {
        "version", "config_hash", "seed", "interrupted", "written", "inputs", "python", "platform", "packages",
    }  # fmt: skip
    assert manifest["config_hash"] == config_hash(load_experiment(tmp_path / "small.yaml"))
    assert list(manifest["inputs"]) == [str(trace)]
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n0,10,3\n1,20,5\n", encoding="utf-8")
    assert manifest["config_hash"] != config_hash(load_experiment(tmp_path / "small.yaml"))


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------


def test_ctrl_c_keeps_what_is_finished(tmp_path):
    write_config(tmp_path, {"workload.num_requests": 200_000})
    process = start(tmp_path, "run", "small.yaml", "--out", "out", "--schedule-log", "log.jsonl")
    log = tmp_path / "log.jsonl"
    wait_until(lambda: log.exists() and log.stat().st_size > 200_000)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "note: interrupted: the results hold the requests that were finished"
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    summary = summary_in(tmp_path / "out")
    assert summary["sim"]["interrupted"]
    assert summary["sim"]["audit"] is None
    assert 0 < summary["completed"] == len(pd.read_parquet(tmp_path / "out" / "requests.parquet")) < 200_000
    assert json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["interrupted"]
    assert "TTFT" in out
