"""Rules of the scheduler core worked out by hand, mostly those that no recording of a real engine exercises.

Unless a test says otherwise an engine has 4 tokens a block and plenty of blocks, seats and budget. Requests are named;
`step.tokens` is what a step runs, in order.
"""

from __future__ import annotations

import pytest
from core_helpers import Driver, emitted_tokens
from scenarios import make_engine

from sim.errors import InputError


def usable(blocks: int) -> int:
    """`num_gpu_blocks` that leaves `blocks` to use beside vLLM's null block."""
    return blocks + 1


# ---- watermark ------------------------------------------------------------------------------------------------------


def test_the_watermark_is_waived_on_an_idle_engine_only() -> None:
    driver = Driver(make_engine(num_gpu_blocks=11, watermark=0.5))  # 10 usable, 5 to stay free at admission
    driver.enqueue("A", prompt=32)  # 8 blocks + 5 > 10, but nothing runs
    driver.enqueue("B", prompt=4)  # 1 block + 5 > 2 left
    step = driver.step()
    assert step.tokens == {"A": 32}
    assert step.blocked_by == "kv blocks"
    assert driver.waiting == "B"


@pytest.mark.parametrize(("prompt", "admitted"), [(12, True), (13, False)])
def test_the_watermark_is_a_share_of_all_blocks_rounded_down(prompt: int, admitted: bool) -> None:
    # int(0.55 · 10) = 5; of the 9 usable blocks it would be 4, and rounded it would be 6
    driver = Driver(make_engine(num_gpu_blocks=10, watermark=0.55))
    driver.enqueue("A", prompt=4)  # 1 block, 8 of 9 stay free
    driver.enqueue("B", prompt)  # 3 blocks + 5 <= 8, 4 blocks + 5 > 8
    step = driver.step()
    assert ("B" in step.tokens) == admitted


def test_the_watermark_does_not_bind_running_requests() -> None:
    driver = Driver(make_engine(num_gpu_blocks=usable(2), watermark=0.6))
    driver.enqueue("A", prompt=4, output=3)
    driver.step()
    step = driver.step()  # the fifth token takes the last block
    assert step.tokens == {"A": 1}
    assert driver.free_blocks == 0


# ---- lengths --------------------------------------------------------------------------------------------------------


def test_an_answer_is_cut_where_prompt_and_output_reach_max_model_len() -> None:
    driver = Driver(make_engine(max_model_len=8))
    state = driver.enqueue("A", prompt=5, output=100)
    steps = 0
    while driver.running or driver.waiting:
        driver.step()
        steps += 1
    assert (state.emitted_tokens, steps) == (3, 3)
    assert state.computed_tokens == 7  # the last token is never computed


def test_a_single_output_token_comes_with_the_prefill() -> None:
    driver = Driver(make_engine())
    driver.enqueue("A", prompt=9, output=1)
    step = driver.step()
    assert step.tokens == {"A": 9}
    assert step.emitted == step.finished == "A"
    assert driver.running == driver.waiting == ""


def test_a_chunk_that_does_not_reach_the_end_of_the_prompt_emits_nothing() -> None:
    driver = Driver(make_engine(max_num_batched_tokens=6))
    driver.enqueue("A", prompt=10)
    steps = [driver.step() for _ in range(2)]
    assert [step.tokens for step in steps] == [{"A": 6}, {"A": 4}]
    assert [step.emitted for step in steps] == ["", "A"]


@pytest.mark.parametrize(("prompt", "blocks_after_each_step"), [(7, [2, 2, 3]), (8, [2, 3, 3]), (9, [3, 3, 3])])
def test_a_prompt_fills_its_blocks_and_the_next_is_taken_when_they_are_full(
    prompt: int, blocks_after_each_step: list[int]
) -> None:
    driver = Driver(make_engine())
    state = driver.enqueue("A", prompt)
    held = []
    for _ in range(3):  # the prompt, then decodes of tokens prompt + 1 and prompt + 2
        driver.step()
        held.append(driver.held_blocks(state))
    assert held == blocks_after_each_step


# ---- long prompts ---------------------------------------------------------------------------------------------------


def test_the_long_prefill_threshold_binds_only_in_company() -> None:
    driver = Driver(make_engine(long_prefill_token_threshold=4))
    driver.enqueue("A", prompt=10, output=1)
    assert driver.step().tokens == {"A": 10}
    driver.enqueue("B", prompt=10)
    driver.enqueue("C", prompt=3)
    assert driver.step().tokens == {"B": 4, "C": 3}


