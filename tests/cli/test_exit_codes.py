"""What a mistake looks like from a terminal: an exit code, one line on standard error, nothing on standard output."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sim.errors import InputError
from sim.study.recordings import read_recording
from sim.study.replay import compare_with

RECORDINGS = Path(__file__).parents[1] / "data" / "golden" / "vllm_v1"
CONFIG = {
    "model": "llama-3.1-8b",
    "accelerator": "a100-80gb-sxm",
    "engine": {"max_model_len": 8192},
    "workload": {
        "arrivals": {"process": "poisson", "rate": 2.0},
        "lengths": {
            "prompt": {"distribution": "fixed", "value": 100},
            "output": {"distribution": "fixed", "value": 5},
        },
        "num_requests": 5,
    },
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "c.yaml").write_text(json.dumps(CONFIG))
    (tmp_path / "file").touch()
    return tmp_path


def servesim(folder, *words):
    command = [sys.executable, "-m", "sim", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def all_in(text, fragments):
    missing = [fragment for fragment in fragments if fragment not in text]
    assert not missing, f"{missing} not in: {text}"


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        pytest.param("run c.yaml --set engine.max_num_seq=8", ["engine.max_num_seq", "'max_num_seqs'"], id="config"),
        pytest.param("run no.yaml", ["no.yaml", "no such file"], id="no_config"),
        pytest.param("run c.yaml --out file/below", ["file/below", "--out"], id="out_below_a_file"),
        pytest.param(
            "run c.yaml --out r --schedule-log no/log.jsonl", ["no/log.jsonl", "--schedule-log"], id="log_folder"
        ),
        pytest.param(
            'run c.yaml --out r --no-plots --set cost={"kind":"constant","step_s":1e308}',
            ["cost.step_s"],
            id="overflow",
        ),
        pytest.param("sweep c.yaml --vary engine.max_num_seqs", ["--vary", "KEY=VALUE"], id="vary"),
        pytest.param("sweep c.yaml --vary workload.arrivals.rate=1,1.0", ["--vary", "twice"], id="vary_twice"),
    ],
)
def test_bad_input_exits_2_with_one_line(folder, words, fragments):
    done = servesim(folder, *words.split())
    assert "Traceback" not in done.stderr
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    all_in(done.stderr, fragments)


@pytest.mark.parametrize(("words", "fragment"), [("rnu c.yaml", "rnu"), ("run c.yaml --ouut x", "--ouut")])
def test_unknown_verb_or_option_exits_2(folder, words, fragment):
    done = servesim(folder, *words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert fragment in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["catalog", "catalog h20", "--help"])
def test_a_reader_that_leaves_early_is_no_failure(folder, words, unbuffered):
    """The pipe is closed before a word is written: as with other tools, the exit is that of SIGPIPE, and silent."""
    reader, writer = os.pipe()
    os.close(reader)
    command, environment = [sys.executable, "-m", "sim", *words.split()], os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with open(writer, "wb") as pipe:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdout=pipe, stderr=subprocess.PIPE, timeout=120, check=False
        )
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize("words", ["--help", "catalog h20", "run c.yaml --out r"])
def test_an_unknown_matplotlib_backend_in_the_environment_is_ignored(folder, words):
    done = subprocess.run(
        [sys.executable, "-m", "sim", *words.split()],
        cwd=folder, env=os.environ | {"MPLBACKEND": "nonsense"}, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def recording(folder, change):
    """A copy of d01_plain, its lines changed in place by `change`."""
    lines = gzip.decompress((RECORDINGS / "d01_plain.jsonl.gz").read_bytes()).decode().splitlines()
    records = [json.loads(line) for line in lines]
    change(records)
    path = folder / "d01.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, records)).encode()))
    return path


def setter(path, value):
    """A change that writes `value` at the place of `path`, which must exist."""

    def change(records):
        target = records
        for key in path[:-1]:
            target = target[key]
        assert target[path[-1]] != value
        target[path[-1]] = value

    return change


def test_tampered_recording_exits_1_and_says_where(folder):
    path = recording(folder, setter((3, "scheduled", 1, "held_blocks"), 4))
    done = servesim(folder, "validate", "schedule", path.name)
    assert done.returncode == 1
    all_in(done.stdout, [path.name, "2/42", "step 2", "scheduled[1].held_blocks", "ours 3", "theirs 4"])
    assert done.stderr == "error: 1 of 1 recordings differ from our schedule\n"


def refused_recording(folder, path):
    done = servesim(folder, "validate", "schedule", path)
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {path}")
    return done.stderr


def test_truncated_recording_exits_2(folder):
    path = folder / "d01.jsonl.gz"
    data = (RECORDINGS / "d01_plain.jsonl.gz").read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert "cannot be read" in refused_recording(folder, path)


def refusal(path):
    with pytest.raises(InputError) as caught:
        compare_with(read_recording(path))
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_damaged_recording_is_refused(folder):
    path = folder / "d01.jsonl.gz"
    data = (RECORDINGS / "d01_plain.jsonl.gz").read_bytes()
    path.write_bytes(data[:200] + bytes(20) + data[220:])
    all_in(refusal(path), [str(path), "cannot be read"])


def test_recording_without_its_end_is_refused(folder):
    path = recording(folder, list.pop)
    all_in(refusal(path), [str(path), "cut short"])


@pytest.mark.parametrize(
    ("place", "value", "fragments"),
    [
        ((0, "engine_version"), "0.10.0", ["vllm 0.10.0", "no preset", "vllm 0.33.0"]),
        ((0, "config"), None, ["config"]),
        ((0, "config", "max_num_seqs"), "128", ["max_num_seqs", "'128'"]),
        ((0, "config", "num_gpu_blocks"), None, ["num_gpu_blocks"]),
        ((0, "config", "num_speculative_tokens"), "three", ["num_speculative_tokens", "'three'"]),
        ((0, "requests"), None, ["requests"]),
        ((0, "requests", 0, "prompt_len"), "100", ["prompt_len", "'100'"]),
        ((0, "requests", 0, "arrival_step"), "now", ["arrival_step", "'now'"]),
        ((3,), {"kind": "step"}, ["step"]),
    ],
)
def test_malformed_recording_is_refused(folder, place, value, fragments):
    path = recording(folder, setter(place, value))
    all_in(refusal(path), [str(path), *fragments])
