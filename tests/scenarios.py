"""Random engines, workloads and costs, for properties that must hold whatever they are."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from sim.specs import catalogue
from sim.specs.cost import AffineCost, ConstantCost, CostSpec, PerRequestCost, RooflineCost
from sim.specs.distributions import FixedDuration
from sim.specs.engine import EngineSpec
from sim.specs.validation import validate
from sim.workload.workload import Workload


@cache
def preset_entry(preset: str) -> dict[str, Any]:
    return catalogue.entry("engines", preset, "engine.preset")


SYNCHRONOUS: dict[str, Any] = {"enable_prefix_caching": False, "async_scheduling": False}
"""What makes schedules easy to follow by hand."""


def make_engine(preset: str = "vllm-v1", **overrides: Any) -> EngineSpec:
    """The catalogue's preset with plenty of everything (4 tokens a block), synchronous, and `overrides` on top."""
    entry = preset_entry(preset)
    plenty = {
        "max_num_seqs": 64,
        "max_num_batched_tokens": None if "max_num_batched_tokens" in entry.get("without", {}) else 1000,
        "max_model_len": 100,
        "block_size": 4,
        "num_gpu_blocks": 1000,
        **SYNCHRONOUS,
    }
    base = {"preset": preset, "preset_version": entry["version"]}
    return validate(EngineSpec, base | entry["values"] | plenty | overrides)


# ---- engines --------------------------------------------------------------------------------------------------------

SHORT, LONG = 50, 400
"""Most engines take sequences up to the one, some up to the other."""


@st.composite
def engines(draw: st.DrawFn, scarce: bool) -> EngineSpec:
    """Any values that may stand together; `scarce` engines have seats for many and hardly blocks for two."""
    formation = draw(st.sampled_from(["continuous", "continuous", "drain_then_fill"]))
    allocation = "paged" if scarce else draw(st.sampled_from(["paged", "reserved"]))
    is_static, is_reserved = formation == "drain_then_fill", allocation == "reserved"
    gates = ["slot"] if is_reserved else ["whole_prompt", "first_chunk"]
    is_whole = is_static and is_reserved and draw(st.booleans())
    block_size = draw(st.sampled_from([1, 2, 4, 16]))
    model_len = draw(st.integers(12 if scarce else 2, draw(st.sampled_from([*[SHORT] * 11, LONG]))))
    blocks_of_one = math.ceil(model_len / block_size)
    spare_blocks = draw(st.integers(0, blocks_of_one + 2 if scarce else 9 * blocks_of_one))
    chunking = draw(st.booleans())
    budgets = st.integers(1, 8) | st.integers(1, 70) if chunking else st.integers(model_len, max(70, model_len))
    return make_engine(
        draw(st.sampled_from(["vllm-v1", "orca", "static"])),
        formation=formation,
        formation_timeout_s=draw(st.sampled_from([0.0, 0.03, math.inf])) if is_static else 0.0,
        kv_allocation=allocation,
        gate=draw(st.sampled_from(gates)),
        release="batch_end" if is_whole else "on_finish",
        async_scheduling=not is_whole and draw(st.booleans()),
        pad_to_longest=draw(st.booleans()),
        block_size=block_size,
        max_model_len=model_len,
        num_gpu_blocks=blocks_of_one + spare_blocks + 1,
        max_num_seqs=16 if scarce else draw(st.integers(1, 8)),
        max_num_active_seqs=draw(st.none() | st.integers(3 if scarce else 1, 16)),
        max_num_batched_tokens=draw(st.none() | budgets),
        enable_chunked_prefill=chunking,
        order=draw(st.sampled_from(["fcfs", "priority", "shortest_predicted"])),
        watermark=0.0 if scarce else draw(st.sampled_from([0.0, 0.0, 0.05, 0.3, 0.9])),
        long_prefill_token_threshold=draw(st.sampled_from([0, 0, 1, 3, 10])),
        long_prefill_token_threshold_adaptive=draw(st.booleans()),
        prefill_schedule_interval=draw(st.sampled_from([1, 1, 2, 5])),
    )


