"""Request-level batches on the clock: when a forming batch starts, and when its members get their answers.

Preset `static` with steps of a quarter second; outputs of one token make a batch one step long.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from serving_helpers import serve


def serve_static(
    arrivals: list[float], timeout_s: float, seats: int, outputs: int | list[int] = 1, **engine: Any
) -> pd.DataFrame:
    engine = {"preset": "static", "max_num_seqs": seats, "formation_timeout_s": timeout_s} | engine
    requests, _ = serve(arrivals, outputs, engine=engine)
    return requests


def starts(requests: pd.DataFrame) -> list[float]:
    return requests["scheduled_s"].tolist()


# ---- when a batch starts --------------------------------------------------------------------------------------------


def test_without_a_timeout_an_idle_engine_takes_who_is_there() -> None:
    requests = serve_static([0.5, 0.6, 0.7], timeout_s=0.0, seats=4)
    assert starts(requests) == [0.5, 0.75, 0.75]


def test_a_batch_starts_when_its_first_member_has_waited_for_the_timeout() -> None:
    requests = serve_static([0.5, 0.625, 1.375], timeout_s=1.0, seats=4)
    assert starts(requests) == [1.5, 1.5, 1.5]


def test_a_full_batch_starts_at_once() -> None:
    requests = serve_static([0.5, 0.625, 1.0], timeout_s=9.0, seats=2)
    assert starts(requests) == [0.625, 0.625, 1.0 + 9.0]


def test_a_batch_is_full_when_no_slot_is_left_though_seats_are() -> None:
    two_slots = {"max_model_len": 100, "block_size": 16, "num_gpu_blocks": 14}
    requests = serve_static([0.5, 0.625, 1.0, 1.125], timeout_s=9.0, seats=8, **two_slots)
    assert starts(requests) == [0.625, 0.625, 1.125, 1.125]


def test_who_arrives_as_the_timer_fires_is_in_the_batch_and_who_comes_later_opens_the_next() -> None:
    requests = serve_static([0.5, 1.5, 1.625], timeout_s=1.0, seats=4)
    assert starts(requests) == [1.5, 1.5, 2.625]


def test_the_timer_fires_exactly_and_not_early_by_rounding() -> None:
    # 0.01 + 0.1 is 0.11, but seen from the second arrival 0.022 + (0.11 - 0.022) is a little less
    requests = serve_static([0.01, 0.022, 0.11], timeout_s=0.1, seats=4)
    assert starts(requests) == [0.11, 0.11, 0.11]


def test_the_timer_of_the_next_batch_runs_while_the_engine_is_busy() -> None:
    # the first batch ends at 1.0
    requests = serve_static([0.0, 0.0, 0.5], timeout_s=1.0, seats=2, outputs=[4, 4, 1])
    assert starts(requests) == [0.0, 0.0, 1.5]


def test_a_timeout_that_passed_while_the_engine_was_busy_delays_nobody() -> None:
    # the first batch ends at 2.0, the timer of the next one fired at 1.5
    requests = serve_static([0.0, 0.0, 0.5], timeout_s=1.0, seats=2, outputs=[8, 8, 1])
    assert starts(requests) == [0.0, 0.0, 2.0]


def test_a_long_queue_runs_in_full_batches_and_the_rest_waits_for_its_timer() -> None:
    requests = serve_static([0.0] * 5, timeout_s=1.0, seats=2)
    assert starts(requests) == [0.0, 0.0, 0.25, 0.25, 1.0]


def test_an_infinite_timeout_waits_for_a_full_batch() -> None:
    requests = serve_static([0.0, 1.0, 5.0, 6.0, 7.0, 8.0], timeout_s=math.inf, seats=3)
    assert starts(requests) == [5.0, 5.0, 5.0, 8.0, 8.0, 8.0]


def test_an_infinite_timeout_flushes_the_rest_when_no_more_will_come() -> None:
    requests = serve_static([0.0, 1.0, 5.0, 6.0], timeout_s=math.inf, seats=3)
    assert starts(requests) == [5.0, 5.0, 5.0, 6.0]


def test_the_rest_is_flushed_also_when_the_last_arrival_came_during_a_batch() -> None:
    requests = serve_static([0.0, 1.0, 1.125], timeout_s=math.inf, seats=2, outputs=4)
    assert starts(requests) == [1.0, 1.0, 2.0]


# ---- when answers come ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("release", "finish_s"), [("on_finish", [0.25, 0.75, 0.5]), ("batch_end", [0.75, 0.75, 0.75])])
def test_members_are_released_when_they_finish_or_all_at_the_end_of_the_batch(
    release: str, finish_s: list[float]
) -> None:
    requests = serve_static([0.0] * 3, timeout_s=0.0, seats=3, outputs=[1, 3, 2], release=release)
    assert requests["finish_s"].tolist() == finish_s
    assert requests["first_token_s"].tolist() == [0.25] * 3
    assert requests["output_tokens"].tolist() == [1, 3, 2]


@pytest.mark.parametrize("release", ["on_finish", "batch_end"])
def test_the_next_batch_starts_when_the_longest_member_has_finished(release: str) -> None:
    requests = serve_static([0.0, 0.0, 0.1, 0.3], timeout_s=0.0, seats=2, outputs=[1, 5, 1, 1], release=release)
    assert starts(requests) == [0.0, 0.0, 1.25, 1.25]
    assert requests["finish_s"].tolist()[2:] == [1.5, 1.5]


# ---- what is executed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pad_to_longest", "prefill_s"), [(True, 2 * 3.0), (False, 1.0 + 3.0)])
def test_padded_prompts_cost_as_much_as_the_longest(pad_to_longest: bool, prefill_s: float) -> None:
    cost = {"kind": "affine", "per_step_s": 0.0, "per_prefill_token_s": 1.0}
    engine = {"preset": "static", "pad_to_longest": pad_to_longest}
    requests, _ = serve([0.0, 0.0], prompts=[1, 3], engine=engine, cost=cost)
    assert requests["first_token_s"].tolist() == [prefill_s] * 2


@pytest.mark.parametrize(("release", "second_step_s"), [("batch_end", 2 * 0.5), ("on_finish", 0.5)])
def test_a_finished_member_that_is_held_costs_a_row(release: str, second_step_s: float) -> None:
    cost = {"kind": "affine", "per_step_s": 0.0, "per_sequence_s": 0.5}
    _, iterations = serve([0.0, 0.0], outputs=[1, 2], engine={"preset": "static", "release": release}, cost=cost)
    assert iterations["first_step_s"].tolist() == [1.0, second_step_s]
