"""The plain scheduler of every framework reproduces every step of every recording of the real one."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from oracles.plain_fastgen import FastGenIteration, PlainFastGen
from oracles.plain_lightllm import Rules, Seen, decide
from oracles.plain_replay import Dialect, Record, compare, read
from oracles.plain_sarathi import PlainSarathi
from oracles.plain_sglang import PlainSglang, SglangIteration
from oracles.plain_vllm_v0 import PlainVllmV0, V0Iteration

GOLDEN = Path(__file__).parent / "data" / "golden"


def recordings(folder: str) -> list:
    index = json.loads((GOLDEN / folder / "index.json").read_text(encoding="utf-8"))
    return [
        pytest.param(GOLDEN / folder / scenario["file"], scenario["steps"], id=scenario["name"])
        for scenario in index["scenarios"]
    ]


# ---- vLLM V0 ---------------------------------------------------------------------------------------------------------


def vllm_v0(config: Record) -> PlainVllmV0:
    """Of the two keys that are no arguments the recordings have the values that are modelled."""
    values = dict(config)
    assert values.pop("delay_factor") == 0
    assert not values.pop("use_v2_block_manager")
    return PlainVllmV0(**values)


def vllm_v0_details(scheduler: PlainVllmV0, iteration: V0Iteration) -> Record:
    method = "swap" if scheduler.swaps else "recompute"
    return {
        "preempted": [[state, method] for state in iteration.preempted],
        "ignored": list(iteration.ignored),
        "swapped": list(iteration.swapped),
        "swapped_in_blocks": iteration.swapped_in_blocks,
        "swapped_out_blocks": iteration.swapped_out_blocks,
    }


def swapped_out(steps: list[Record]) -> Record:
    return {"swapped_out_blocks": sum(line["swapped_out_blocks"] for line in steps)}


VLLM_V0 = Dialect(details=vllm_v0_details, totals=swapped_out)


@pytest.mark.parametrize(("path", "steps"), recordings("vllm_v0"))
def test_vllm_v0(path, steps):
    recorded = read(path)
    assert compare(recorded, vllm_v0(recorded.config), VLLM_V0) == (steps, None)


# ---- sarathi-serve ---------------------------------------------------------------------------------------------------


def sarathi(config: Record) -> PlainSarathi:
    """The limit on the tokens of an iteration belongs to a fifth scheduler, which is not recorded."""
    return PlainSarathi(**{key: value for key, value in config.items() if key != "max_num_batched_tokens"})


@pytest.mark.parametrize(("path", "steps"), recordings("sarathi_repo"))
def test_sarathi(path, steps):
    recorded = read(path)
    assert compare(recorded, sarathi(recorded.config), Dialect()) == (steps, None)


# ---- SGLang ----------------------------------------------------------------------------------------------------------


def sglang_details(scheduler: PlainSglang, iteration: SglangIteration) -> Record:
    return {
        "mode": iteration.mode,
        "stop": iteration.stop,
        "retracted": list(iteration.preempted),
        "chunked": iteration.chunked,
        "batch_is_full": iteration.batch_is_full,
        "new_token_ratio": iteration.new_token_ratio,
        "free_tokens": iteration.free_blocks * scheduler.block_size,
    }


def sglang_outcome(scheduler: PlainSglang, iteration: SglangIteration) -> Record:
    return {"free_tokens_after_update": iteration.free_blocks_after * scheduler.block_size}


def prefill_steps(steps: list[Record]) -> Record:
    return {"prefill_steps": sum(line["mode"] in ("prefill", "mixed") for line in steps)}


SGLANG = Dialect(details=sglang_details, outcome=sglang_outcome, totals=prefill_steps)


@pytest.mark.parametrize(("path", "steps"), recordings("sglang"))
def test_sglang(path, steps):
    recorded = read(path)
    assert compare(recorded, PlainSglang(**recorded.config), SGLANG) == (steps, None)


# ---- DeepSpeed-FastGen -----------------------------------------------------------------------------------------------


def fastgen_details(scheduler: PlainFastGen, iteration: FastGenIteration) -> Record:
    return {
        "buffer": list(iteration.waiting),
        "evicted": list(iteration.preempted),
        "flushed_finished": list(iteration.flushed),
    }


FASTGEN = Dialect(details=fastgen_details)


@pytest.mark.parametrize(("path", "steps"), recordings("fastgen"))
def test_fastgen(path, steps):
    recorded = read(path)
    assert compare(recorded, PlainFastGen(**recorded.config), FASTGEN) == (steps, None)


# ---- LightLLM --------------------------------------------------------------------------------------------------------


def lightllm_cases() -> list[Record]:
    with gzip.open(GOLDEN / "lightllm" / "admission.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def seen(described: list[Record]) -> list[Seen]:
    return [Seen(**{key: value for key, value in item.items() if key != "id"}) for item in described]


@pytest.mark.parametrize("case", lightllm_cases(), ids=lambda case: f"{case['case']:03}")
def test_lightllm(case):
    waiting = case["waiting"]
    found = decide(Rules(**case["config"]), seen(case["running"]), seen(waiting), case["used_tokens"])
    assert {
        "admitted": [item["id"] for item in waiting[: found.admitted]],
        "peak_tokens": found.peak_tokens,
        "busy": found.busy,
    } == case["expect"]


# ---- the comparison is not vacuous -----------------------------------------------------------------------------------

COMPARED = {
    "vllm_v0/v05_swap": lambda recorded: compare(recorded, vllm_v0(recorded.config), VLLM_V0),
    "sarathi_repo/s05_sarathi_kv": lambda recorded: compare(recorded, sarathi(recorded.config), Dialect()),
    "sglang/g04_retract": lambda recorded: compare(recorded, PlainSglang(**recorded.config), SGLANG),
    "fastgen/f04_kv": lambda recorded: compare(recorded, PlainFastGen(**recorded.config), FASTGEN),
}


def changed(value: Any) -> Any:
    """Something else, as near as can be."""
    if isinstance(value, list):
        return [*value[:-1], changed(value[-1])] if value else ["somebody"]
    if isinstance(value, dict):
        return {name: item if name != "tokens" else changed(item) for name, item in value.items()}
    if isinstance(value, bool) or value is None:
        return not value
    return f"{value}'" if isinstance(value, str) else value + (1e-5 if isinstance(value, float) else 1)


@pytest.mark.parametrize("name", COMPARED)
def test_a_change_of_any_recorded_key_is_found(name):
    recorded, place = read(GOLDEN / f"{name}.jsonl.gz"), 9
    for key in set(recorded.steps[place]) - {"kind"}:
        line = recorded.steps[place] | {key: changed(recorded.steps[place][key])}
        steps = [*recorded.steps[:place], line, *recorded.steps[place + 1 :]]
        equal, found = COMPARED[name](replace(recorded, steps=steps))
        assert equal == place
        assert f".{key}" in (found or "")


@pytest.mark.parametrize("name", COMPARED)
def test_a_change_of_any_recorded_total_is_found(name):
    recorded = read(GOLDEN / f"{name}.jsonl.gz")
    for key in set(recorded.end) - {"kind", "sha256", "per_request"}:
        _, found = COMPARED[name](replace(recorded, end=recorded.end | {key: changed(recorded.end[key])}))
        assert (found or "").startswith(f"end: .{key}:")
    per_request = {request: changed_time(times) for request, times in recorded.end["per_request"].items()}
    _, found = COMPARED[name](replace(recorded, end=recorded.end | {"per_request": per_request}))
    assert (found or "").startswith("end: .per_request")


def changed_time(times: Record) -> Record:
    return times | {"finish_step": times["finish_step"] + 1}


@pytest.mark.parametrize("name", COMPARED)
def test_a_step_too_few_or_too_many_is_found(name):
    recorded = read(GOLDEN / f"{name}.jsonl.gz")
    _, found = COMPARED[name](replace(recorded, steps=recorded.steps[:-1]))
    assert "theirs has ended" in (found or "")
    _, found = COMPARED[name](replace(recorded, steps=[*recorded.steps, recorded.steps[-1]]))
    assert "ours has ended" in (found or "")
