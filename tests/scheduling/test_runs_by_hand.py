"""Runs of like iterations and asynchronous calls, worked out by hand: what the recordings hold only in passing.

Engines as in `test_rules_by_hand.py`: 4 tokens a block, plenty of everything unless a test says otherwise.
"""

from __future__ import annotations

from core_helpers import Driver, computed_tokens
from scenarios import make_engine

from sim.specs.request import Request


def usable(blocks: int) -> int:
    """`num_gpu_blocks` that leaves `blocks` to use beside vLLM's null block."""
    return blocks + 1


# ---- how long a plan stays the same ---------------------------------------------------------------------------------


def test_decodes_go_on_until_the_first_of_them_is_done() -> None:
    driver = Driver(make_engine())
    driver.enqueue("A", prompt=3, output=9)
    driver.enqueue("B", prompt=5, output=6)
    driver.step()
    plan = driver.core.schedule()  # B has said two of its six tokens when this has run
    assert driver.core.horizon(plan) == 5
    driver.core.repeat(plan, 5)
    assert driver.names(plan.finishing) == driver.names(driver.core.apply(plan)) == "B"
    plan = driver.core.schedule()
    assert driver.core.horizon(plan) == 3


def test_decodes_go_on_until_blocks_run_out() -> None:
    driver = Driver(make_engine(num_gpu_blocks=usable(4)))
    a = driver.enqueue("A", prompt=4, output=13)
    driver.step()
    driver.enqueue("B", prompt=4, output=13)
    driver.step()
    plan = driver.core.schedule()  # 6 and 5 tokens in 2 blocks each: the pool is full, A needs a block after 8
    assert (computed_tokens(driver.core, a), driver.free_blocks) == (6, 0)
    assert driver.core.horizon(plan) == 3
    driver.core.repeat(plan, 3)
    driver.core.apply(plan)
    assert driver.step().preempted == "B"


def test_blocks_that_a_run_takes_are_told_by_iteration() -> None:
    driver = Driver(make_engine())
    driver.enqueue("A", prompt=4)
    driver.enqueue("B", prompt=6)
    driver.step()
    plan = driver.core.schedule()  # A has 5 tokens, B 7
    driver.core.repeat(plan, 6)
    assert (plan.grown_blocks, plan.growth) == (2, [0, 1, 0, 1])  # B's ninth token, and A's, in blocks of 4
    assert (plan.used_blocks, driver.core.pool.used_blocks) == (4, 6)
    assert (plan.stored_tokens, driver.core.stored_tokens) == (12, 22)


def test_reserved_slots_never_end_a_run() -> None:
    driver = Driver(make_engine("orca", num_gpu_blocks=25))  # one slot of 100 tokens, all taken
    driver.enqueue("A", prompt=4, output=90)
    driver.step()
    plan = driver.core.schedule()
    assert driver.core.horizon(plan) == 89
    driver.core.repeat(plan, 89)
    assert plan.grown_blocks == 0


def test_a_plan_with_a_chunk_comes_once() -> None:
    driver = Driver(make_engine(max_num_batched_tokens=5))
    driver.enqueue("A", prompt=3)
    driver.enqueue("B", prompt=7)
    plans = [driver.core.schedule()]
    assert driver.core.horizon(plans[0]) == 1
    driver.core.apply(plans[0])
    assert driver.core.horizon(driver.core.schedule()) == 1  # a decode and the rest of B


def test_nobody_behind_a_head_that_cannot_start_changes_the_plan() -> None:
    driver = Driver(make_engine(order="priority", max_num_seqs=1))
    newcomers = [Request(9, 0.0, 1, 1, priority=priority) for priority in (0, 1, 2)]
    driver.enqueue("A", prompt=4, priority=5)
    driver.step()
    assert [driver.core.heeds(newcomer) for newcomer in newcomers] == [True, True, True]
    driver.enqueue("B", prompt=4, priority=1)
    assert [driver.core.heeds(newcomer) for newcomer in newcomers] == [True, False, False]


