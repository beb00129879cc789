"""No verb writes over what it reads or over a result; what is interrupted is whole or absent; errors name files."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pandas as pd
import pytest
from cli_helpers import COMMAND, REPOSITORY, servesim_here, start, wait_until, write_config
from interrupts import interrupt_at

from sim.study import store
from sim.study.files import interrupts_held, replacing, writing
from sim.study.store import FILES

TRACE = "arrival_s,prompt_tokens,output_tokens\n0,10,3\n1,20,4\n2,5,5\n"
MODEL = {
    "name": "mine", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
    "head_dim": 16, "intermediate_size": 128, "vocab_size": 1000, "max_position_embeddings": 4096,
}  # fmt: skip
GPU = {
    "name": "mine", "memory_bytes": 80_000_000_000, "memory_bytes_per_s": 2e12, "peak_flop_per_s": {"bfloat16": 3e14},
    "link_bytes_per_s": 6e11, "efficiency": {"source": "measured"},
}  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """The command in this process, beside a config whose model, accelerator and trace are files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps(MODEL), encoding="utf-8")
    (tmp_path / "gpu.json").write_text(json.dumps(GPU), encoding="utf-8")
    (tmp_path / "t.csv").write_text(TRACE, encoding="utf-8")
    trace = {"workload": {"trace": {"path": "t.csv", "format": "csv"}}}
    (tmp_path / "mine.yaml").write_text("base: vllm-v1\nvalues: {max_num_seqs: 16}\n", encoding="utf-8")
    files = {"model": "./model.json", "accelerator": "./gpu.json", "engine.preset": "mine.yaml"}
    write_config(tmp_path, files, trace)
    return lambda *words: servesim_here(capsys, monkeypatch, *words)


def refused(output, *fragments):
    assert (output.code, output.out) == (2, ""), output.err
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert not [fragment for fragment in fragments if fragment not in output.err], output.err


# ---- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["small.yaml", "model.json", "gpu.json", "t.csv", "mine.yaml", "link"])
def test_a_schedule_log_never_replaces_what_the_run_reads(here, tmp_path, name):
    (tmp_path / "link").symlink_to("t.csv")
    before = (tmp_path / name).read_bytes()
    refused(here("run", "small.yaml", "--out", "out", "--schedule-log", name), f"--schedule-log: {name} is a file that")
    assert (tmp_path / name).read_bytes() == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        (["run", "--no-plots"], "out/summary.json"),
        (["sweep", "--vary", "seed=1,2", "--workers", 1], "out/sweep.csv"),
        (["sweep", "--vary", "seed=1,2", "--workers", 1], "out/seed-2/summary.json"),
    ],
)
def test_results_never_replace_the_trace(here, tmp_path, verb, name):
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(TRACE, encoding="utf-8")
    words = [verb[0], "small.yaml", "--out", "out", "--set", f"workload.trace.path={name}", *verb[1:]]
    refused(here(*words), f"--out: {name} is a file that the run reads")
    assert (tmp_path / name).read_text(encoding="utf-8") == TRACE


def test_the_description_of_a_trace_never_replaces_it(here, tmp_path):
    (tmp_path / "D").mkdir()
    (tmp_path / "D/trace.json").write_text(TRACE, encoding="utf-8")
    refused(here("trace", "D/trace.json", "--out", "D"), "--out: D/trace.json is the trace itself")
    refused(here("trace", "t.csv", "--out", "D", "--save-mooncake", "D/trace.json"), "a file of the result itself")
    assert (tmp_path / "D/trace.json").read_text(encoding="utf-8") == TRACE


# ---- results ---------------------------------------------------------------------------------------------------------