def test_an_older_partial_prompt_runs_before_a_newer_decode() -> None:
    driver = Driver(make_engine(long_prefill_token_threshold=4, max_num_batched_tokens=6))
    driver.enqueue("A", prompt=10)
    driver.enqueue("B", prompt=2)
    assert [driver.step().tokens for _ in range(3)] == [{"A": 4, "B": 2}, {"A": 4, "B": 1}, {"A": 2, "B": 1}]


@pytest.mark.parametrize(("present", "threshold"), [(3, 10), (7, 4), (10, 4)])
def test_the_adaptive_threshold_shares_the_budget_among_all_present(present: int, threshold: int) -> None:
    driver = Driver(
        make_engine(
            long_prefill_token_threshold=4, long_prefill_token_threshold_adaptive=True, max_num_batched_tokens=30
        )
    )
    for name in "ABCDEFGHIJ"[:present]:
        driver.enqueue(name, prompt=20)
    step = driver.step()
    assert step.tokens["A"] == threshold  # 30 // 3 = 10, 30 // 7 = 4, and never below 4


# ---- admission ------------------------------------------------------------------------------------------------------


def test_the_whole_prompt_must_fit_though_only_a_chunk_is_taken() -> None:
    scarce = {"num_gpu_blocks": usable(3), "max_num_batched_tokens": 8}
    for gate, admitted in {"whole_prompt": {"A": 4}, "first_chunk": {"A": 4, "B": 4}}.items():
        driver = Driver(make_engine(gate=gate, **scarce))
        driver.enqueue("A", prompt=4)
        driver.enqueue("B", prompt=12)  # 3 blocks, 2 are free; a chunk of 4 needs 1
        assert driver.step().tokens == admitted


def test_a_head_that_does_not_fit_is_not_overtaken() -> None:
    driver = Driver(make_engine(num_gpu_blocks=usable(3)))
    driver.enqueue("A", prompt=4)
    driver.enqueue("B", prompt=12)
    driver.enqueue("C", prompt=4)
    assert driver.step().tokens == {"A": 4}
    assert driver.waiting == "BC"


def test_without_chunking_a_prompt_waits_for_a_step_with_room_for_all_of_it() -> None:
    driver = Driver(make_engine(enable_chunked_prefill=False, max_num_batched_tokens=10))
    driver.enqueue("A", prompt=6, output=1)
    driver.enqueue("B", prompt=5)
    step = driver.step()
    assert (step.tokens, step.blocked_by) == ({"A": 6}, "token budget")
    assert driver.step().tokens == {"B": 5}


def test_the_seat_of_a_finished_request_serves_the_next_call() -> None:
    driver = Driver(make_engine(max_num_seqs=1))
    driver.enqueue("A", prompt=4, output=2)
    driver.enqueue("B", prompt=4)
    steps = [driver.step() for _ in range(3)]
    assert [step.tokens for step in steps] == [{"A": 4}, {"A": 1}, {"B": 4}]
    assert [step.blocked_by for step in steps] == ["seats", "seats", None]


# ---- preemption -----------------------------------------------------------------------------------------------------


def test_fcfs_preempts_the_last_admitted_which_returns_first_and_is_recomputed_whole() -> None:
    driver = Driver(make_engine(num_gpu_blocks=usable(2)))
    driver.enqueue("A", prompt=4, output=2)
    b = driver.enqueue("B", prompt=4, output=3)
    driver.step()  # both prompts fill their blocks, both emit
    driver.enqueue("C", prompt=1)
    step = driver.step()  # A needs a block
    assert (step.tokens, step.preempted, driver.waiting) == ({"A": 1}, "B", "BC")
    assert (b.emitted_tokens, b.computed_tokens, driver.held_blocks(b)) == (1, 0, 0)
    step = driver.step()  # A is done; B brings its prompt and the output it had
    assert step.tokens == {"B": 5}
    assert step.how == {"B": "resumed"}
    assert emitted_tokens(driver.core, b) == 2


def test_a_call_that_preempts_admits_nobody_though_blocks_came_free() -> None:
    driver = Driver(make_engine(num_gpu_blocks=usable(4)))
    driver.enqueue("A", prompt=4)
    driver.enqueue("B", prompt=12)
    driver.step()
    driver.enqueue("C", prompt=1)
    step = driver.step()  # A takes one of the three blocks B leaves
    assert (step.tokens, step.preempted, step.blocked_by) == ({"A": 1}, "B", "preemption")
    assert driver.free_blocks == 2


