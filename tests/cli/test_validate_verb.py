"""`servesim validate schedule`: recordings of real schedulers against ours."""

from __future__ import annotations

import gzip
import json

import pytest
from cli_helpers import REPOSITORY, Output, servesim, servesim_here

GOLDEN = REPOSITORY / "tests" / "data" / "golden"
PLAIN, PREEMPTING = (GOLDEN / "vllm_v1" / f"{name}.jsonl.gz" for name in ("d01_plain", "d05_preempt_fcfs"))
STATIC = GOLDEN / "sarathi_repo" / "s01_static.jsonl.gz"


@pytest.fixture
def validate(capsys, monkeypatch):
    """Runs `servesim validate schedule` in this process."""

    def command(*words: object) -> Output:
        return servesim_here(capsys, monkeypatch, "validate", "schedule", *words)

    return command


@pytest.fixture
def altered(tmp_path):
    """The plain recording with another prompt length in its header."""
    with gzip.open(PLAIN, "rt", encoding="utf-8") as file:
        header, *rest = file.read().splitlines()
    header = json.loads(header)
    header["requests"][0]["prompt_len"] += 1
    path = tmp_path / "altered.jsonl"
    path.write_text("\n".join([json.dumps(header), *rest]), encoding="utf-8")
    return path


def test_equal_recordings_from_the_shell(tmp_path):
    files = [PLAIN, PREEMPTING, STATIC]
    expected = [f"{path}: equal {n}/{n} steps" for path, n in zip(files, (42, 211, 354), strict=True)]
    assert servesim(tmp_path, "validate", "schedule", *files) == (0, "\n".join(expected) + "\n", "")


def test_a_difference_is_shown_and_exit_code_1(validate, altered):
    done = validate(PLAIN, altered)
    equal, different = done.out.splitlines()
    assert equal == f"{PLAIN}: equal 42/42 steps"
    assert different.startswith(f"{altered}: equal 0/42 steps; first difference at step 0, scheduled[0].tokens: ours ")
    assert done.err == "error: 1 of 2 recordings differ from our schedule\n"
    assert done.code == 1


def test_a_difference_in_the_totals_says_so(validate, tmp_path):
    with gzip.open(PLAIN, "rt", encoding="utf-8") as file:
        *lines, end = file.read().splitlines()
    path = tmp_path / "totals.jsonl"
    path.write_text("\n".join([*lines, json.dumps(json.loads(end) | {"peak_running": 99})]), encoding="utf-8")
    assert "equal 42/42 steps; first difference in the totals, peak_running: ours 6, theirs 99" in validate(path).out


def test_json_is_all_of_standard_output(validate, altered):
    done = validate(PLAIN, altered, "--json")
    found = json.loads(done.out)
    assert found[str(PLAIN)] == {"equal_steps": 42, "steps": 42, "difference": None}
    assert found[str(altered)]["difference"]["key"] == "scheduled[0].tokens"
    assert set(found[str(altered)]["difference"]) == {"step", "key", "ours", "theirs"}
    assert done.code == 1


def test_a_recording_of_another_engine_is_exit_code_2(validate, tmp_path):
    lines = gzip.decompress(PLAIN.read_bytes()).decode().splitlines()
    header = json.loads(lines[0]) | {"engine": "tgi"}
    other = tmp_path / "other.jsonl"
    other.write_text("\n".join([json.dumps(header), *lines[1:]]))
    done = validate(other)
    assert (done.code, done.out) == (2, "")
    assert "tgi" in done.err
    assert "no preset yet" in done.err


def test_a_file_that_is_not_there_is_exit_code_2(validate):
    assert validate("absent.jsonl") == (2, "", "error: absent.jsonl: no such file; check the path\n")
