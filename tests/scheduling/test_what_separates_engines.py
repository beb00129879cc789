"""What one engine's scheduler does and another's does not: each preset in the same situation, worked out by hand.

Each situation is one function, each expectation one table with a row a preset. Requests are named; a call of the
scheduler is an iteration. Blocks have 4 tokens, or one where the framework counts memory by the token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from core_helpers import Driver, Step
from scenarios import make_engine, preset_entry

import sim
from sim.errors import InputError
from sim.specs import catalogue

RESERVED = ("static", "orca")
PREFILL_FIRST = ("vllm-v0", "sglang", "sarathi-simple-chunking", "lightllm")
CHUNKS_BESIDE_DECODES = ("vllm-v0-chunked", "vllm-v1", "vllm-v1-chunk-gate", "sarathi", "fastgen", "sglang-mixed")
PRESETS = (*RESERVED, *PREFILL_FIRST, *CHUNKS_BESIDE_DECODES)
PAGED = (*PREFILL_FIRST, *CHUNKS_BESIDE_DECODES)

CAUTIOUS_NO_MORE: dict[str, dict[str, Any]] = {
    "sglang": {"schedule_conservativeness": 0.1},
    "sglang-mixed": {"schedule_conservativeness": 0.1},
    "lightllm": {"router_token_ratio": 0.99, "router_max_new_token_len": 1},
}
"""What makes the engines that look ahead admit more than memory will hold, as others do anyway."""


def driver(preset: str, pool_tokens: int = 4000, **overrides: Any) -> Driver:
    """The preset with memory for `pool_tokens`, a pipeline as it has it, and `overrides`."""
    values = preset_entry(preset)["values"]
    block_tokens = 1 if values["block_size"] == 1 else 4
    own = {
        "block_size": block_tokens,
        "num_gpu_blocks": pool_tokens // block_tokens + values["has_null_block"],
        "async_scheduling": values["async_scheduling"],
    }
    return Driver(make_engine(preset, **own | overrides))


def rows(table: dict[tuple[str, ...], Any]) -> list[tuple[str, Any]]:
    """A table whose keys are presets that behave alike, as a row a preset."""
    return [(preset, expected) for presets, expected in table.items() for preset in presets]


def calls(engine: Driver, count: int) -> list[Step]:
    return [engine.step() for _ in range(count)]


def step_until(engine: Driver, condition: Callable[[Step], object]) -> Step:
    """The first step of which `condition` holds."""
    return next(step for step in calls_without_end(engine) if condition(step))


def calls_without_end(engine: Driver) -> Iterator[Step]:
    for _ in range(1000):
        yield engine.step()
    pytest.fail("it never happens")


# ---- eight decode, and a prompt of 4000 tokens arrives --------------------------------------------------------------

MISSED, EMITTED = 0, 8
A_LONG_PROMPT: dict[str, tuple[int | None, list[tuple[int, int]]]] = {
    "static": (None, [(EMITTED, 0)] * 20),  # nobody joins the batch
    "orca": (None, [(EMITTED, 4000)]),
    "vllm-v0": (8192, [(MISSED, 4000)]),
    "sglang": (2048, [(MISSED, 2048), (MISSED, 1952)]),
    "sarathi-simple-chunking": (512, [*[(MISSED, 512), (EMITTED, 0)] * 7, (MISSED, 416)]),
    "lightllm": (8448, [*[(EMITTED, 0)] * 4, (MISSED, 4000)]),  # prompts have a pass after six of decodes
    # a prompt that did not complete at first stands before all decodes, once; then behind them
    "vllm-v0-chunked": (512, [(EMITTED, 504), (MISSED, 512), *[(EMITTED, 504)] * 5, (EMITTED, 464)]),
    "vllm-v1": (2048, [(EMITTED, 2040), (EMITTED, 1960)]),
    "vllm-v1-chunk-gate": (2048, [(EMITTED, 2040), (EMITTED, 1960)]),
    "sarathi": (512, [*[(EMITTED, 504)] * 7, (EMITTED, 472)]),
    "fastgen": (768, [*[(EMITTED, 760)] * 5, (EMITTED, 200)]),
    "sglang-mixed": (2048, [(EMITTED, 2040), (EMITTED, 1960)]),
}
"""The token budget of an iteration, then what the eight emit in each and what it computes of the prompt."""


@pytest.mark.parametrize("preset", PRESETS)
def test_who_misses_a_step_when_a_long_prompt_arrives(preset: str) -> None:
    budget, expected = A_LONG_PROMPT[preset]
    engine = driver(preset, pool_tokens=100_000, max_model_len=8192, max_num_batched_tokens=budget)
    for name in "ABCDEFGH":
        engine.enqueue(name, prompt=10, output=60)
    calls(engine, 3)  # the prompts, two decodes
    engine.enqueue("long", prompt=4000)
    found = [(len(step.tokens.keys() - {"long"}), step.tokens.get("long", 0)) for step in calls(engine, len(expected))]
    assert found == expected


WORST_GAP_S = {
    ("static",): (0.01, 0.02),  # an iteration of the eight; the prompt waits for the end of the batch
    ("sarathi", "fastgen"): (0.03, 0.06),  # chunks of 512 and 768 with the decodes
    ("sarathi-simple-chunking", "vllm-v0-chunked"): (0.045, 0.08),  # a chunk of 512, and then the decodes
    ("vllm-v1", "vllm-v1-chunk-gate"): (0.1, 0.2),  # chunks of 2048
    ("orca", "vllm-v0", "sglang", "sglang-mixed", "lightllm"): (0.2, 0.4),  # all of it in one iteration
}
"""Between which times the longest gap between two tokens of the eight lies."""


@pytest.mark.parametrize(("preset", "expected"), rows(WORST_GAP_S))
def test_how_long_readers_wait_for_a_token_when_a_long_prompt_arrives(
    preset: str, expected: tuple[float, float], tmp_path: Path
) -> None:
    """Llama-3.1-8B on an A100 with the preset's own budget, where an iteration of the eight takes 12 ms."""
    trace = tmp_path / "trace.csv"
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n" + "0,100,200\n" * 8 + "0.5,4000,10\n", encoding="utf-8")
    data = {
        "model": "llama-3.1-8b",
        "accelerator": "a100-80gb-sxm",
        "engine": {"preset": preset, "max_model_len": 8192},
        "workload": {"trace": {"path": str(trace), "format": "csv"}},
    }
    requests = sim.run(sim.experiment_from(data)).requests
    at_least, at_most = expected
    assert at_least < requests["max_itl_s"][:8].max() < at_most


