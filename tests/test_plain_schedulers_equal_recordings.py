"""The plain scheduler of every framework reproduces every step of every recording of the real one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from oracles.plain_fastgen import FastGenIteration, PlainFastGen
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


@pytest.mark.parametrize(("path", "steps"), recordings("vllm_v0"))
def test_vllm_v0(path, steps):
    recorded = read(path)
    dialect = Dialect(details=vllm_v0_details, totals=swapped_out)
    assert compare(recorded, vllm_v0(recorded.config), dialect) == (steps, None)


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


@pytest.mark.parametrize(("path", "steps"), recordings("sglang"))
def test_sglang(path, steps):
    recorded = read(path)
    dialect = Dialect(details=sglang_details, outcome=sglang_outcome, totals=prefill_steps)
    assert compare(recorded, PlainSglang(**recorded.config), dialect) == (steps, None)


# ---- DeepSpeed-FastGen -----------------------------------------------------------------------------------------------


def fastgen_details(scheduler: PlainFastGen, iteration: FastGenIteration) -> Record:
    return {
        "buffer": list(iteration.waiting),
        "evicted": list(iteration.preempted),
        "flushed_finished": list(iteration.flushed),
    }


@pytest.mark.parametrize(("path", "steps"), recordings("fastgen"))
def test_fastgen(path, steps):
    recorded = read(path)
    assert compare(recorded, PlainFastGen(**recorded.config), Dialect(details=fastgen_details)) == (steps, None)