def test_what_a_run_wrote_is_not_written_over_by_another_option(here, tmp_path):
    refused(here("run", "small.yaml", "--out", "out", "--schedule-log", "out/summary.json"), "the result itself")
    assert here("run", "small.yaml", "--out", "out", "--no-plots").code == 0
    assert here("run", "small.yaml", "--out", "other", "--no-plots").code == 0
    before = {path: path.read_bytes() for path in tmp_path.glob("o*/*")}
    refused(here("show", "out", "--as", "vllm", "--out", "out/summary.json"), "the result itself")
    refused(here("show", "out", "--as", "vllm", "--out", "other/summary.json"), "a file of another result")
    refused(here("run", "small.yaml", "--out", "new", "--schedule-log", "out/manifest.json"), "another result")
    assert {path: path.read_bytes() for path in tmp_path.glob("o*/*")} == before


def test_a_resolved_config_runs_again_in_its_own_folder(here):
    assert here("run", "small.yaml", "--out", "out", "--no-plots").code == 0
    assert here("run", "out/config.resolved.yaml", "--out", "out", "--no-plots").code == 0


DAMAGE = {
    "empty": lambda summary: {},
    "no section": lambda summary: {key: value for key, value in summary.items() if key != "sim"},
    "no metric": lambda summary: summary | {"sim": summary["sim"] | {"metrics": {}}},
    "other types": lambda summary: summary | {"sim": summary["sim"] | {"kv_cache": [], "batch": 3}},
    "text for a number": lambda summary: summary | {"request_throughput": "many"},
}


@pytest.fixture
def damaged(here, tmp_path):
    """Damages the summary of a run in `out`."""

    def damage(change):
        assert here("run", "small.yaml", "--out", "out", "--no-plots").code == 0
        path = tmp_path / "out/summary.json"
        path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")

    return damage


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_summary_is_refused_and_nothing_of_it_printed(here, damaged, change):
    damaged(change)
    refused(here("show", "out"), "out: is damaged, or another version wrote it", "run the experiment again")


@pytest.mark.parametrize("content", ["[]", '{"a":' * 10**5])
def test_what_is_no_summary_is_refused(here, damaged, tmp_path, content):
    damaged(lambda summary: summary)
    (tmp_path / "out/summary.json").write_text(content, encoding="utf-8")
    refused(here("show", "out"), "out/summary.json", "run the experiment again")


def test_a_table_without_a_column_is_refused(here, damaged, tmp_path):
    damaged(lambda summary: summary)
    path = tmp_path / "out/requests.parquet"
    pd.read_parquet(path).drop(columns="ttft_s").to_parquet(path)
    refused(here("show", "out", "--as", "vllm"), "out: is damaged", "ttft_s")


@pytest.mark.parametrize("change", [DAMAGE["empty"], DAMAGE["other types"]])
def test_a_sweep_runs_a_damaged_cell_again(here, tmp_path, change):
    words = ("sweep", "small.yaml", "--vary", "seed=1,2", "--workers", 1, "--out", "out")
    first = here(*words)
    path = tmp_path / "out/seed-1/summary.json"
    whole = path.read_text(encoding="utf-8")
    path.write_text(json.dumps(change(json.loads(whole))), encoding="utf-8")
    again = here(*words)
    assert (again.code, again.out) == (0, first.out)
    assert json.loads(path.read_text(encoding="utf-8")).keys() == json.loads(whole).keys()


# ---- interruption ----------------------------------------------------------------------------------------------------


def test_ctrl_c_waits_for_the_end_of_what_must_be_whole():
    done = []

    def save():
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        save()
    assert done == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("before", [None, "old"])