# ---- answers much shorter than their limit --------------------------------------------------------------------------

AT_ONCE = {
    RESERVED: (10, 10),  # 2000 tokens in slots of 200
    ("lightllm",): (9, 9),  # 213 tokens each at their common peak
    ("sglang",): (13, 17),  # at first 0.7 of what each may still say is expected, at last 0.1
    ("sglang-mixed",): (14, 20),
    ("vllm-v0", "vllm-v0-chunked", "vllm-v1", "vllm-v1-chunk-gate"): (50, 50),  # all seats
    ("sarathi", "sarathi-simple-chunking", "fastgen"): (50, 50),
}
"""Most requests running at once in the first 100 iterations, and in 100 after the 600 in which SGLang learns."""


@pytest.mark.parametrize(("preset", "expected"), rows(AT_ONCE))
def test_how_many_run_at_once_whose_answers_are_short_and_might_be_long(preset: str, expected: tuple[int, int]) -> None:
    """Prompts of 10 tokens, answers of 20 that might have 190; memory for 2000 tokens, seats for 50."""
    engine = driver(preset, pool_tokens=2000, max_model_len=200, max_num_seqs=50)
    for number in range(2600):
        engine.enqueue(chr(1000 + number), prompt=10, output=20, max_new_tokens=190)
    steps = calls(engine, 750)
    assert not any(step.preempted for step in steps)
    running = [step.plan.running for step in steps]
    assert (max(running[:100]), max(running[650:])) == expected


# ---- no memory is free, and nobody needs any ------------------------------------------------------------------------

FULL_POOL = {
    ("vllm-v1", "vllm-v1-chunk-gate", "fastgen"): ("AB", ""),
    ("vllm-v0", "vllm-v0-chunked", "sarathi", "sarathi-simple-chunking"): ("A", "B"),
}


@pytest.mark.parametrize(("preset", "expected"), rows(FULL_POOL))
def test_who_is_preempted_when_no_block_is_free_and_none_is_needed(preset: str, expected: tuple[str, str]) -> None:
    """Two prompts of 5 tokens hold two blocks each, all there are, and have room for three more tokens."""
    engine = driver(preset, pool_tokens=16, async_scheduling=False)
    engine.enqueue("A", prompt=5)
    engine.enqueue("B", prompt=5)
    assert engine.step().tokens == {"A": 5, "B": 5}
    assert engine.free_blocks == 0
    step = engine.step()
    assert ("".join(step.tokens), step.preempted) == expected