def test_several_victims_of_one_step_wait_in_their_order_of_arrival() -> None:
    driver = Driver(make_engine(num_gpu_blocks=usable(4), gate="first_chunk", long_prefill_token_threshold=8))
    driver.enqueue("A", prompt=16)
    driver.enqueue("B", prompt=1)
    driver.enqueue("C", prompt=1)
    assert driver.step().tokens == {"A": 8, "B": 1, "C": 1}  # 2 + 1 + 1 blocks
    step = driver.step()  # the other half of A needs two more
    assert step.tokens == {"A": 8}
    assert step.preempted == "CB"
    assert driver.waiting == "BC"


def test_under_fcfs_the_last_admitted_gives_way_to_nobody_but_itself() -> None:
    driver = Driver(make_engine(num_gpu_blocks=usable(3)))
    driver.enqueue("A", prompt=2)
    driver.enqueue("B", prompt=8)
    driver.step()
    driver.enqueue("C", prompt=1)
    step = driver.step()  # A has room in its block; B needs a third one
    assert step.tokens == {"A": 1}
    assert step.preempted == "B"
    assert driver.waiting == "BC"


def test_under_priority_a_request_preempts_itself_and_those_behind_it_run_on() -> None:
    driver = Driver(make_engine(order="priority", num_gpu_blocks=usable(3)))
    driver.enqueue("L", prompt=3, priority=9)
    driver.step()
    driver.enqueue("H", prompt=8, priority=0)
    assert driver.step().tokens == {"L": 1, "H": 8}  # 1 + 2 blocks, both full
    step = driver.step()  # both need one: L is the least urgent, gives its own up, and H takes it
    assert step.tokens == {"H": 1}
    assert step.preempted == driver.waiting == "L"
    assert driver.free_blocks == 0


def test_a_victim_that_was_already_given_tokens_returns_them_to_the_budget() -> None:
    engine = make_engine(
        order="priority", block_size=1, num_gpu_blocks=usable(5), max_num_batched_tokens=3, gate="first_chunk"
    )
    driver = Driver(engine)
    driver.enqueue("L", prompt=1, priority=9)
    driver.step()
    driver.enqueue("H", prompt=1, priority=0)
    driver.enqueue("M", prompt=3, priority=5)
    assert driver.step().tokens == {"L": 1, "H": 1, "M": 1}  # 2 + 1 + 1 blocks
    step = driver.step()  # L takes the fifth block, H finds none and evicts L, M gets L's token as well
    assert step.tokens == {"H": 1, "M": 2}
    assert step.preempted == "L"


def test_under_priority_the_waiting_queue_is_sorted_by_priority_then_arrival() -> None:
    driver = Driver(make_engine(order="priority", max_num_seqs=1))
    for name, priority in {"A": 1, "B": 0, "C": 1, "D": 0}.items():
        driver.enqueue(name, prompt=1, output=1, priority=priority)
    assert driver.waiting == "BDAC"
    assert "".join(driver.step().finished for _ in range(4)) == "BDAC"


def test_shortest_predicted_job_goes_first_whatever_it_will_really_say() -> None:
    driver = Driver(make_engine(order="shortest_predicted", max_num_seqs=1))
    for name, predicted, output in (("A", 9, 1), ("B", 3, 1), ("C", 3, 2), ("D", 1, 4)):
        driver.enqueue(name, prompt=1, output=output, predicted_output_tokens=predicted)
    assert driver.waiting == "DBCA"
    assert "".join(driver.step().finished for _ in range(8)) == "DBCA"


def test_the_longest_predicted_is_preempted_and_waits_behind_shorter_ones() -> None:
    driver = Driver(make_engine(order="shortest_predicted", num_gpu_blocks=usable(3)))
    driver.enqueue("L", prompt=4, predicted_output_tokens=50)
    driver.step()
    driver.enqueue("S", prompt=4, predicted_output_tokens=5)
    assert driver.step().tokens == {"L": 1, "S": 4}
    driver.enqueue("M", prompt=4, predicted_output_tokens=20)
    step = driver.step()  # S needs a block: L gives up its two
    assert step.tokens == {"S": 1}
    assert step.preempted == "L"
    assert driver.waiting == "ML"


def test_an_unpredicted_request_is_refused_where_predictions_order() -> None:
    driver = Driver(make_engine(order="shortest_predicted"))
    with pytest.raises(InputError, match=r"request 0.*predicted_output_tokens.*shortest_predicted"):
        driver.enqueue("A", prompt=1)


def test_an_answer_ends_at_the_limit_its_client_sets() -> None:
    driver = Driver(make_engine())
    state = driver.enqueue("A", prompt=3, output=9, max_new_tokens=2)
    assert [driver.step().finished for _ in range(2)] == ["", "A"]
    assert state.emitted_tokens == 2


