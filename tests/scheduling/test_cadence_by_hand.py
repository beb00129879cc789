"""vLLM's prefill cadence worked out by hand: which calls leave prompts alone, and what restarts the interval.

Engines have 4 tokens a block and plenty of everything. Requests are named; `step.tokens` is what a step runs, in order.
"""

from __future__ import annotations

import pytest
from core_helpers import Driver
from scenarios import make_engine


def test_decodes_run_alone_between_steps_that_carry_prompts() -> None:
    driver = Driver(make_engine(prefill_schedule_interval=3))
    driver.enqueue("A", prompt=4)
    driver.step()
    driver.enqueue("B", prompt=4)
    steps = [driver.step() for _ in range(3)]
    assert [step.tokens for step in steps] == [{"A": 1}, {"A": 1}, {"A": 1, "B": 4}]
    assert [step.blocked_by for step in steps] == ["prefill cadence", "prefill cadence", None]


def test_the_cadence_is_waived_while_admission_leaves_requests_waiting() -> None:
    driver = Driver(make_engine(prefill_schedule_interval=3, max_num_seqs=2))
    driver.enqueue("A", prompt=4)
    driver.enqueue("B", prompt=4, output=2)
    driver.enqueue("C", prompt=4)
    steps = [driver.step() for _ in range(3)]
    assert [step.tokens for step in steps] == [{"A": 4, "B": 4}, {"A": 1, "B": 1}, {"A": 1, "C": 4}]


def test_the_cadence_waits_for_decodes_and_not_for_finished_members() -> None:
    driver = Driver(make_engine("static", prefill_schedule_interval=2, long_prefill_token_threshold=4))
    driver.enqueue("A", prompt=4, output=1)
    driver.enqueue("B", prompt=6, output=1)
    assert driver.step().tokens == {"A": 4, "B": 4}
    assert driver.step().tokens == {"B": 2}  # A only keeps its slot


def test_the_cadence_waits_also_for_an_answer_whose_last_token_is_on_its_way() -> None:
    """vLLM asks whether anybody running is past his prompt; B starts when A has left."""
    driver = Driver(make_engine(prefill_schedule_interval=3, async_scheduling=True))
    driver.enqueue("A", prompt=4, output=1)
    driver.step()
    driver.enqueue("B", prompt=4)
    step = driver.step()
    assert (step.tokens, step.blocked_by, step.finished) == ({}, "prefill cadence", "A")
    assert driver.step().tokens == {"B": 4}


@pytest.mark.parametrize("prompt", [1, 9])
def test_a_request_that_needs_a_single_token_is_no_prompt_to_the_cadence(prompt: int) -> None:
    """B's prompt is one token, or found in the prefix cache but for one. It starts in a held call."""
    shared_text = (("a", 8),) if prompt > 8 else ()
    driver = Driver(make_engine(prefill_schedule_interval=3, enable_prefix_caching=True))
    driver.enqueue("A", 9, shared_text=(("a", 8),))
    driver.step()
    driver.enqueue("B", prompt, shared_text=shared_text)
    assert driver.step().tokens == {"A": 1, "B": 1}
    driver.enqueue("C", 20)
    assert driver.step().blocked_by == "prefill cadence"
    assert driver.step().tokens == {"A": 1, "B": 1, "C": 20}, "the third call after A's prompt"


def test_a_decode_that_a_prompt_leaves_no_budget_pauses_though_nobody_decodes() -> None:
    """B starts in a held call, behind P, which goes on when the interval is over. Its late token is no run."""
    driver = Driver(make_engine(prefill_schedule_interval=3, max_num_batched_tokens=3))
    driver.enqueue("C", prompt=1, output=3)
    driver.enqueue("P", prompt=5)
    assert driver.step().tokens == {"C": 1, "P": 2}
    driver.enqueue("B", prompt=1)
    assert [driver.step().tokens for _ in range(2)] == [{"C": 1, "B": 1}, {"C": 1, "B": 1}]
    step = driver.step()
    assert (step.tokens, step.plan.stalled, step.plan.paused) == ({"P": 3}, 1, ())
    horizons = []
    for _ in range(2):
        plan = driver.core.schedule()
        assert (plan.decode_requests, plan.paused) == (2, ())
        horizons.append(driver.core.horizon(plan))
        driver.core.apply(plan)
    assert horizons[0] == 1 < horizons[1]