def test_under_an_adaptive_threshold_everybody_who_waits_changes_the_plan() -> None:
    """The more are present, the shorter the head's first chunk, and the fewer blocks it needs to start."""
    threshold = {"long_prefill_token_threshold": 4, "long_prefill_token_threshold_adaptive": True}
    driver = Driver(make_engine(gate="first_chunk", num_gpu_blocks=usable(3), max_num_batched_tokens=30, **threshold))
    driver.enqueue("A", prompt=5)
    driver.step()
    driver.enqueue("B", prompt=9)
    step = driver.step()  # 30 // 2 = 15, so the chunk is the whole prompt, of 3 blocks
    assert (step.tokens, step.blocked_by) == ({"A": 1}, "kv blocks")
    assert driver.core.heeds(Request(9, 0.0, 9, 1))
    for name in "CDEFG":
        driver.enqueue(name, prompt=9)
    assert driver.step().tokens == {"A": 1, "B": 4}  # 30 // 7 = 4: a block


def test_decodes_without_budget_pause_and_finish_later() -> None:
    """A one-token prompt may start in a call that the cadence holds, and does not make it start over; when A's prompt
    goes on, budget is short."""
    driver = Driver(make_engine(prefill_schedule_interval=2, max_num_batched_tokens=3))
    driver.enqueue("X", prompt=1)
    driver.enqueue("A", prompt=6)
    steps = [driver.step()]
    driver.enqueue("B", prompt=1, output=3)
    driver.enqueue("C", prompt=1, output=5)
    steps += [driver.step() for _ in range(4)]
    assert [step.tokens for step in steps] == [
        {"X": 1, "A": 2},
        {"X": 1, "B": 1, "C": 1},
        {"X": 1, "A": 2},
        {"X": 1, "B": 1, "C": 1},
        {"X": 1, "A": 2},
    ]
    assert [driver.names(step.plan.paused) for step in steps] == ["", "", "BC", "", "BC"]


# ---- asynchronous: a call is made before the outcome of the one before is known --------------------------------------


def test_the_seat_of_a_finished_request_is_free_a_call_later() -> None:
    driver = Driver(make_engine(async_scheduling=True, max_num_seqs=1))
    driver.enqueue("A", prompt=4, output=2)
    driver.enqueue("B", prompt=4)
    steps = [driver.step() for _ in range(4)]
    assert [step.tokens for step in steps] == [{"A": 4}, {"A": 1}, {}, {"B": 4}]
    assert [step.blocked_by for step in steps] == ["seats", "seats", "seats", None]
    assert [step.emitted for step in steps] == ["", "A", "A", ""]
    assert [step.finished for step in steps] == ["", "", "A", ""]


def test_the_blocks_of_a_finished_request_are_free_a_call_later() -> None:
    driver = Driver(make_engine(async_scheduling=True, num_gpu_blocks=usable(1)))
    driver.enqueue("A", prompt=4, output=1)
    driver.enqueue("B", prompt=4, output=1)
    steps = [driver.step() for _ in range(3)]
    assert [step.tokens for step in steps] == [{"A": 4}, {}, {"B": 4}]
    assert [step.blocked_by for step in steps] == ["kv blocks", "kv blocks", None]


def test_a_request_computes_nothing_after_its_last_token() -> None:
    driver = Driver(make_engine(async_scheduling=True))
    driver.enqueue("A", prompt=4, output=2)
    driver.enqueue("B", prompt=4, output=4)
    assert [driver.step().tokens for _ in range(4)] == [{"A": 4, "B": 4}, {"A": 1, "B": 1}, {"B": 1}, {"B": 1}]


def test_a_request_preempted_while_its_last_token_is_on_the_way_leaves_the_queue() -> None:
    driver = Driver(make_engine(async_scheduling=True, num_gpu_blocks=usable(2)))
    driver.enqueue("A", prompt=4, output=4)
    b = driver.enqueue("B", prompt=4, output=1)
    driver.step()  # both prompts fill their blocks
    step = driver.step()  # A needs a block, and the scheduler does not know that B is done
    assert (step.tokens, step.preempted) == ({"A": 1}, "B")
    assert (step.finished, driver.running, driver.waiting) == ("B", "A", "")
    assert (b.preemptions, b.emitted_tokens) == (1, 1)
    assert driver.core.dropped_tokens == 0  # nothing of B is computed again


def test_while_an_iteration_runs_those_who_finished_before_it_are_gone() -> None:
    driver = Driver(make_engine(async_scheduling=True))
    driver.enqueue("A", prompt=4, output=1)
    driver.enqueue("B", prompt=4, output=4)
    first = driver.core.schedule()
    second = driver.core.schedule()
    assert (second.running, second.used_blocks, second.stored_tokens) == (2, 3, 9)
    driver.core.apply(first)
    driver.core.take_stock(second)
    assert (second.running, second.used_blocks, second.stored_tokens) == (1, 2, 5)
