"""`servesim compare`: configs side by side under the same requests."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pandas as pd
import pytest
from cli_helpers import Output, servesim, start, wait_until, write_config
from small_runs import CONSTANT

from sim.study import paired_runs
from sim.study.compare import DEFAULT_METRICS

BUDGETS = ("--vary", "engine.max_num_batched_tokens=64,512")
FEW = ("--replications", 3)
FILES = {"compare.json", "compare.csv", "replications.csv", "compare.png"}


@pytest.fixture
def compare(tmp_path, in_this_process):
    """Compares in this process; `small.yaml` and `other.yaml`, with a larger token budget, are there."""
    write_config(tmp_path, {"engine.max_num_batched_tokens": 512}).rename(tmp_path / "other.yaml")
    write_config(tmp_path, {"engine.max_num_batched_tokens": 64})

    def command(*words: object, plots: str = "--no-plots") -> Output:
        return in_this_process("compare", *words, "--out", "out", plots)

    return command


# ---- end to end ------------------------------------------------------------------------------------------------------


def test_a_comparison_from_the_shell_writes_everything(tmp_path):
    write_config(tmp_path, {"slo": {"p99_ttft": 1.0}})
    done = servesim(tmp_path, "compare", "small.yaml", *BUDGETS, "--replications", 4, "--workers", 2)
    assert done.code == 0, done.err
    folder = tmp_path / "results" / "compare"
    assert {path.name for path in folder.iterdir()} == FILES
    assert (folder / "compare.png").read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(folder / "compare.csv")
    assert table["metric"].tolist() == list(DEFAULT_METRICS)
    assert (table["config"] == "B").all()
    runs = pd.read_csv(folder / "replications.csv")
    assert runs.groupby("config")["seed"].apply(list).to_dict() == {"A": [3, 4, 5, 6], "B": [3, 4, 5, 6]}
    assert "A: engine.max_num_batched_tokens=64\nB: engine.max_num_batched_tokens=512" in done.out
    for words in ("P99 TTFT", "goodput", "verdict", "pairing", "B against A", "B lowers P50 TTFT by "):
        assert words in done.out
    assert "note: tables and picture are in results/compare" in done.err


def test_files_are_compared_with_the_first(compare):
    done = compare("small.yaml", "other.yaml", *FEW, "--metrics", "p99_ttft, mean_e2e", "--json")
    found = json.loads(done.out)
    assert [config["label"] for config in found["configs"].values()] == ["small.yaml", "other.yaml"]
    assert list(found["metrics"]) == ["p99_ttft", "mean_e2e"]
    difference = found["metrics"]["p99_ttft"]["differences"]["B"]
    assert difference["verdict"] == "lower"
    assert difference["difference"]["low"] < difference["difference"]["value"] < difference["difference"]["high"] < 0
    assert found["sentences"][0].startswith("B lowers P99 TTFT by ")


def test_json_is_what_is_kept_and_nothing_else(compare, tmp_path):
    done = compare("small.yaml", *BUDGETS, *FEW, "--json", plots="--plots")
    assert json.loads(done.out) == json.loads((tmp_path / "out" / "compare.json").read_text(encoding="utf-8"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_the_same_command_says_the_same(compare):
    words = ("small.yaml", "other.yaml", *FEW)
    assert compare(*words).out == compare(*words).out


def test_without_a_picture_there_is_none_not_even_an_old_one(compare, tmp_path):
    compare("small.yaml", "other.yaml", *FEW, plots="--plots")
    compare("small.yaml", "other.yaml", *FEW)
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES - {"compare.png"}


def test_every_combination_of_what_is_varied_is_compared_with_the_first(compare):
    done = compare("small.yaml", *BUDGETS, "--vary", "engine.max_num_seqs=4,8", *FEW, "--json")
    found = json.loads(done.out)
    assert list(found["configs"]) == ["A", "B", "C", "D"]
    assert found["configs"]["D"]["label"] == "engine.max_num_batched_tokens=512, engine.max_num_seqs=8"
    levels = {one["difference"]["level"] for one in found["metrics"]["p50_ttft"]["differences"].values()}
    assert list(levels) == [pytest.approx(1 - 0.05 / 3)]


def test_set_holds_for_all(compare):
    done = compare("small.yaml", "other.yaml", *FEW, "--set", "slo.p99_ttft=0.5", "--set", "seed=11", "--json")
    found = json.loads(done.out)
    assert found["seeds"] == [11, 12, 13]
    assert "request_goodput" in found["metrics"]


def test_a_narrow_terminal_gets_a_narrow_table(compare, monkeypatch):
    from rich.console import Console

    monkeypatch.setattr("sim.cli.compare.stdout", Console(width=80, emoji=False))
    done = compare("small.yaml", "other.yaml", *FEW)
    (heading,) = [line for line in done.out.splitlines() if "verdict" in line]
    assert heading.split()[:7] == ["metric", "A", "B", "B", "against", "A", "verdict"]
    assert max(map(len, done.out.splitlines())) <= 80


def test_an_unstable_queue_is_said_and_has_no_intervals(compare):
    busy = ["workload.num_requests=300", "workload.arrivals.rate=20", "cost={kind: constant, step_s: 0.01}"]
    words = [word for value in busy for word in ("--set", value)]
    done = compare("small.yaml", "--vary", "engine.max_num_seqs=16,1", *FEW, *words)
    assert "B cannot be compared: its queue is unstable." in done.out
    assert "note: B has no intervals: the queue is unstable in 3 of 3 replications" in done.err


def test_names_are_no_markup(compare, tmp_path):
    (tmp_path / "[b]$x$.yaml").write_text((tmp_path / "other.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    done = compare("small.yaml", "[b]$x$.yaml", *FEW)
    assert done.code == 0, done.err
    assert "B: [b]$x$.yaml" in done.out


# ---- what cannot be used ---------------------------------------------------------------------------------------------


TWO = ("small.yaml", "other.yaml")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "compare: got no config, must be two or more; add one, or --vary KEY=VALUE,VALUE"),
        (["small.yaml"], "compare: got one config (small.yaml), must be two or more"),
        (["small.yaml", "--vary", "engine.max_num_seqs=4"], "compare: got one config (engine.max_num_seqs=4)"),
        (["small.yaml", "small.yaml"], "small.yaml: is given twice, and a config cannot differ from itself; drop one"),
        (["small.yaml", "./small.yaml"], "small.yaml: is given twice"),
        ([*TWO, "--set", "engine.max_num_batched_tokens=9"], "B (other.yaml): is the same experiment as A ("),
        (["small.yaml", "--vary", "seed=1,2"], "B (seed=2): is the same experiment as A (seed=1), but for name, seed"),
        ([*TWO, "--vary", "seed=1,2"], "--vary: goes with one config, got small.yaml, other.yaml"),
        ([*BUDGETS], "--vary: goes with one config, got none"),
        (["small.yaml", "--vary", "seed"], "--vary 'seed': must be KEY=VALUE,VALUE"),
        (["small.yaml", "--vary", "engine.max_num_seq=1,2"], "engine.max_num_seq: unknown key"),
        (["small.yaml", "nowhere.yaml"], "nowhere.yaml: "),
        ([*TWO, "--replications", 0], "--replications: got 0, must be at least 3, for an interval"),
        ([*TWO, "--level", 0], "--level: got 0, must be above 0 and below 1"),
        ([*TWO, "--level", 95], "--level: got 95, must be above 0 and below 1"),
        ([*TWO, "--same-within", 1], "--same-within: got 1, must be at least 0 and below 1"),
        ([*TWO, "--metrics", "p99_tft"], "--metrics: unknown metric 'p99_tft'; did you mean 'p99_ttft'? known: "),
        ([*TWO, "--metrics", "p99"], "known: max_e2e, max_itl, "),
        ([*TWO, "--metrics", ","], "--metrics: got none, must name at least one"),
        ([*TWO, "--metrics", "request_goodput"], "there is no slo that bounds a request; give one, such as --set slo."),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_message_and_exit_code_2(compare, tmp_path, words, complaint):
    done = compare(*words)
    assert (done.code, done.out) == (2, "")
    assert complaint in done.err
    assert not (tmp_path / "out").exists()


def test_strangers_are_refused_with_what_differs(compare, tmp_path):
    lengths = {part: {"distribution": "fixed", "value": 9} for part in ("prompt", "output")}
    other = {"workload.arrivals": {"process": "deterministic", "rate": 8}, "workload.lengths": lengths}
    write_config(tmp_path, other).rename(tmp_path / "stranger.yaml")
    write_config(tmp_path, CONSTANT)
    done = compare("small.yaml", "stranger.yaml")
    assert done.code == 2
    assert "B (stranger.yaml): shares no requests with A (small.yaml): it has deterministic arrivals" in done.err


def test_an_input_is_not_written_over(compare, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "small.yaml").rename(tmp_path / "out" / "compare.csv")
    done = compare("out/compare.csv", "other.yaml")
    assert done.code == 2
    assert "out/compare.csv is a file that the run reads" in done.err


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------


def test_ctrl_c_compares_what_is_finished(compare, monkeypatch):
    """The pairs that are there make a whole result; the exit code says that more were asked for."""
    run, done = paired_runs._outcome, []

    def outcome(key, experiment):
        if len(done) == 7:
            raise KeyboardInterrupt
        done.append(key)
        return run(key, experiment)

    def one_by_one(runs, _):
        return ((key, outcome(key, experiment)) for key, experiment in runs._runs)

    monkeypatch.setattr(paired_runs.PairedRuns, "_in", one_by_one)
    found = compare("small.yaml", "other.yaml", "--json")
    assert found.code == 130
    assert json.loads(found.out)["seeds"] == [3, 4, 5]
    assert json.loads(found.out)["interrupted"]
    assert "note: interrupted: 3 of 20 replications are finished and compared" in found.err


def children_of(process: subprocess.Popen) -> list[str]:
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
    return found.stdout.split()


def test_ctrl_c_at_once_leaves_nothing(tmp_path):
    write_config(tmp_path, {"workload.num_requests": 20000})
    process = start(tmp_path, "compare", "small.yaml", *BUDGETS, "--workers", 1, "--out", "out")
    wait_until(lambda: len(children_of(process)) == 2)  # a worker and Python's resource tracker
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "note: interrupted before three replications of every config were finished; nothing is kept" in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()
