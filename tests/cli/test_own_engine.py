"""Engines of the user's own from a terminal: a preset by path, a rule in Python, and every mistake in one line."""

from __future__ import annotations

import json

import pytest
from cli_helpers import servesim_here, write_config

from sim.specs.own_code import ALLOW_CODE

GATE = """
def blocks_required(engine):
    return lambda known_tokens, chunk_tokens: -(-(known_tokens + {more}) // engine.block_size)
"""
SCARCE = {"engine.num_gpu_blocks": 50, "workload.arrivals": {"process": "all_at_once"}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with an experiment, a rule and a preset."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ALLOW_CODE, "0")
    write_config(tmp_path, SCARCE)
    (tmp_path / "mine.py").write_text(GATE.format(more=200))
    (tmp_path / "mine.yaml").write_text("base: sglang\nvalues: {max_num_seqs: 7}\n")
    return tmp_path


@pytest.fixture
def servesim(folder, capsys, monkeypatch):
    return lambda *words: servesim_here(capsys, monkeypatch, *words)


def preemptions(output) -> int:
    return json.loads(output.out)["sim"]["kv_cache"]["preemptions"]


RUN = ("run", "small.yaml", "--no-plots", "--json")
OWN_GATE = ("--set", "engine.gate=mine.py:blocks_required")


def test_a_rule_runs_with_allow_code_and_not_without(servesim):
    refused = servesim(*RUN, *OWN_GATE)
    assert (refused.code, refused.out) == (2, "")
    assert "servesim --allow-code VERB" in refused.err
    allowed = servesim(*RUN, *OWN_GATE, "--allow-code")
    assert allowed.code == 0, allowed.err
    assert preemptions(allowed) < preemptions(servesim(*RUN))


def test_a_preset_by_path_runs(servesim):
    done = servesim(*RUN, "--set", "engine.preset=mine.yaml", "--set", "engine.num_gpu_blocks=800")
    assert done.code == 0, done.err
    assert json.loads(done.out)["completed"] == 60


def test_a_sweep_that_is_repeated_notices_that_the_rule_changed(servesim, folder):
    sweep = ("--allow-code", "sweep", "small.yaml", "--vary", "engine.gate=whole_prompt,mine.py:blocks_required")
    sweep += ("--out", "out", "--workers", 1)
    files = [folder / "out" / name / "manifest.json" for name in ("gate-whole_prompt", "gate-mine.py-blocks_required")]
    assert servesim(*sweep).code == 0
    before = [file.stat().st_mtime_ns for file in files]
    (folder / "mine.py").write_text(GATE.format(more=100))
    assert servesim(*sweep).code == 0
    assert [file.stat().st_mtime_ns > earlier for file, earlier in zip(files, before, strict=True)] == [False, True]


def test_no_result_overwrites_a_rule(servesim, folder):
    done = servesim("--allow-code", *RUN, *OWN_GATE, "--schedule-log", "mine.py")
    assert done.code == 2
    assert "a file that the run reads" in done.err
    assert (folder / "mine.py").read_text() == GATE.format(more=200)


@pytest.mark.parametrize(
    ("settings", "fragments"),
    [
        (["preset=no.yaml"], ["engine.preset: no file at"]),
        (["preset=sglng"], ["engine.preset: 'sglng' is not in the catalogue; did you mean 'sglang'"]),
        (["preset=mine.yaml", "max_running_requests=0"], ["engine.max_running_requests: got 0"]),
        (["preset=sglang", "scheduling_policy=fcfs"], ["engine.scheduling_policy: sglang has no such", "order"]),
        (["preset=sglang", "disable_radix_cache=false"], ["engine.disable_radix_cache: got False", "only true"]),
        (["preset=vllm-v0", "enable_chunked_prefill=true"], ["engine: enable_chunked_prefill true", "vllm-v0-chunked"]),
        (["preset=vllm-v0", "max_num_batched_tokens=100"], ["engine.max_num_batched_tokens: 100", "512"]),
        (["gate=mine.py:nothing"], ["engine.gate: ", "no function or class 'nothing', it has blocks_required"]),
        (["gate=other.py:nothing"], ["engine.gate: no file at", "other.py"]),
        (["gate=mine.py"], ["engine.gate: got 'mine.py', which names no rule"]),
    ],
)
def test_a_mistake_exits_2_with_one_line_before_anything_runs(servesim, folder, settings, fragments):
    chosen = [word for setting in settings for word in ("--set", f"engine.{setting}")]
    done = servesim("--allow-code", *RUN, *chosen)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert [fragment for fragment in fragments if fragment not in done.err] == []
    assert not (folder / "results").exists()


def test_a_rule_that_fails_in_a_run_exits_2_with_its_line(servesim, folder):
    (folder / "mine.py").write_text("def blocks_required(engine):\n    return lambda *known: 1 / 0\n")
    done = servesim("--allow-code", *RUN, *OWN_GATE)
    assert (done.code, done.out) == (2, "")
    assert "gate mine.py:blocks_required) failed: ZeroDivisionError: division by zero, line 2 of mine.py" in done.err
    assert "Traceback" not in done.err