@pytest.mark.parametrize(("free_tokens", "preempted"), [(3, ""), (2, ""), (1, "C"), (0, "C")])
@pytest.mark.parametrize("preset", ["sglang", "sglang-mixed", "lightllm"])
def test_where_memory_counts_tokens_somebody_leaves_when_fewer_are_free_than_decode(
    preset: str, free_tokens: int, preempted: str
) -> None:
    engine = driver(preset, pool_tokens=60, max_model_len=60, **CAUTIOUS_NO_MORE[preset])
    engine.enqueue("A", prompt=4, output=15, max_new_tokens=15)
    engine.enqueue("C", prompt=4, output=15, max_new_tokens=15)
    calls(engine, 2)
    assert engine.running == "AC"
    engine.core.pool.allocate(engine.free_blocks - free_tokens)  # held by somebody else
    step = engine.step()
    assert step.preempted == preempted
    assert step.tokens == {name: 1 for name in "AC" if name != preempted}


# ---- who goes when memory is full, and where he waits ---------------------------------------------------------------

WHO_GOES = {
    # the last admitted, to the front of the queue
    ("vllm-v0", "vllm-v1", "vllm-v1-chunk-gate", "sarathi", "sarathi-simple-chunking", "lightllm"): ("C", "CD"),
    ("vllm-v0-chunked",): ("A", "AD"),  # its list has new prompts before decodes: the last is the oldest
    ("sglang", "sglang-mixed"): ("B", "DB"),  # of those with the fewest outputs the longest prompt, to the end
    ("fastgen",): ("C", "DC"),  # the last in line, to the end
}


def in_need_of_memory(preset: str) -> Driver:
    """A decodes, B and C join it and D does not fit: all three will need more than the 88 tokens there are."""
    engine = driver(preset, 88, max_model_len=88, async_scheduling=False, **CAUTIOUS_NO_MORE.get(preset, {}))
    engine.enqueue("A", prompt=4, output=30)
    calls(engine, 2)
    engine.enqueue("B", prompt=9, output=30)
    engine.enqueue("C", prompt=4, output=30)
    engine.enqueue("D", prompt=80, output=3)
    return engine


@pytest.mark.parametrize(("preset", "expected"), rows(WHO_GOES))
def test_who_is_evicted_and_where_it_waits(preset: str, expected: tuple[str, str]) -> None:
    engine = in_need_of_memory(preset)
    step = step_until(engine, lambda step: step.preempted)
    assert (step.preempted, engine.waiting) == expected


def test_fastgen_passes_decodes_over_before_it_evicts_and_then_runs_nothing() -> None:
    engine = in_need_of_memory("fastgen")
    passed_over = step_until(engine, lambda step: len(step.tokens) < 3 and engine.running == "ABC")
    assert (len(passed_over.tokens), passed_over.preempted) == (2, "")
    evicting = step_until(engine, lambda step: step.preempted)
    assert evicting.tokens == {}


def test_a_prompt_that_fastgen_would_evict_for_ever_ends_the_run() -> None:
    """Its first chunk fills all memory but for slots in its last block, and prompts are looked at while one is free."""
    engine = driver("fastgen", pool_tokens=8, max_num_batched_tokens=6, max_model_len=8)
    engine.enqueue("A", prompt=7, output=1)
    with pytest.raises(InputError, match="FastGen would start and evict it for ever"):
        calls(engine, 10)


@pytest.mark.parametrize("preset", RESERVED)
def test_reserved_memory_evicts_nobody(preset: str) -> None:
    engine = driver(preset, pool_tokens=88, max_model_len=44)
    for name in "ABC":
        engine.enqueue(name, prompt=14, output=30)
    step = engine.step()
    assert (step.tokens, step.blocked_by) == ({"A": 14, "B": 14}, "kv blocks")
    assert not any(step.preempted for step in calls(engine, 60))


# ---- the head of the queue does not fit, the one behind it would ----------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_nobody_overtakes_a_head_that_does_not_fit(preset: str) -> None:
    engine = driver(preset, pool_tokens=80, max_model_len=80, async_scheduling=False)
    engine.enqueue("A", prompt=20, output=12, max_new_tokens=12)
    engine.step()
    engine.enqueue("B", prompt=62, output=2, max_new_tokens=2)
    engine.enqueue("C", prompt=4, output=2, max_new_tokens=2)
    assert [step.tokens for step in calls(engine, 9)] == [{"A": 1}] * 9
    assert engine.waiting == "BC"