# ---- reserved slots: Orca -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("blocks", "concurrency"), [(99, 3), (100, 4), (124, 4), (125, 5)])
def test_orca_runs_as_many_as_there_are_slots_however_short_they_are(blocks: int, concurrency: int) -> None:
    driver = Driver(make_engine("orca", num_gpu_blocks=blocks))  # a slot: 100 tokens in 25 blocks of 4
    for name in "ABCDEFGH":
        driver.enqueue(name, prompt=1, output=2)
    step = driver.step()
    assert len(step.tokens) == concurrency
    assert step.blocked_by == "kv blocks"
    assert list(step.new_blocks.values()) == [25] * concurrency


def test_orca_admits_whole_prompts_beside_decodes_without_a_token_budget() -> None:
    driver = Driver(make_engine("orca"))
    driver.enqueue("A", prompt=50)
    driver.step()
    driver.enqueue("B", prompt=90)
    driver.enqueue("C", prompt=80)
    assert driver.step().tokens == {"A": 1, "B": 90, "C": 80}


def test_a_slot_has_room_that_its_request_never_uses() -> None:
    driver = Driver(make_engine("orca", max_model_len=99))
    driver.enqueue("A", prompt=10, output=5)
    plans = [driver.step().plan for _ in range(5)]
    assert [plan.used_blocks for plan in plans] == [25] * 5
    assert [plan.stored_tokens for plan in plans] == [10, 11, 12, 13, 14]  # the fifth output is not stored


# ---- request-level batches: static ----------------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["on_finish", "batch_end"])
def test_nobody_joins_a_static_batch_before_it_is_over(release: str) -> None:
    driver = Driver(make_engine("static", max_num_seqs=2, release=release))
    driver.enqueue("A", prompt=4, output=1)
    driver.enqueue("B", prompt=6, output=3)
    driver.enqueue("C", prompt=4)
    steps = [driver.step() for _ in range(4)]
    assert [step.tokens for step in steps] == [{"A": 4, "B": 6}, {"B": 1}, {"B": 1}, {"C": 4}]
    assert [step.blocked_by for step in steps] == ["seats", "batch not over", "batch not over", None]


def test_members_released_on_finish_give_back_their_slots_at_once() -> None:
    driver = Driver(make_engine("static", max_num_seqs=2, num_gpu_blocks=50, release="on_finish"))
    driver.enqueue("A", prompt=4, output=1)
    driver.enqueue("B", prompt=6, output=2)
    step = driver.step()
    assert (step.finished, driver.running, driver.free_blocks) == ("A", "B", 25)
    step = driver.step()
    assert (step.plan.padding_requests, step.plan.idle_slots, step.finished) == (0, 1, "B")


def test_members_released_at_batch_end_keep_seat_and_blocks_and_cost_a_padded_row() -> None:
    driver = Driver(make_engine("static", max_num_seqs=2, num_gpu_blocks=50, release="batch_end"))
    a = driver.enqueue("A", prompt=4, output=1)
    driver.enqueue("B", prompt=6, output=2)
    step = driver.step()
    assert (step.emitted, step.finished, driver.running) == ("AB", "", "AB")
    assert (step.plan.padding_requests, step.plan.idle_slots, driver.free_blocks) == (0, 0, 0)
    step = driver.step()
    assert (step.tokens, step.finished) == ({"B": 1}, "AB")
    assert (step.plan.padding_requests, step.plan.padding_context_tokens, step.plan.idle_slots) == (1, 4, 1)
    assert (a.emitted_tokens, driver.free_blocks) == (1, 50)


@pytest.mark.parametrize(
    ("limits", "full_batch"),
    [
        ({"num_gpu_blocks": 1000}, 8),  # seats bind
        ({"num_gpu_blocks": 60}, 2),  # two slots of 25 blocks
        ({"num_gpu_blocks": 60, "kv_allocation": "paged", "gate": "whole_prompt", "release": "on_finish"}, 8),
        ({"num_gpu_blocks": 1000, "max_num_active_seqs": 3}, 3),
    ],
)
def test_a_batch_is_full_when_seats_or_slots_are_taken(limits: dict[str, object], full_batch: int) -> None:
    assert Driver(make_engine("static", max_num_seqs=8, **limits)).core.full_batch == full_batch


def test_batch_end_with_paged_memory_is_refused() -> None:
    """A finished member could be preempted: it would say one token too many, or nobody active would be left to run."""
    with pytest.raises(InputError, match="batch_end"):
        make_engine("static", kv_allocation="paged", gate="whole_prompt", release="batch_end")
