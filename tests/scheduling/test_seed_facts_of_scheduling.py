"""Facts of the literature about batching and KV memory, by their numbers, on the scheduler core."""

from __future__ import annotations

import pytest
from core_helpers import Driver
from oracles import textbook
from scenarios import make_engine

from sim.config import load_model

FOUR_SEATS = {"max_num_seqs": 4, "num_gpu_blocks": 1000, "max_model_len": 120}


def four_requests(preset: str, outputs: tuple[int, int, int, int]) -> Driver:
    """A, B, C and D in four seats, and E waiting for one."""
    driver = Driver(make_engine(preset, **FOUR_SEATS))
    for name, output in zip("ABCD", outputs, strict=True):
        driver.enqueue(name, prompt=1, output=output)
    driver.enqueue("E", prompt=1, output=3)
    return driver


def test_s61_static_batching_waits_for_the_longest_and_idles_as_the_formula_says() -> None:
    outputs = (10, 20, 30, 100)
    driver = four_requests("static", outputs)
    idle_slots, steps, finished = 0, 0, ""
    while not finished:
        step = driver.step()
        idle_slots, steps, finished = idle_slots + step.plan.idle_slots, steps + 1, step.finished
    assert (finished, steps) == ("ABCD", 100)
    assert idle_slots / (4 * steps) == pytest.approx(0.6, rel=1e-12)
    assert textbook.static_batch_waste(list(outputs)) == pytest.approx(0.6, rel=1e-12)


def test_s62_continuous_batching_gives_a_free_seat_away_in_the_very_next_step() -> None:
    driver = four_requests("vllm-v1", (2, 4, 4, 4))
    runs = ["".join(driver.step().tokens) for _ in range(4)]
    assert runs == ["ABCD", "ABCD", "BCDE", "BCDE"]


def test_s62_static_batching_gives_it_away_when_the_whole_batch_is_over() -> None:
    driver = four_requests("static", (2, 4, 4, 4))
    runs = ["".join(driver.step().tokens) for _ in range(5)]
    assert runs == ["ABCD", "ABCD", "BCD", "BCD", "E"]


def test_s63_a_sequence_of_1000_tokens_takes_63_blocks_of_16_and_wastes_8_tokens() -> None:
    driver = Driver(make_engine(block_size=16, max_model_len=2000))
    state = driver.enqueue("A", prompt=1000)
    driver.step()
    waste = 16 * driver.core.pool.used_blocks - driver.core.stored_tokens
    assert (driver.held_blocks(state), waste) == (63, 8)
    assert waste / (16 * driver.held_blocks(state)) == pytest.approx(0.0079, abs=5e-5)


@pytest.mark.parametrize("tokens", range(1, 40))
def test_s63_less_than_a_block_a_sequence_is_wasted(tokens: int) -> None:
    driver = Driver(make_engine(block_size=16))
    driver.enqueue("A", prompt=tokens)
    driver.step()
    assert 0 <= 16 * driver.core.pool.used_blocks - tokens < 16


@pytest.mark.parametrize(("requests", "tokens"), [(1, 64), (2, 64), (8, 64), (1, 128), (8, 128)])
def test_s70_the_cache_grows_with_batch_times_length(requests: int, tokens: int) -> None:
    model = load_model("llama-3.1-8b")
    driver = Driver(make_engine(block_size=16, max_num_batched_tokens=2000, max_model_len=200))
    for name in "ABCDEFGH"[:requests]:
        driver.enqueue(name, prompt=tokens)
    driver.step()
    held_bytes = driver.core.pool.used_blocks * 16 * model.kv_bytes_per_token
    assert held_bytes == requests * tokens * 131_072


def test_s70_past_queries_are_not_cached() -> None:
    model = load_model("llama-3.1-8b")
    assert model.model_copy(update={"num_attention_heads": 64}).kv_bytes_per_token == model.kv_bytes_per_token