@pytest.mark.parametrize(("prompt", "tried"), [(1, True), (2, False)])
def test_fastgen_looks_past_a_prompt_of_one_token_that_finds_no_block(prompt: int, tried: bool) -> None:
    """Whoever is behind finds none either: it shows only in that somebody is looked at."""
    engine = driver("fastgen", pool_tokens=12)
    engine.enqueue("A", prompt=8)
    engine.step()  # two blocks of three
    engine.enqueue("B", prompt)
    engine.enqueue("C", prompt=1)
    step = engine.step()  # A takes the third
    assert (step.tokens, step.blocked_by, engine.waiting) == ({"A": 1}, "kv blocks", "BC")
    assert engine.core.composition.looks_further == tried


# ---- two identical prompts at once ----------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_two_identical_prompts_at_once(preset: str) -> None:
    """Where there is a prefix cache the second finds the 12 full blocks of 16 tokens in the same iteration."""
    caches = preset_entry(preset)["values"]["enable_prefix_caching"]
    pages = {} if preset == "lightllm" else {"block_size": 16}
    engine = driver(preset, max_model_len=300, num_gpu_blocks=1000, enable_prefix_caching=caches, **pages)
    for name in "AB":
        engine.enqueue(name, prompt=200, shared_text=(("the same", 200),))
    assert caches == preset.startswith("vllm-v1")
    assert engine.step().tokens == {"A": 200, "B": 8 if caches else 200}


# ---- the token budget -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PAGED)
def test_no_iteration_computes_more_than_the_budget(preset: str) -> None:
    engine = driver(preset, max_model_len=64, max_num_batched_tokens=64)
    for number in range(60):
        engine.enqueue(chr(1000 + number), prompt=1 + 29 * number % 50, output=1 + number % 14)
    tokens = [sum(step.tokens.values()) for step in calls(engine, 300)]
    assert not engine.core.has_work
    assert 50 < max(tokens) <= 64


@pytest.mark.parametrize(
    ("prompts", "iterations"),
    [((150, 20), [{"A": 150}, {"B": 20}]), ((20, 150), [{"A": 20}, {"B": 150}]), ((20, 70), [{"A": 20, "B": 70}])],
)
def test_sglang_without_chunks_admits_an_over_long_prompt_if_it_is_the_first(
    prompts: tuple[int, int], iterations: list[dict[str, int]]
) -> None:
    engine = driver("sglang", enable_chunked_prefill=False, max_prefill_tokens=100, max_model_len=200)
    for name, prompt in zip("AB", prompts, strict=True):
        engine.enqueue(name, prompt)
    assert [step.tokens for step in calls(engine, len(iterations))] == iterations


# ---- when a seat and blocks serve the next request ------------------------------------------------------------------

SERVES_AGAIN = {
    (*RESERVED, "vllm-v0", "vllm-v0-chunked", "vllm-v1-chunk-gate"): (1, 1),
    ("sarathi", "sarathi-simple-chunking", "sglang", "sglang-mixed", "lightllm"): (1, 1),
    ("vllm-v1",): (2, 2),  # asynchronous: the next iteration is decided before this one's outputs are known
    ("fastgen",): (1, 2),  # seats are counted anew in every iteration; blocks come back at the end of the next one
}
"""Iterations after the one that computed the last token: for the seat, for the blocks."""


@pytest.mark.parametrize("what", ["seat", "blocks"])
@pytest.mark.parametrize(("preset", "expected"), rows(SERVES_AGAIN))
def test_when_seat_and_blocks_of_a_finished_request_serve_the_next(
    preset: str, expected: tuple[int, int], what: str
) -> None:
    scarce: dict[str, Any] = {"max_num_seqs": 1} if what == "seat" else {"pool_tokens": 40}
    engine = driver(preset, max_model_len=40, **scarce)
    engine.enqueue("A", prompt=20, output=2, max_new_tokens=2)
    engine.enqueue("B", prompt=22, output=2, max_new_tokens=2)
    tokens = [step.tokens for step in calls(engine, 5)]
    assert tokens[:2] == [{"A": 20}, {"A": 1}]
    after = tokens[1:].index({"B": 22})
    assert after == expected[what == "blocks"]


@pytest.mark.parametrize(
    "table", [A_LONG_PROMPT, dict(rows(WORST_GAP_S)), dict(rows(AT_ONCE)), dict(rows(SERVES_AGAIN))]
)
def test_the_tables_leave_no_preset_out(table: dict[str, Any]) -> None:
    assert sorted(table) == sorted(PRESETS) == catalogue.names("engines")