def test_an_interrupted_file_is_the_old_one_or_none(tmp_path, before):
    path = tmp_path / "file.gz"
    if before:
        path.write_text(before, encoding="utf-8")

    def interrupted():
        with replacing(path) as beside:
            beside.write_text("half of", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [file.read_text(encoding="utf-8") for file in tmp_path.iterdir()] == ([before] if before else [])
    with replacing(path) as beside:
        assert beside.suffix == path.suffix
        beside.write_text("new", encoding="utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["file.gz"]
    assert path.read_text(encoding="utf-8") == "new"


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path):
    device = os.stat(os.devnull)
    with writing(tmp_path), replacing(tmp_path / "link") as beside:
        assert beside != tmp_path / "link"
        beside.touch()
    (tmp_path / "null").symlink_to(os.devnull)
    with replacing(tmp_path / "null") as itself:
        itself.write_text("anything", encoding="utf-8")
    assert os.stat(os.devnull).st_ino == device.st_ino


def test_ctrl_c_while_a_trace_is_saved_leaves_nothing_and_says_so(tmp_path):
    rows = "".join(f"{i},100000000,1\n" for i in range(50))  # 195,313 blocks a request: seconds to write
    (tmp_path / "t.csv").write_text("arrival_s,prompt_tokens,output_tokens\n" + rows, encoding="utf-8")
    process = start(tmp_path, "trace", "t.csv", "--save-mooncake", "saved.jsonl", "--out", "out")
    wait_until(lambda: any(path.stat().st_size > 10**6 for path in tmp_path.glob("*saved.jsonl")))
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert err == "note: interrupted; files that are there are whole\n"
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_ctrl_c_while_results_are_saved_leaves_them_whole(here, tmp_path, monkeypatch):
    """The signal comes between two of the files."""
    dump = store.dump_yaml
    monkeypatch.setattr(store, "dump_yaml", lambda value: signal.raise_signal(signal.SIGINT) or dump(value))
    done = here("run", "small.yaml", "--out", "out", "--no-plots")
    assert (done.code, done.out) == (130, "")
    assert "interrupted" in done.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {name for name in FILES if not name.endswith(".png")}
    assert here("show", "out").code == 0


def test_an_interrupted_run_does_not_take_the_place_of_a_finished_one(here, tmp_path, monkeypatch):
    assert here("run", "small.yaml", "--out", "out", "--no-plots").code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    interrupt_at(monkeypatch, 0.5)
    done = here("run", "small.yaml", "--out", "out", "--no-plots")
    assert (done.code, done.out) == (130, "")
    assert "interrupted: the finished result in out stays as it is" in done.err
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_who_comes_second_to_a_folder_leaves_it_to_the_first(here, tmp_path):
    with store.result_folder(tmp_path / "out"):
        refused(here("run", "small.yaml", "--out", "out"), "out: another run is writing here; wait for it")
        (tmp_path / "out" / "result").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result"]


def test_a_request_to_end_keeps_what_ctrl_c_keeps_and_leaves_no_worker(tmp_path):
    write_config(tmp_path, {"workload.num_requests": 200_000})
    process = start(tmp_path, "sweep", "small.yaml", "--vary", "seed=1,2", "--out", "out")
    wait_until(lambda: len(list(tmp_path.glob("out/seed-*"))) == 2)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "interrupted: 0 of 2 runs are finished and kept; the same command resumes" in err
    wait_until(lambda: not alive(process.pid))


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# ---- files that cannot be read, machines that are too small ----------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs a file that exists and cannot be read")
def test_a_file_that_cannot_be_read_is_named(here):
    for change in (
        "workload.trace.path=/proc/self/mem",
        "workload={arrivals: {process: poisson, rate: 1}, num_requests: 5, "
        "lengths: {distribution: sharegpt, path: /proc/self/mem}}",
    ):
        done = here("run", "small.yaml", "--set", change)
        refused(done, "/mem: cannot be read")
        assert "free space" not in done.err


@pytest.mark.parametrize(
    "words",
    [
        ["trace", "a" * 300],
        ["show", "a" * 300],
        ["run", "a" * 300],
        ["run", "small.yaml", "--out", "a" * 300],
        ["run", "small.yaml", "--out", "new", "--schedule-log", "a" * 300],
        ["trace", "t.csv", "--save-mooncake", "a" * 300],
    ],
)
def test_a_path_that_is_too_long_is_named(here, words):
    refused(here(*words), "a" * 300, "too long")


def test_too_little_memory_is_one_message(tmp_path):
    write_config(tmp_path, {"workload.num_requests": 10**8})
    limit = 3 * 2**30
    command = f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit})); "
    command += "sys.argv = ['servesim', 'run', 'small.yaml']; runpy.run_module('sim', run_name='__main__')"

    done = subprocess.run(
        [COMMAND[0], "-c", command],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: not enough memory; simulate fewer requests, or use a machine with more\n"