def seats_of(engine: EngineSpec) -> int:
    """How many may run at once."""
    return min(engine.max_num_seqs, engine.max_num_active_seqs or engine.max_num_seqs)


# ---- requests -------------------------------------------------------------------------------------------------------


@st.composite
def descriptions(draw: st.DrawFn, engine: EngineSpec, scarce: bool, count: int) -> dict[str, list[int]]:
    """Columns of `count` requests, from a token to the longest that fits, some cut where the engine or a limit ends."""
    longest = engine.longest_sequence_tokens
    columns: dict[str, list[int]] = {name: [] for name in ("prompt_tokens", "output_tokens", "max_new_tokens")}
    for _ in range(count):
        prompt = draw(st.just(1) | st.integers(1, longest // 4 if scarce else longest - 1))
        most = longest - prompt
        columns["prompt_tokens"].append(prompt)
        columns["output_tokens"].append(draw(st.integers(1, most) | st.sampled_from([1, most, most, most + 5])))
        columns["max_new_tokens"].append(draw(st.integers(1, most + 2)))
    if draw(st.booleans()):
        del columns["max_new_tokens"]
    columns["priority"] = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    columns["predicted_output_tokens"] = draw(st.lists(st.integers(1, 20), min_size=count, max_size=count))
    return columns


# ---- whole runs -----------------------------------------------------------------------------------------------------

COSTS: list[CostSpec] = [
    RooflineCost(),
    ConstantCost(kind="constant", step_s=0.01),
    AffineCost(
        kind="affine", per_step_s=0.00512, per_sequence_s=7.1e-4, per_prefill_token_s=1.3e-5, per_decode_token_s=1.7e-4
    ),
]
"""An iteration takes about 0.01 s under each."""

PER_REQUEST = PerRequestCost(kind="per_request", service_s=FixedDuration(distribution="fixed", value=1.0))
"""Its `service_s` is not used here: requests bring their own."""

STEPS_S = st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.02, 0.1, 0.5, 2.0])
BETWEEN_S = STEPS_S | st.integers(0, 200_000).map(lambda microseconds: microseconds / 1e6)
"""Bursts, arrivals in the middle of steps and, under a constant step, at boundaries."""

THINKING_S = st.integers(0, 1500).map(lambda count: count * math.sqrt(2) * 1e-4)
"""Users send at once or in the middle of a step: a pause of whole steps would round to either side of a boundary."""


class Scenario(NamedTuple):
    """What a run needs; with a `tie`, the last request is to come just when so many iterations are over."""

    engine: EngineSpec
    cost: CostSpec
    workload: Workload
    tie: int | None = None


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """An engine that all requests fit into, a cost and up to 15 requests, that come by the clock or from users."""
    scarce = draw(st.booleans())
    engine = draw(engines(scarce))
    one_seat = seats_of(engine) == 1
    cost = draw(st.sampled_from([*COSTS, PER_REQUEST] if one_seat else COSTS))
    count = draw(st.sampled_from([1, 4, 8, 15] if engine.resolved_max_model_len <= SHORT else [1, 4]))
    columns: dict[str, list[Any]] = dict(draw(descriptions(engine, scarce, count)))
    if one_seat:
        columns["service_s"] = draw(st.lists(st.sampled_from([0.001, 0.0317, 0.2]), min_size=count, max_size=count))
    if not math.isinf(engine.formation_timeout_s) and draw(st.sampled_from([False, False, True])):
        users, think_s = draw(st.integers(1, count)), draw(st.lists(THINKING_S, min_size=count, max_size=count))
        return Scenario(engine, cost, Workload(pd.DataFrame(columns), users, np.array(think_s)))
    between_s = draw(st.lists(BETWEEN_S, min_size=count, max_size=count))
    columns["arrival_s"] = np.cumsum(between_s).tolist()
    return Scenario(engine, cost, Workload(pd.DataFrame(columns)), draw(st.none() | st.integers(0, 200)))
