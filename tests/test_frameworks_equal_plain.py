"""The engine configured as a framework equals that framework written plainly, on random engines and traffic.

`oracles/plain_vllm_v0.py` and its like are written from the frameworks' own sources, in their own arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import hypothesis
import pandas as pd
import pytest
from equality import assert_equal_runs, ids
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles.plain_engine import PlainEngine
from oracles.plain_fastgen import PlainFastGen
from oracles.plain_lightllm import PlainLightLlm
from oracles.plain_sarathi import PlainSarathi
from oracles.plain_sglang import PlainSglang
from oracles.plain_vllm_v0 import PlainVllmV0
from scenarios import COSTS, Scenario, arrivals, descriptions, make_engine
from small_runs import experiment

from sim.cost import cost_model
from sim.serving.simulation import simulate
from sim.specs.engine import EngineSpec
from sim.workload.workload import Workload

ANY = experiment()
CASES = settings(max_examples=100, suppress_health_check=list(HealthCheck))
EVERYDAY, DEEP = range(2), range(2, 40)
SEEDS = [*EVERYDAY, *(pytest.param(seed, marks=pytest.mark.deep) for seed in DEEP)]

# ---- frameworks ------------------------------------------------------------------------------------------------------


def vllm_v0(engine: EngineSpec, tile_tokens: int) -> PlainVllmV0:
    return PlainVllmV0(
        max_num_seqs=engine.max_num_seqs,
        max_num_batched_tokens=engine.max_num_batched_tokens,
        max_model_len=engine.max_model_len,
        block_size=engine.block_size,
        num_gpu_blocks=engine.num_gpu_blocks,
        num_cpu_blocks=engine.num_cpu_blocks,
        enable_chunked_prefill=engine.enable_chunked_prefill,
        preemption_mode=engine.preemption_mode,
        watermark=engine.watermark,
        tile_tokens=tile_tokens,
    )


def sarathi(scheduler: str) -> Callable[[EngineSpec, int], PlainSarathi]:
    return lambda engine, tile_tokens: PlainSarathi(
        scheduler=scheduler,
        max_num_seqs=engine.max_num_seqs,
        max_model_len=engine.max_model_len,
        block_size=engine.block_size,
        num_gpu_blocks=engine.num_gpu_blocks,
        chunk_size=engine.max_num_batched_tokens,
        watermark=engine.watermark,
        tile_tokens=tile_tokens,
    )


def sglang(engine: EngineSpec, tile_tokens: int) -> PlainSglang:
    return PlainSglang(
        max_running_requests=engine.max_num_seqs,
        max_total_num_tokens=engine.num_gpu_blocks * engine.block_size,
        chunked_prefill_size=engine.max_num_batched_tokens if engine.enable_chunked_prefill else None,
        max_prefill_tokens=engine.max_prefill_tokens,
        page_size=engine.block_size,
        enable_mixed_chunk=engine.enable_mixed_chunk,
        schedule_conservativeness=engine.schedule_conservativeness,
        tile_tokens=tile_tokens,
    )


def fastgen(engine: EngineSpec, tile_tokens: int) -> PlainFastGen:
    return PlainFastGen(
        max_ragged_batch_size=engine.max_num_batched_tokens,
        max_ragged_sequence_count=engine.max_num_seqs,
        block_size=engine.block_size,
        num_blocks=engine.num_gpu_blocks,
        tile_tokens=tile_tokens,
    )


def lightllm(engine: EngineSpec, tile_tokens: int) -> PlainLightLlm:
    return PlainLightLlm(
        max_total_token_num=engine.num_gpu_blocks,
        batch_max_tokens=engine.max_num_batched_tokens,
        running_max_req_size=engine.max_num_seqs,
        chunked_prefill_size=engine.long_prefill_token_threshold,
        router_token_ratio=engine.router_token_ratio,
        router_max_new_token_len=engine.router_max_new_token_len,
        router_max_wait_tokens=engine.router_max_wait_tokens,
        disable_chunked_prefill=not engine.enable_chunked_prefill,
        disable_aggressive_schedule=engine.disable_aggressive_schedule,
        tile_tokens=tile_tokens,
    )


FRAMEWORKS: dict[str, Callable[[EngineSpec, int], Any]] = {
    "vllm-v0": vllm_v0,
    "vllm-v0-chunked": vllm_v0,
    "sarathi": sarathi("sarathi"),
    "sarathi-simple-chunking": sarathi("simple_chunking"),
    "sglang": sglang,
    "sglang-mixed": sglang,
    "fastgen": fastgen,
    "lightllm": lightllm,
}


@st.composite
def engines(draw: st.DrawFn, preset: str, scarce: bool) -> EngineSpec:
    """The preset with little or much of everything; budgets that a prompt must fit into hold the longest."""
    block_size = draw(st.sampled_from([1, 2, 4, 16]))
    model_len = draw(st.integers(12 if scarce else 2, 60))
    blocks_of_one = math.ceil(model_len / block_size)
    blocks = blocks_of_one + draw(st.integers(1, blocks_of_one + 2 if scarce else 9 * blocks_of_one))
    seats = 16 if scarce else draw(st.integers(1, 8))
    budget = draw(st.integers(1, 8) | st.integers(1, 70))
    values: dict[str, Any] = {}
    if preset.startswith(("vllm", "sarathi")):
        values = {"watermark": draw(st.sampled_from([0.01, 0.01, 0.0, 0.1]))}
    if preset.startswith("vllm"):
        values |= {"preemption_mode": draw(st.sampled_from(["recompute", "swap"])), "num_cpu_blocks": 10_000}
    if preset == "vllm-v0" or values.get("preemption_mode") == "swap":  # or a prompt might never come back
        budget = draw(st.integers(model_len, 2 * model_len))
    if preset.startswith("sarathi"):
        budget = max(budget, seats)
    if preset.startswith("sglang"):
        blocks += math.ceil(8 / block_size) + 2
        values = {
            "max_prefill_tokens": draw(st.integers(1, 100)),
            "enable_chunked_prefill": draw(st.booleans()),
            "schedule_conservativeness": draw(st.sampled_from([1.0, 0.0, 0.3, 2.0])),
        }
        budget = max(budget, block_size)
    if preset == "lightllm":
        chunk, waits = draw(st.integers(1, 70)), draw(st.integers(0, 6))
        block_size, blocks = 1, blocks * block_size + 8 + (model_len // chunk + 2) * (waits + 1)
        budget = max(budget, model_len)
        values = {
            "long_prefill_token_threshold": chunk,
            "router_max_wait_tokens": waits,
            "enable_chunked_prefill": draw(st.booleans()),
            "router_token_ratio": draw(st.sampled_from([0.0, 0.3, 0.9])),
            "router_max_new_token_len": draw(st.integers(1, 10)),
            "disable_aggressive_schedule": draw(st.booleans()),
        }
    return make_engine(
        preset,
        block_size=block_size,
        max_model_len=model_len,
        num_gpu_blocks=blocks,
        max_num_seqs=seats,
        max_num_batched_tokens=budget,
        **values,
    )


@st.composite
def scenarios(draw: st.DrawFn, preset: str) -> Scenario:
    scarce = draw(st.booleans())
    engine = draw(engines(preset, scarce).filter(lambda engine: engine.longest_sequence_tokens >= 2))
    count = draw(st.sampled_from([1, 4, 8, 15]))
    columns: dict[str, list[Any]] = dict(draw(descriptions(engine, scarce, count)))
    columns["arrival_s"] = draw(arrivals(count))
    if preset.startswith(("sglang", "fastgen", "lightllm")):  # which know no longest sequence but their memory
        for name in {"output_tokens", "max_new_tokens"} & columns.keys():
            rooms = [engine.longest_sequence_tokens - prompt for prompt in columns["prompt_tokens"]]
            columns[name] = [min(each) for each in zip(columns[name], rooms, strict=True)]
    return Scenario(engine, draw(st.sampled_from(COSTS)), Workload(pd.DataFrame(columns)))


# ---- equality --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("preset", FRAMEWORKS)
def test_a_framework_equals_its_plain_scheduler(preset: str, seed: int) -> None:
    hypothesis.seed(seed)(CASES(given(scenarios(preset))(assert_equal)))()


def assert_equal(scenario: Scenario) -> None:
    """In runs of iterations and one by one."""
    case = ANY.model_copy(update={"engine": scenario.engine, "cost": scenario.cost})
    cost = cost_model(case)
    scheduler = FRAMEWORKS[scenario.engine.preset](scenario.engine, cost.query_tile_tokens)
    plain = PlainEngine(case.engine, cost, scenario.workload, scheduler)
    try:
        plain.serve()
    except RuntimeError as died:  # the real one dies too
        hypothesis.assume("carried on" not in str(died))
        raise
    records: list[dict[str, Any]] = []
    for on_record in (None, records.append):
        assert_equal_runs(simulate(case, scenario.workload, on_record), plain)
    assert_equal_decisions(records, plain)


def assert_equal_decisions(records: list[dict[str, Any]], plain: PlainEngine) -> None:
    """Of every call, parts in any order: a framework lists its batch in an order of its own."""
    for ours, theirs in zip(records, plain.log, strict=True):
        keys = ("id", "start", "tokens", "new_blocks", "samples")
        assert sorted(tuple(part[key] for key in keys) for part in ours["scheduled"]) == sorted(
            (part.state.request.request_id, part.start, part.tokens, part.new_blocks, part.emits)
            for part in theirs.parts
        )
        assert ours["preempted"] == ids(theirs.preempted)
        if plain.engine.preset != "lightllm":  # which lists who was let in with those that run
            assert ours["waiting"] == [number for number in ids(theirs.waiting) if number not in ours["running"]]
        if plain.engine.preset.startswith(("vllm", "sarathi")):  # others list only some, or in an order of another kind
            assert ours["running"] == ids(theirs.running)
        assert ours["free_blocks"] == theirs.free_blocks
        assert sorted(ours["finished"]) == sorted(ids(theirs.finished))
        assert ours["free_blocks_after_update"] == theirs.free_blocks_after
