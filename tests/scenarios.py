"""Random engines, workloads and costs, for properties that must hold whatever they are."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from sim.specs import catalogue
from sim.specs.cost import AffineCost, ConstantCost, CostSpec, PerRequestCost, RooflineCost
from sim.specs.distributions import FixedDuration
from sim.specs.engine import EngineSpec
from sim.specs.validation import validate
from sim.workload.workload import Pieces, TurnTaking, Workload


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
def engines(draw: st.DrawFn, scarce: bool, may_cache: bool = False) -> EngineSpec:
    """Any values that may stand together; `scarce` engines have seats for many and hardly blocks for two.

    Where they `may_cache` prefixes, most do.
    """
    formation = draw(st.sampled_from(["continuous", "continuous", "drain_then_fill"]))
    allocation = "paged" if scarce else draw(st.sampled_from(["paged", "reserved"]))
    is_static, is_reserved = formation == "drain_then_fill", allocation == "reserved"
    gates = ["slot"] if is_reserved else ["whole_prompt", "first_chunk"]
    is_whole = is_static and is_reserved and draw(st.booleans())
    caches = may_cache and draw(st.sampled_from([True, True, False]))
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
        enable_prefix_caching=caches,
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

APART_S = math.sqrt(3) * 1e-5
"""Two that would come within a rounding of each other come this far apart."""

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
    engine = draw(engines(scarce, may_cache=True))
    one_seat = seats_of(engine) == 1
    cost = draw(st.sampled_from([*COSTS, PER_REQUEST] if one_seat else COSTS))
    count = draw(st.sampled_from([1, 4, 8, 15] if engine.resolved_max_model_len <= SHORT else [1, 4]))
    columns: dict[str, list[Any]] = dict(draw(descriptions(engine, scarce, count)))
    if one_seat:
        columns["service_s"] = draw(st.lists(st.sampled_from([0.001, 0.0317, 0.2]), min_size=count, max_size=count))
    ends_forming = not math.isinf(engine.formation_timeout_s)
    if ends_forming and engine.enable_prefix_caching and draw(st.sampled_from([False, False, True])):
        return Scenario(engine, cost, draw(conversations(engine, columns)))
    tie = draw(st.none() | st.integers(0, 200))
    if engine.enable_prefix_caching:
        columns |= draw(texts(engine, columns, renumbered=tie is not None))
    if ends_forming and draw(st.sampled_from([False, False, True])):
        users, think_s = draw(st.integers(1, count)), draw(pauses(count))
        return Scenario(engine, cost, Spoken(pd.DataFrame(columns), users, think_s))
    columns["arrival_s"] = draw(arrivals(count))
    return Scenario(engine, cost, Spoken(pd.DataFrame(columns)), tie)


def arrivals(count: int) -> st.SearchStrategy[list[float]]:
    """Times, ascending."""
    return st.lists(BETWEEN_S, min_size=count, max_size=count).map(lambda between_s: list(accumulate(between_s)))


def pauses(count: int) -> st.SearchStrategy[Any]:
    """None, or no two the same: after the same pause, two would come at a boundary of each other's steps."""
    thinking_s = st.lists(st.just(0.0) | THINKING_S, min_size=count, max_size=count)
    return thinking_s.map(lambda pauses_s: np.array([s and s + number * APART_S for number, s in enumerate(pauses_s)]))


# ---- what prompts have in common -------------------------------------------------------------------------------------


class Spoken(Workload):
    """A workload that may have columns `shared_text` and `own_text`."""

    def _shared_texts(self, rows: pd.DataFrame) -> Iterator[Pieces]:
        return iter(rows["shared_text"]) if "shared_text" in rows else super()._shared_texts(rows)


@st.composite
def texts(draw: st.DrawFn, engine: EngineSpec, columns: dict[str, list[int]], renumbered: bool) -> dict[str, list[Any]]:
    """Few openings, prompts that come again, and requests that go on where one before them stopped, or will stop.

    Own texts have names of their own where requests will be `renumbered`.
    """
    openings = draw(st.lists(st.lists(OPENING, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3))
    spoken: dict[str, list[Any]] = {"prompt_tokens": [], "shared_text": [], "own_text": []}
    whole: list[Pieces] = []
    for number, (prompt, output) in enumerate(zip(columns["prompt_tokens"], columns["output_tokens"], strict=True)):
        kind = draw(st.sampled_from(["opening", "opening", "again", "goes on", "goes on", "same voice", "alone"]))
        own_text: Hashable = ("said", number) if renumbered else None
        shared: Pieces = ()
        if kind == "opening" or (kind == "same voice" and draw(st.booleans())):
            shared = cut(draw(st.sampled_from(openings)), draw(st.just(prompt) | st.integers(1, prompt)))
        if kind == "same voice":
            own_text = draw(st.sampled_from("cd"))
        elif kind in ("again", "goes on") and number:
            before = draw(st.integers(max(number - 4, 0), number - 1))
            again = spoken["prompt_tokens"][before] if kind == "again" else tokens_of(whole[before])
            more = draw(st.sampled_from([0, 1, 5]))
            prompt = min(max(again + more, 1), engine.longest_sequence_tokens - 1)
            shared = cut(whole[before], min(again, prompt))
        spoken["prompt_tokens"].append(prompt)
        spoken["shared_text"].append(shared)
        spoken["own_text"].append(own_text)
        said = (own_text or ("request", number), prompt + output - tokens_of(shared))
        whole.append(shared if kind == "same voice" else (*shared, said))
    return spoken


OPENING = st.tuples(st.sampled_from("ab"), st.integers(1, 25))


def tokens_of(pieces: Pieces) -> int:
    return sum(tokens for _, tokens in pieces)


def cut(pieces: Pieces, tokens: int) -> Pieces:
    """The first `tokens` tokens, or all there are."""
    kept: list[tuple[Hashable, int]] = []
    for key, count in pieces:
        if tokens > 0:
            kept.append((key, min(count, tokens)))
        tokens -= count
    return tuple(kept)


@st.composite
def conversations(draw: st.DrawFn, engine: EngineSpec, columns: dict[str, list[Any]]) -> Workload:
    """Messages and answers as turns, each after all that was said before; a talk that grows too long starts anew."""
    count, longest = len(columns["prompt_tokens"]), engine.longest_sequence_tokens
    turns: dict[str, list[Any]] = {"session_id": [], "turn": [], "prompt_tokens": []}
    prefixes = draw(st.lists(st.integers(0, longest // 2), min_size=1, max_size=2))
    session, turn, said = -1, 0, longest
    columns["output_tokens"] = [draw(st.integers(1, 6) | st.just(tokens)) for tokens in columns["output_tokens"]]
    for output in columns["output_tokens"]:
        message = draw(st.integers(1, 6))
        if said + message >= longest or draw(st.sampled_from([False, False, False, True])):
            session, turn, said = session + 1, 0, prefixes[(session + 1) % len(prefixes)]
        turns["session_id"].append(session)
        turns["turn"].append(turn := turn + 1)
        turns["prompt_tokens"].append(min(said + message, longest - 1))
        said += message + output
    columns |= turns
    columns["prefix_id"] = [number % len(prefixes) for number in turns["session_id"]]
    columns["prefix_tokens"] = [prefixes[number] for number in columns["prefix_id"]]
    users = draw(st.none() | st.integers(1, 3))
    if users is None:
        begun = draw(arrivals(count))
        columns["arrival_s"] = [begun[number] + number * APART_S for number in turns["session_id"]]
    return Workload(pd.DataFrame(columns), turn_taking=TurnTaking(draw(pauses(count)), users))
