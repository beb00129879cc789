"""`servesim show`: a finished run again, in our words and in those of other tools."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
from cli_helpers import servesim, servesim_here, write_config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with the result of a run in `out`, and what the run printed."""
    folder = tmp_path_factory.mktemp("show")
    write_config(folder, {"slo": {"p99_ttft": 0.02}})
    done = servesim(folder, "run", "small.yaml", "--out", "out", "--no-plots")
    assert done.code == 0, done.err
    return folder, done


@pytest.fixture
def here(monkeypatch, capsys, finished):
    """Runs the command in this process, beside the finished run."""
    monkeypatch.chdir(finished[0])
    return lambda *words: servesim_here(capsys, monkeypatch, *words)


def test_it_prints_what_run_printed(finished):
    folder, done = finished
    shown = servesim(folder, "show", "out")
    assert shown == (0, done.out, "")
    assert "MFU" in shown.out


def test_notes_are_shown_again_and_that_the_run_was_interrupted(here, finished, tmp_path):
    noted = shutil.copytree(finished[0] / "out", tmp_path / "noted")
    summary = json.loads((noted / "summary.json").read_text(encoding="utf-8"))
    summary["sim"] |= {"notes": ["the seats are few"], "interrupted": True}
    (noted / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    done = here("show", noted)
    assert (done.code, done.out) == (0, here("show", "out").out)
    assert done.err.splitlines() == [
        "note: the seats are few",
        "note: interrupted: the results hold the requests that were finished",
    ]


@pytest.mark.parametrize(
    ("tool", "mean_ttft_ms"),
    [
        ("vllm", lambda found: found["mean_ttft_ms"]),
        ("sglang", lambda found: found["mean_ttft_ms"]),
        ("aiperf", lambda found: found["time_to_first_token"]["avg"]),
    ],
)
def test_it_writes_the_result_of_another_tool(here, finished, tool, mean_ttft_ms):
    folder, _ = finished
    done = here("show", "out", "--as", tool)
    assert (done.code, done.err, done.out.count("\n")) == (0, "", 1)
    table = pd.read_parquet(folder / "out" / "requests.parquet")
    assert mean_ttft_ms(json.loads(done.out)) == pytest.approx(table["ttft_s"].mean() * 1e3)


def test_it_writes_to_a_file(here, finished):
    folder, _ = finished
    printed = here("show", "out", "--as", "vllm").out
    done = here("show", "out", "--as", "vllm", "--out", "vllm.json")
    assert (done.code, done.out) == (0, "")
    assert done.err == "note: the result as vllm writes it is in vllm.json\n"
    assert (folder / "vllm.json").read_text(encoding="utf-8") == printed


# ---- sweeps ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def swept(finished):
    """A sweep in the folder `swept`, beside the finished run, and what it printed."""
    rates = ("--vary", "workload.arrivals.rate=4,8", "--vary", "engine.max_num_batched_tokens=null,512")
    done = servesim(finished[0], "sweep", "small.yaml", *rates, "--out", "swept")
    assert done.code == 0, done.err
    return done


def test_the_table_of_a_sweep_is_shown_again_and_its_runs_are_named(here, finished, swept):
    done = here("show", "swept")
    assert done.code == 0
    assert done.out == swept.out
    assert done.err.startswith("note: swept holds a sweep; to see one of its runs: servesim show swept/RUN (rate-4_")
    names = done.err.partition("(")[2].rpartition(")")[0].split(", ")
    assert names == sorted(path.name for path in (finished[0] / "swept").iterdir() if path.is_dir())
    assert here("show", f"swept/{names[0]}").code == 0


def test_another_tool_knows_no_sweeps(here, swept):
    message = refused(here("show", "swept", "--as", "vllm"))
    assert message.startswith("error: swept: holds a sweep, and --as vllm writes a single run; give one of its runs: ")
    assert "rate-4_max_num_batched_tokens-512" in message


def test_a_damaged_table_of_a_sweep(here, tmp_path):
    (tmp_path / "sweep.csv").write_text("something,else\n", encoding="utf-8")
    assert "sweep.csv: cannot be read" in refused(here("show", tmp_path))


def test_a_run_beside_the_table_of_a_sweep_is_still_a_run(here, finished, tmp_path):
    both = shutil.copytree(finished[0] / "out", tmp_path / "both")
    (both / "sweep.csv").write_text("verdict\n", encoding="utf-8")
    assert here("show", both).out == here("show", "out").out


# ---- mistakes --------------------------------------------------------------------------------------------------------


def refused(done):
    assert "Traceback" not in done.err
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    return done.err


def test_a_folder_that_is_not_there(here):
    assert refused(here("show", "absent")) == "error: absent: no such folder; give the result folder of a run\n"


def test_a_folder_without_a_whole_run(here, finished):
    (finished[0] / "empty").mkdir(exist_ok=True)
    assert "empty: holds no whole run (manifest.json is missing)" in refused(here("show", "empty"))


def test_an_unknown_tool(here):
    message = refused(here("show", "out", "--as", "vlm"))
    assert message == "error: --as: got 'vlm'; did you mean 'vllm'? known: aiperf, sglang, vllm\n"


def test_a_file_for_the_report(here):
    assert "needs --as vllm|sglang|aiperf" in refused(here("show", "out", "--out", "report.txt"))


def test_a_file_that_cannot_be_written(here):
    assert "absent/a.json: cannot be written" in refused(here("show", "out", "--as", "vllm", "--out", "absent/a.json"))


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("manifest.json", '{"version": "0.0.1"}', "was written by servesim 0.0.1"),
        ("manifest.json", "[]", "manifest.json: holds no JSON object"),
        ("summary.json", "{", "summary.json: cannot be read"),
        ("summary.json", None, "summary.json: cannot be read"),
        ("requests.parquet", "no table", "requests.parquet: cannot be read"),
        ("requests.parquet", None, "requests.parquet: cannot be read"),
    ],
)
def test_a_damaged_result(here, finished, tmp_path, file, content, complaint):
    damaged = shutil.copytree(finished[0] / "out", tmp_path / "damaged")
    if content is None:
        (damaged / file).unlink()
    else:
        (damaged / file).write_text(content, encoding="utf-8")
    assert complaint in refused(here("show", damaged, "--as", "vllm"))
