"""The plain scheduler, which the fast one must equal, itself equals the recordings of vLLM's, drafts included."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from oracles.plain_speculation import PlainSpeculation, scripted
from oracles.plain_v1_replay import Record, replay_plainly

from sim.study.recordings import read_recording

GOLDEN = Path(__file__).parent / "data" / "golden"
RECORDINGS = sorted([*GOLDEN.glob("vllm_v1/*.jsonl.gz"), *GOLDEN.glob("vllm_v1_drafts/*.jsonl.gz")])
D14, *SPECULATING = [path for path in RECORDINGS if path.name[0] == "e" or path.name[:3] == "d14"]
NO_DECISIONS = {"kind", "output_of_step"}
"""What a recording says of a step besides what was decided."""


def name_of(path: Path) -> str:
    return path.name.partition(".")[0]


@pytest.mark.parametrize("path", RECORDINGS, ids=name_of)
def test_every_key_of_every_step_is_equal(path: Path, tmp_path: Path) -> None:
    header, *steps, _ = lines_of(path)
    for ours, theirs in zip(replay(header, tmp_path), map(decisions, steps), strict=True):
        assert ours == theirs


def test_other_drafts_would_have_been_another_schedule(tmp_path: Path) -> None:
    header, *steps, _ = lines_of(D14)
    header["requests"][3]["accept"].reverse()
    assert replay(header, tmp_path) != [decisions(step) for step in steps]


# ---- what the recordings hold, or agreement would mean little --------------------------------------------------------


def test_answers_end_within_accepted_drafts() -> None:
    assert any(emitted_by(step, part) <= part["accepted"] for step, part in parts_of(D14) if "accepted" in part)


@pytest.mark.parametrize(
    ("what", "recordings"),
    [("cut", {"e02", "e04"}), ("dropped", {"e02", "e03", "e04"}), ("padding", {"e03", "e04", "e05", "e07", "e08"})],
)
def test_drafts_are_cut_dropped_and_stood_in_for(what: str, recordings: set[str]) -> None:
    """By the budget or the model's length to fewer or to none; by padding where there are none."""
    assert {path.name[:3] for path in SPECULATING if what in kinds(path)} == recordings


def kinds(path: Path) -> set[str]:
    asked_for = lines_of(path)[0]["config"]["num_speculative_tokens"]
    return {kind(part, asked_for) for _, part in parts_of(path)}


def kind(part: Record, asked_for: int) -> str:
    drafts = part.get("draft_tokens", 0)
    if part["how"] != "running":
        return "padding" if drafts else "prompt"
    if drafts:
        return "cut" if drafts < asked_for else "whole"
    return "dropped" if part["tokens"] == 1 and part["samples"] else "prompt"


@pytest.mark.parametrize("path", [path for path in SPECULATING if path.name[:3] in ("e06", "e07")], ids=name_of)
def test_asynchronous_answers_end_while_they_are_scheduled_once_more(path: Path) -> None:
    """And requests are preempted whose tokens come afterwards."""
    outcomes = [step for step in lines_of(path)[2:-1] if "finished" in step]
    assert any(part["id"] in step["finished"] for step in outcomes for part in step["scheduled"])
    assert any(name in step["emitted"] for step in outcomes for name in step["preempted"])


def emitted_by(step: Record, part: Record) -> int:
    return int(step["emitted"][part["id"]])


def parts_of(path: Path) -> list[tuple[Record, Record]]:
    return [(step, part) for step in lines_of(path)[1:-1] for part in step["scheduled"]]


# ---- reading and replaying -------------------------------------------------------------------------------------------


def lines_of(path: Path) -> list[Any]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def decisions(step: Record) -> Record:
    return {key: value for key, value in step.items() if key not in NO_DECISIONS}


def replay(header: Record, folder: Path) -> list[Record]:
    """The plain scheduler's steps for the same requests; of the program it takes how a recording is read."""
    config = dict(header["config"])
    slots = config.pop("max_num_new_slots_for_drafting", 0)
    cycles = {number: request["accept"] for number, request in enumerate(header["requests"]) if "accept" in request}
    speculation = PlainSpeculation(
        config["num_speculative_tokens"], config["num_lookahead_tokens"], slots, accepted=scripted(cycles)
    )
    silent = header | {"config": config | {"num_speculative_tokens": 0, "num_lookahead_tokens": 0}}
    path = folder / "without_drafts.jsonl"
    path.write_text("\n".join(map(json.dumps, [silent, {"kind": "step", "step": 0}, {"kind": "end"}])))
    recording = read_recording(path)
    steps = list(replay_plainly(recording, speculation))
    if recording.engine.async_scheduling:
        for part in (part for step in steps for part in step["scheduled"]):
            part.pop("accepted", None)
    return steps
