"""`servesim run --replications` and `--until`, from the shell and back."""

from __future__ import annotations

import json
import os
import signal

import pandas as pd
import pytest
from cli_helpers import Output, servesim, servesim_here, start, wait_until, write_config
from small_runs import CONSTANT, experiment

from sim.cli.interval_report import bracketed
from sim.stats.needed import observations_for_mean
from sim.study.store import REPLICATED_PICTURES, config_hash

STEADY = CONSTANT | {"workload.num_requests": 240}
SERVICE = {"kind": "per_request", "service_s": {"distribution": "fixed", "value": 0.1}}
OVERLOADED = {"engine.max_num_seqs": 1, "cost": SERVICE, "workload.num_requests": 400, "workload.arrivals.rate": 20}
FILES = {
    "summary.json", "requests.parquet", "iterations.parquet", "config.resolved.yaml", "manifest.json", "latency.png",
    "timeline.png", "step_time.png", "warm-up.png", "intervals.png",
}  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch, in_this_process):
    """Runs a small config in this process; `changes` go into its file."""
    monkeypatch.setattr("sim.study.workers.as_completed", list)

    def command(*words: object, changes: dict | None = None) -> Output:
        write_config(tmp_path, STEADY, changes or {})
        return in_this_process("run", "small.yaml", "--out", "out", *words)

    return command


def summary_in(folder) -> dict:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def row(text: str, label: str) -> list[str]:
    """Of the table, the line of a latency and the one below it, in words."""
    lines = text.splitlines()
    (at,) = [index for index, line in enumerate(lines) if line.split()[:1] == [label]]
    return lines[at].split() + lines[at + 1].split()


# ---- end to end ------------------------------------------------------------------------------------------------------


def test_replications_from_the_shell_write_everything_and_are_shown_again(tmp_path):
    write_config(tmp_path, STEADY)
    done = servesim(tmp_path, "run", "small.yaml", "--replications", 4, "--workers", 2)
    assert done.code == 0, done.err
    (folder,) = (tmp_path / "results").iterdir()
    assert folder.name == f"small-{config_hash(experiment(STEADY))}-replicated"
    assert {path.name for path in folder.iterdir()} == FILES
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.glob("*.png"))
    assert done.err.splitlines()[-1] == f"note: results are in results/{folder.name}"
    ours = summary_in(folder)["sim"]
    assert ours["replications"]["seeds"] == [3, 4, 5, 6]
    assert "small: 4 replications, 95% intervals" in done.out
    value, _, _ = bracketed(ours["intervals"]["mean_ttft"]).partition(" [")
    assert row(done.out, "TTFT")[1] == value
    assert servesim(tmp_path, "show", folder) == (0, done.out, "")


def test_the_folder_is_that_of_the_first_replication(run, tmp_path):
    assert run("--replications", 3).code == 0
    several = pd.read_parquet(tmp_path / "out" / "requests.parquet")
    summary = summary_in(tmp_path / "out")
    assert run().code == 0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out" / "requests.parquet"), several)
    assert summary_in(tmp_path / "out")["p99_ttft_ms"] == summary["p99_ttft_ms"]


def test_json_is_the_summary_and_nothing_else(run, tmp_path):
    done = run("--replications", 3, "--json", "--level", 0.9)
    assert json.loads(done.out) == summary_in(tmp_path / "out")
    assert json.loads(done.out)["sim"]["intervals"]["mean_e2e"]["level"] == 0.9


def test_the_report_says_what_was_left_out_and_which_intervals_there_are_not(run):
    done = run("--replications", 12, changes={"slo": {"mean_ttft": 10, "p99_e2e": 0.001}})
    assert "12 times, seeds 3 to 14: 12 stable; left out of latencies are " in done.out
    assert "(MSER-5 on the average of 12 replications) and the last " in done.out
    assert "no interval of p90_ttft, p90_tpot, " in done.out
    assert "raise workload.num_requests" in done.out
    assert "the rest, and the tables in the folder, are of the first one, seed 3:" in done.out
    (verdict, _) = [line for line in done.out.splitlines() if line.startswith("SLO")]
    assert verdict.startswith("SLO        MISSED: mean_ttft 0.0")
    assert "] is within 10 s, p99_e2e " in verdict
    assert verdict.endswith("is above 0.001 s")


def test_a_limit_inside_the_interval_is_undecided(run, tmp_path):
    run("--replications", 3)
    limit = summary_in(tmp_path / "out")["sim"]["intervals"]["mean_e2e"]["value"]
    done = run("--replications", 3, changes={"slo": {"mean_e2e": limit}})
    assert "SLO        UNDECIDED: mean_e2e 0." in done.out
    assert f"may be within {limit:g} s" in done.out


def test_an_overloaded_config_gets_percentiles_of_finite_runs_and_the_drift(run, tmp_path):
    done = run("--replications", 3, changes=OVERLOADED)
    assert done.code == 0
    assert "[" not in " ".join(row(done.out, "E2E"))
    assert float(row(done.out, "E2E")[5]) > 10
    assert "no intervals: the queue is unstable in 3 of 3 replications: " in done.out
    assert "about 10" in done.out.partition("longer latencies; ")[2].partition(" requests/s are served")[0]
    assert summary_in(tmp_path / "out")["sim"]["intervals"] == {}


