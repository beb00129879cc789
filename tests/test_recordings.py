"""Every recording of a real scheduler is reproduced step by step, or refused for what is not modelled."""

from __future__ import annotations

import gzip
import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from sim.errors import InputError, ServesimError
from sim.study.recordings import read_recording
from sim.study.replay import Difference, compare_file, compare_with

GOLDEN = Path(__file__).parent / "data" / "golden"
FOLDERS = ("vllm_v1", "vllm_v1_drafts", "vllm_v0", "sarathi_repo", "sglang", "fastgen")
RECORDINGS = sorted(path for folder in FOLDERS for path in GOLDEN.glob(f"{folder}/*.jsonl.gz"))
PREEMPTING = GOLDEN / "vllm_v1" / "d05_preempt_fcfs.jsonl.gz"


def name_of(path: Path) -> str:
    return path.name.partition(".")[0]


def index_of(path: Path) -> dict:
    scenarios = json.loads((path.parent / "index.json").read_text(encoding="utf-8"))["scenarios"]
    return next(scenario for scenario in scenarios if scenario["file"] == path.name)


def lines_of(path: Path) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write(path: Path, lines: list[dict]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_all_recordings_are_here():
    assert len({name_of(path) for path in RECORDINGS}) == 48


@pytest.mark.parametrize("path", RECORDINGS, ids=name_of)
def test_every_step_is_equal(path):
    found = compare_with(read_recording(path))
    assert found.difference is None
    assert found.equal_steps == found.steps == index_of(path)["steps"]


@pytest.mark.parametrize(
    ("engine", "said"),
    [({"engine_version": "9.9"}, "vllm 9.9"), ({"engine": "another"}, "no preset yet")],
)
def test_what_is_not_modelled_is_refused_by_name(tmp_path, engine, said):
    header, *rest = lines_of(PREEMPTING)
    with pytest.raises(InputError, match=said) as refused:
        read_recording(write(tmp_path / "other.jsonl", [header | engine, *rest]))
    assert "other.jsonl" in str(refused.value)


DECISIONS = GOLDEN / "lightllm" / "admission.jsonl.gz"


def test_every_decision_is_equal():
    found = compare_file(DECISIONS)
    assert found.difference is None
    assert found.equal_steps == found.steps == 120


@pytest.mark.parametrize("key", ["admitted", "peak_tokens", "busy"])
def test_any_changed_decision_is_a_difference(tmp_path, key):
    lines = lines_of(DECISIONS)
    value = lines[7]["expect"][key]
    lines[7]["expect"][key] = change(value)
    found = compare_file(write(tmp_path / "changed.jsonl", lines))
    assert (found.equal_steps, found.difference.step, found.difference.key) == (119, 7, key)


@pytest.mark.parametrize("change_", [{"used_tokens": "many"}, {"running": [{"id": 0}]}, {"config": {"mode": "whole"}}])
def test_a_decision_that_makes_no_sense_is_refused(tmp_path, change_):
    lines = lines_of(DECISIONS)
    lines[3] |= change_
    with pytest.raises(ServesimError, match=r"broken\.jsonl"):
        compare_file(write(tmp_path / "broken.jsonl", lines))


# ---- the comparison is not vacuous -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recording():
    return read_recording(PREEMPTING)


def preempting_step(recording) -> int:
    return next(i for i, step in enumerate(recording.steps) if step["preempted"])


def change(value):
    """Something else of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, dict):
        return {**value, "r999": 1}
    return [*value, "r999"]


STEP_KEYS = [
    "step", "arrived", "scheduled", "total_tokens", "preempted", "running", "waiting", "free_blocks", "emitted",
    "finished", "free_blocks_after_update",
]  # fmt: skip


@pytest.mark.parametrize("key", STEP_KEYS)
def test_any_changed_key_of_a_step_is_a_difference(recording, key):
    index = preempting_step(recording)
    steps = deepcopy(recording.steps)
    steps[index][key] = change(steps[index][key])
    found = compare_with(replace(recording, steps=steps))
    assert found.equal_steps == index
    assert found.difference.key == key
    assert found.difference.theirs == steps[index][key]


@pytest.mark.parametrize("key", ["id", "how", "start", "tokens", "new_blocks", "held_blocks", "samples", "hit_tokens"])
def test_any_changed_key_of_a_scheduled_part_is_a_difference(recording, key):
    steps = deepcopy(recording.steps)
    steps[0]["scheduled"][2][key] = change(steps[0]["scheduled"][2][key])
    found = compare_with(replace(recording, steps=steps))
    assert (found.equal_steps, found.difference.step, found.difference.key) == (0, 0, f"scheduled[2].{key}")


@pytest.mark.parametrize("key", ["running", "scheduled"])
def test_order_matters(recording, key):
    steps = deepcopy(recording.steps)
    steps[10][key].reverse()
    assert compare_with(replace(recording, steps=steps)).equal_steps == 10


@pytest.mark.parametrize("key", ["something_new", "phase"])
def test_a_key_that_only_the_recording_has_is_a_difference(recording, key):
    steps = deepcopy(recording.steps)
    steps[3][key] = "value"
    assert compare_with(replace(recording, steps=steps)).difference.key == key


def test_a_key_that_the_recording_leaves_out_is_not_compared(recording):
    steps = [{key: value for key, value in step.items() if key != "waiting"} for step in recording.steps]
    assert compare_with(replace(recording, steps=steps)).difference is None


@pytest.mark.parametrize("index", [0, 100, -1])
def test_a_missing_step_is_a_difference(recording, index):
    steps = list(recording.steps)
    del steps[index]
    assert compare_with(replace(recording, steps=steps)).difference is not None


def test_a_step_too_many_is_a_difference(recording):
    last = recording.steps[-1]
    found = compare_with(replace(recording, steps=[*recording.steps, last | {"step": last["step"] + 1}]))
    assert found.equal_steps == len(recording.steps)
    assert found.difference == Difference(last["step"] + 1, "step", "(nothing)", last["step"] + 1)


TOTALS = [
    "steps", "preemptions", "scheduled_tokens", "output_tokens", "peak_running", "min_free_blocks", "hit_tokens",
    "max_step_tokens",
]  # fmt: skip


@pytest.mark.parametrize("key", TOTALS)
def test_any_changed_total_is_a_difference(recording, key):
    totals = recording.totals | {key: recording.totals[key] + 1}
    found = compare_with(replace(recording, totals=totals))
    assert found.equal_steps == found.steps
    assert (found.difference.step, found.difference.key) == (None, key)


@pytest.mark.parametrize("key", ["first_token_step", "finish_step", "preemptions", "output_tokens"])
def test_any_changed_total_of_a_request_is_a_difference(recording, key):
    totals = deepcopy(recording.totals)
    totals["per_request"]["r004"][key] += 1
    assert compare_with(replace(recording, totals=totals)).difference.key == f"per_request.r004.{key}"


@pytest.mark.parametrize(
    ("key", "value"), [("watermark", 0.2), ("max_num_seqs", 3), ("num_gpu_blocks", 60), ("block_size", 32)]
)
def test_another_engine_gives_other_steps(recording, key, value):
    engine = recording.engine.model_copy(update={key: value})
    assert compare_with(replace(recording, engine=engine)).difference is not None


# ---- files that are not recordings -----------------------------------------------------------------------------------


def test_plain_and_zipped_recordings_are_the_same(tmp_path):
    plain = read_recording(write(tmp_path / "plain.jsonl", lines_of(PREEMPTING)))
    assert replace(plain, path=PREEMPTING) == read_recording(PREEMPTING)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [[1, 2]],
        [{"kind": "step"}],
        lines_of(PREEMPTING)[:-1],
        lines_of(PREEMPTING)[1:],
        [{"kind": "header"}, {"kind": "end"}],
        [{**lines_of(PREEMPTING)[0], "engine_version": "9.9"}, {"kind": "end"}],
        [{**lines_of(PREEMPTING)[0], "config": None}, {"kind": "end"}],
        [{**lines_of(PREEMPTING)[0], "requests": [{"id": "r0"}]}, {"kind": "end"}],
        [{**lines_of(PREEMPTING)[0], "requests": []}, {"kind": "end"}],
    ],
    ids=[
        "empty", "no mappings", "no header", "no end", "headless", "bare header", "unknown version", "no config",
        "half a request", "no requests",
    ],
)  # fmt: skip
def test_what_is_not_a_recording_is_refused(tmp_path, lines):
    with pytest.raises(InputError, match=r"broken\.jsonl"):
        compare_with(read_recording(write(tmp_path / "broken.jsonl", lines)))


@pytest.mark.parametrize("request_", [{"prompt_len": "long"}, {"arrival_step": None}, {"prompt_len": 0}])
def test_a_request_that_makes_no_sense_is_refused(tmp_path, request_):
    header, *rest = lines_of(PREEMPTING)
    header["requests"][0] |= request_
    with pytest.raises(ServesimError, match=r"broken\.jsonl"):
        compare_with(read_recording(write(tmp_path / "broken.jsonl", [header, *rest])))


def test_a_step_without_its_number_is_refused(tmp_path):
    lines = lines_of(PREEMPTING)
    del lines[5]["step"]
    with pytest.raises(InputError, match=r"broken\.jsonl"):
        compare_with(read_recording(write(tmp_path / "broken.jsonl", lines)))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_that_was_cut_short_is_refused(tmp_path, share):
    content = PREEMPTING.read_bytes()
    path = tmp_path / "broken.jsonl.gz"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"broken\.jsonl\.gz"):
        read_recording(path)


@pytest.mark.parametrize("share", [n / 20 for n in range(1, 20)])
def test_a_file_with_a_wrong_byte_is_refused(tmp_path, share):
    content = bytearray(PREEMPTING.read_bytes())
    content[int(share * len(content))] ^= 0xFF
    path = tmp_path / "broken.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.jsonl\.gz"):
        read_recording(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_recording(tmp_path / "absent.jsonl")
