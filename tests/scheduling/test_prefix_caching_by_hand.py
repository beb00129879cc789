"""What vLLM V1 0.33.0 finds in its prefix cache in corners that its recordings do not reach, from reading its source.

Blocks of 4 tokens.
"""

from __future__ import annotations

import pytest
from core_helpers import Driver
from scenarios import make_engine


def caching(**overrides: object) -> Driver:
    return Driver(make_engine(enable_prefix_caching=True, **overrides))


def found(driver: Driver, *shared_text: tuple[object, int]) -> int:
    """Tokens that a request with this text would find now."""
    tokens = sum(count for _, count in shared_text)
    state = driver.enqueue("?", tokens + 1, shared_text=shared_text)
    hit = driver.core.pool.find(state)
    driver.core.withdraw(state)
    return hit.blocks * 4


# ---- a text that goes on while it is said ---------------------------------------------------------------------------


@pytest.mark.parametrize(("asynchronous", "hits"), [(False, [0, 4, 4, 4, 4, 8]), (True, [0, 0, 4, 4, 4, 4, 8])])
def test_a_continuation_finds_what_its_running_predecessor_has_said(asynchronous: bool, hits: list[int]) -> None:
    """A's first call computes 3 tokens and each one more; an output is not known until the call after it was computed.

    B comes just before A's last call, and looks for 11 tokens.
    """
    for calls, hit_tokens in enumerate(hits):
        driver = caching(async_scheduling=asynchronous)
        driver.enqueue("A", 3, 20)
        for _ in range(calls):
            driver.step()
        b = driver.enqueue("B", 12, 5, shared_text=((("request", 0), 11),))
        assert driver.step().tokens["B"] == 12 - hit_tokens
        assert b.cached_tokens == hit_tokens


def test_two_requests_with_one_voice_find_each_other_and_the_older_copy_is_taken() -> None:
    driver = caching()
    a = driver.enqueue("A", 5, 20, own_text="told")
    driver.step()
    b = driver.enqueue("B", 5, 20, own_text="told")
    assert driver.step().tokens == {"A": 1, "B": 1}
    assert (a.cached_tokens, b.cached_tokens) == (0, 4)
    for _ in range(3):  # A says token 8, and B a call later
        driver.step()
    c = driver.enqueue("C", 12, 5, own_text="told")
    assert driver.step().tokens["C"] == 4
    assert c.cached_tokens == 8
    assert driver.core.pool.saved_blocks == 3, "the first block is in three hands, A's second in two"


def test_only_who_is_continued_is_looked_at_call_by_call() -> None:
    driver = caching()
    for name in "AB":
        driver.enqueue(name, 5, 40)
    driver.step()
    assert driver.core.horizon(driver.step().plan) > 1
    driver.enqueue("C", 6, 1, shared_text=((("request", 0), 5),))
    driver.step()
    assert driver.core.horizon(driver.step().plan) == 1
    assert [state.stored_blocks for state in driver.core.running] == [2, 0]
    driver.core.withdraw(driver.enqueue("D", 6, shared_text=((("request", 1), 5),)))
    assert driver.core.horizon(driver.step().plan) == 1


# ---- what preemption leaves behind ----------------------------------------------------------------------------------


def test_a_request_that_preempts_itself_saves_nothing_that_was_evicted_before() -> None:
    """A takes the last free block, which held Z's text; B finds none and gives up: its part-filled block is free."""
    driver = caching(num_gpu_blocks=5, gate="first_chunk", long_prefill_token_threshold=6)
    driver.enqueue("Z", 5, 1, shared_text=(("z", 4),))
    driver.step()
    driver.enqueue("A", 4)
    driver.enqueue("B", 10)
    assert driver.step().tokens == {"A": 4, "B": 6}
    assert found(driver, ("z", 4)) == 4
    step = driver.step()
    assert (step.tokens, step.preempted) == ({"A": 1}, "B")
    assert found(driver, ("z", 4)) == 0
    assert found(driver, (("request", 2), 8)) == 4


def test_blocks_of_tokens_that_were_taken_back_can_be_found() -> None:
    """B's tokens are granted, then A, more urgent, needs a block: vLLM enters a chunk's blocks when it grants them.

    A takes the last of B's blocks; the one before it holds nothing yet that was computed.
    """
    driver = caching(
        num_gpu_blocks=11,
        order="priority",
        gate="first_chunk",
        long_prefill_token_threshold=8,
        max_num_batched_tokens=16,
    )
    driver.enqueue("B", 33, priority=1, shared_text=(("b", 32),))
    assert driver.step().tokens == {"B": 16}
    driver.enqueue("A", 9, priority=0)
    assert driver.step().tokens == {"B": 8, "A": 8}
    assert found(driver, ("b", 32)) == 24
    step = driver.step()
    assert (step.tokens, step.preempted) == ({"A": 1}, "B")
    assert found(driver, ("b", 32)) == 28