def test_until_stops_when_it_is_narrow_enough(run, tmp_path):
    done = run("--until", "mean_e2e:4%")
    told = summary_in(tmp_path / "out")["sim"]["replications"]
    assert told["until"]["mean_e2e"]["met"]
    assert 10 <= told["count"] < 100
    assert "within the ±4% asked for" in done.out


def test_until_says_when_the_most_replications_did_not_do(run):
    done = run("--until", "mean_e2e:0.01%", "--replications", 11)
    assert done.code == 0
    assert "NOT within the ±0.01% asked for" in done.out
    assert "note: mean_e2e is within " in done.err
    assert "after 11 replications, the most that are allowed; about " in done.err


# ---- a single run ----------------------------------------------------------------------------------------------------


def test_a_short_run_says_that_it_carries_no_interval_and_what_would(run, tmp_path):
    done = run()
    (line,) = [line for line in done.out.splitlines() if line.startswith("intervals")]
    assert f"needs about {observations_for_mean()} observations" in line
    assert line.endswith("; or give --replications 20")
    ours = summary_in(tmp_path / "out")["sim"]
    assert ours["intervals"] == {}
    assert "P99 takes" in ours["no_intervals"]["p99_e2e"]
    assert "replications" not in ours


def test_a_long_run_has_intervals_by_batch_means(run, tmp_path):
    long = {"workload.num_requests": 4000, "workload.arrivals.rate": 4}
    done = run(changes=long)
    found = summary_in(tmp_path / "out")["sim"]["intervals"]
    assert found["mean_ttft"]["method"].startswith("batch means")
    assert f"mean_ttft {bracketed(found['mean_ttft'])}" in done.out


def test_a_single_run_leaves_no_pictures_of_replications_behind(run, tmp_path):
    run("--replications", 3)
    assert all((tmp_path / "out" / name).exists() for name in REPLICATED_PICTURES)
    run("--no-plots")
    assert not list((tmp_path / "out").glob("*.png"))


# ---- what cannot be used ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--replications", 0], "--replications: got 0, must be at least 1"),
        (["--replications", 5, "--until", "mean_e2e:5%"], "--replications: got 5, must be at least 10"),
        (["--level", 1.5], "--level: got 1.5, must be above 0 and below 1, such as 0.95"),
        (["--replications", 3, "--level", 0], "--level: got 0, must"),
        (["--until", "p99_tttf:5%"], "unknown metric 'p99_tttf'; did you mean 'p99_ttft'? known: max_e2e, "),
        (["--until", "mean_ttft:much%"], "got 'much%', must be a percentage"),
        (["--until", ""], "--until '': must be METRIC:PERCENT"),
        (
            ["--until", "p99_ttft:5%"],
            "is 240; raise it, such as --set workload.num_requests=12000",
        ),
        (["--until", "request_goodput:5%"], "without an SLO there is no goodput"),
        (
            ["--replications", 3, "--schedule-log", "log"],
            "--schedule-log: got log, but that is the log of a single",
        ),
        (["--until", "mean_e2e:5%", "--schedule-log", "log"], "drop it, or --replications and --until"),
        (["--workers", 2], "--workers: got 2, but a single run takes one process"),
    ],
)
def test_what_cannot_be_used_is_one_message_and_exit_code_2(run, tmp_path, words, complaint):
    done = run(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert complaint in done.err
    assert not (tmp_path / "out").exists()


def test_a_recorded_trace_is_not_replicated(run, tmp_path):
    (tmp_path / "t.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,10,3\n1,20,4\n", encoding="utf-8")
    trace = {"workload": {"trace": {"path": "t.csv", "format": "csv"}}}
    done = run("--replications", 3, changes=trace)
    assert (done.code, done.out) == (2, "")
    assert "a recorded trace is the same in every replication" in done.err
    assert "give jitter_s" in done.err


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------


def test_ctrl_c_keeps_the_replications_that_are_finished_and_show_says_so(run, tmp_path, monkeypatch, capsys):
    def interrupted(futures):
        yield from futures[:5]
        raise KeyboardInterrupt

    monkeypatch.setattr("sim.study.workers.as_completed", interrupted)
    done = run("--replications", 9)
    assert done.code == 130
    assert done.err.splitlines()[-1] == "note: interrupted: 5 of 9 replications are finished and kept"
    assert "small: 5 replications, 95% intervals" in done.out
    shown = servesim_here(capsys, monkeypatch, "show", "out")
    assert shown.out == done.out
    assert shown.err.endswith("note: interrupted: 5 of 9 replications are finished and kept\n")
    assert summary_in(tmp_path / "out")["sim"]["replications"]["seeds"] == [3, 4, 5, 6, 7]


def test_ctrl_c_before_anything_is_finished_leaves_nothing(run, tmp_path, monkeypatch):
    def interrupted(futures):
        raise KeyboardInterrupt

    monkeypatch.setattr("sim.study.workers.as_completed", interrupted)
    done = run("--replications", 9)
    assert (done.code, done.out) == (130, "")
    assert "interrupted before the first replication was finished; nothing is kept" in done.err
    assert not (tmp_path / "out").exists()


def test_ctrl_c_from_the_shell_ends_the_workers(tmp_path):
    write_config(tmp_path, {"workload.num_requests": 200_000})
    process = start(tmp_path, "run", "small.yaml", "--replications", 6, "--workers", 2, "--out", "out")
    wait_until(lambda: (tmp_path / "out").exists())
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted" in err
    assert out == ""
