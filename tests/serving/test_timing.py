"""When things happen: requests and steps on the clock, worked out by hand with steps of a quarter second."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from serving_helpers import STEP_S, experiment, serve

import sim
from sim.workload.source import build_workload

POISSON_MIX = {
    "arrivals": {"process": "poisson", "rate": 6.0},
    "lengths": {
        "prompt": {"distribution": "uniform", "low": 1, "high": 40},
        "output": {"distribution": "geometric", "mean": 8.0},
    },
    "num_requests": 300,
}
"""On `SCARCE` this preempts, queues and idles."""

SCARCE = {"num_gpu_blocks": 14, "block_size": 8, "max_num_seqs": 6, "max_num_batched_tokens": 24}


# ---- timelines of three requests ------------------------------------------------------------------------------------


def test_a_timeline_worked_out_by_hand() -> None:
    #  step        [.5      .75      1        1.25     1.5]     [2       2.25]
    #  runs          A        A B      A B      B                C
    requests, iterations = serve(arrivals=[0.5, 0.6, 2.0], outputs=[3, 3, 1])
    assert requests["queued_s"].tolist() == [0.5, 0.75, 2.0]
    assert requests["scheduled_s"].tolist() == [0.5, 0.75, 2.0]
    assert requests["first_token_s"].tolist() == [0.75, 1.0, 2.25]
    assert requests["finish_s"].tolist() == [1.25, 1.5, 2.25]
    assert requests["queue_s"].tolist() == pytest.approx([0.0, 0.15, 0.0])
    assert requests["ttft_s"].tolist() == pytest.approx([0.25, 0.4, 0.25])
    assert requests["e2e_s"].tolist() == pytest.approx([0.75, 0.9, 0.25])
    assert requests["tpot_s"].tolist() == pytest.approx([0.25, 0.25, np.nan], nan_ok=True)
    assert iterations["start_s"].tolist() == [0.5, 0.75, 1.0, 1.25, 2.0]
    assert iterations["running"].tolist() == [1, 2, 2, 1, 1]


def test_an_idle_engine_starts_at_once_also_in_the_middle_of_nowhere() -> None:
    requests, _ = serve(arrivals=[0.1, 0.9, 7.3])
    assert requests["scheduled_s"].tolist() == requests["arrival_s"].tolist()


@pytest.mark.parametrize(
    ("arrival_s", "step_it_joins_s"), [(0.25, 0.25), (0.375, 0.5), (0.499, 0.5), (0.5, 0.5), (0.501, 0.75)]
)
def test_a_request_joins_the_step_that_starts_when_it_arrives_or_else_the_next(
    arrival_s: float, step_it_joins_s: float
) -> None:
    requests, _ = serve(arrivals=[0.0, arrival_s], outputs=[5, 1])
    assert requests["queued_s"][1] == requests["scheduled_s"][1] == step_it_joins_s
    assert requests["first_token_s"][1] == step_it_joins_s + STEP_S


def test_a_boundary_arrival_joins_whichever_event_the_clock_was_told_of_first() -> None:
    # the second arrival is known before the step that ends with it began, the third only in the middle of that step
    requests, _ = serve(arrivals=[0.0, 0.5, 0.5, 0.625, 0.75], outputs=[4, 1, 1, 1, 1])
    assert requests["scheduled_s"].tolist() == [0.0, 0.5, 0.5, 0.75, 0.75]


def test_a_request_that_arrives_as_the_last_one_leaves_finds_an_idle_engine() -> None:
    requests, iterations = serve(arrivals=[0.0, 0.25])
    assert requests["scheduled_s"].tolist() == [0.0, 0.25]
    assert iterations["running"].tolist() == [1, 1]


def test_waiting_for_a_seat_counts_as_queueing_though_the_engine_has_read_the_request() -> None:
    requests, _ = serve(arrivals=[0.0, 0.1, 0.3], outputs=2, engine={"max_num_seqs": 1})
    assert requests["queued_s"].tolist() == [0.0, 0.25, 0.5]
    assert requests["scheduled_s"].tolist() == [0.0, 0.5, 1.0]
    assert requests["queue_s"].tolist() == pytest.approx([0.0, 0.4, 0.7])


def test_a_long_prompt_takes_a_step_a_chunk_and_its_token_comes_with_the_last() -> None:
    requests, iterations = serve(arrivals=[0.0], outputs=[2], prompts=[20], engine={"max_num_batched_tokens": 8})
    assert iterations["prefill_tokens"].tolist() == [8, 8, 4, 0]
    assert requests["first_token_s"].tolist() == [0.75]
    assert requests["finish_s"].tolist() == [1.0]


def test_a_step_lasts_as_long_as_its_batch_says() -> None:
    cost = {"kind": "affine", "per_step_s": 0.5, "per_sequence_s": 0.25, "per_prefill_token_s": 1.0}
    requests, iterations = serve(arrivals=[0.0, 1.0], outputs=2, prompts=[1, 3], cost=cost)
    assert iterations["start_s"].tolist() == [0.0, 1.75, 5.75]  # 0.5 + 0.25 + 1, 0.5 + 2 · 0.25 + 3, 0.5 + 0.25
    assert requests["finish_s"].tolist() == [5.75, 6.5]


def test_a_request_that_brings_its_service_time_is_served_for_just_that_long() -> None:
    lengths = {"prompt": {"distribution": "fixed", "value": 20}, "output": {"distribution": "fixed", "value": 3}}
    one_seat = experiment(
        {"max_num_seqs": 1, "max_num_batched_tokens": 8},
        cost={"kind": "per_request", "service_s": {"distribution": "exponential", "mean": 0.1}},
        workload={"arrivals": {"process": "poisson", "rate": 8.0}, "lengths": lengths, "num_requests": 50},
    )
    requests = sim.run(one_seat).requests
    in_service_s = requests["finish_s"] - requests["scheduled_s"]
    np.testing.assert_allclose(in_service_s, build_workload(one_seat).table["service_s"], atol=1e-12)


def test_a_preempted_request_keeps_the_time_of_its_first_token_and_waits_for_the_next() -> None:
    # two usable blocks of 4: both prompts fit, then A needs the block of B; B returns when A has left
    engine = {"num_gpu_blocks": 3, "block_size": 4, "max_model_len": 8}
    requests, _ = serve(arrivals=[0.0, 0.0], outputs=[3, 2], prompts=[4, 4], engine=engine)
    assert requests["preemptions"].tolist() == [0, 1]
    assert requests["scheduled_s"].tolist() == [0.0, 0.0]
    assert requests["first_token_s"].tolist() == [0.25, 0.25]
    assert requests["finish_s"].tolist() == [0.75, 1.0]
    assert requests["tpot_s"].tolist() == [0.25, 0.75]


def test_a_step_that_only_preempts_takes_no_time() -> None:
    """As in vLLM, where a plan without tokens is not executed and the scheduler is simply asked again.

    Prompts of 22 and 20 tokens run in chunks of 3. After seven steps B has answered and fills its 5 blocks, A fills 6:
    all there are. The cadence holds A's last chunk back, so B, which needs a block, can only preempt itself.
    """
    engine = {
        "block_size": 4,
        "num_gpu_blocks": 12,
        "max_model_len": 23,
        "long_prefill_token_threshold": 3,
        "prefill_schedule_interval": 2,
    }
    requests, _ = serve(arrivals=[0.0, 0.0], outputs=[1, 2], prompts=[22, 20], engine=engine)
    assert requests["preemptions"].tolist() == [0, 1]
    assert requests["finish_s"].tolist() == [2.0, 2.25]


# ---- identities -----------------------------------------------------------------------------------------------------


def test_latencies_add_up_for_every_request() -> None:
    result = sim.run(experiment(SCARCE, workload=POISSON_MIX))
    requests = result.requests
    several = requests[requests["output_tokens"] > 1]
    assert requests["preemptions"].sum() > 10
    assert (requests["tpot_s"].isna() == (requests["output_tokens"] == 1)).all()
    np.testing.assert_allclose(several["e2e_s"], several["ttft_s"] + several["tpot_s"] * (several["output_tokens"] - 1))
    np.testing.assert_allclose(requests["ttft_s"], requests["first_token_s"] - requests["arrival_s"])
    np.testing.assert_allclose(requests["queue_s"], requests["scheduled_s"] - requests["arrival_s"])
    assert (requests["ttft_s"] >= requests["queue_s"] + STEP_S - 1e-9).all()
    gaps = result.gaps
    assert (gaps["gap_s"] * gaps["tokens"]).sum() == pytest.approx(
        (several["finish_s"] - several["first_token_s"]).sum()
    )


def test_no_request_is_read_before_it_arrives_not_even_by_rounding() -> None:
    # 0.011 + (0.051 - 0.011) is a little less than 0.051
    requests, _ = serve(arrivals=[0.011, 0.051], cost={"kind": "constant", "step_s": 0.01})
    assert requests["queued_s"].tolist() == [0.011, 0.051]
    assert requests["queue_s"].min() == 0.0


# ---- seeds ----------------------------------------------------------------------------------------------------------


def _tables(seed: int) -> list[bytes]:
    result = sim.run(experiment(SCARCE, workload=POISSON_MIX, seed=seed))
    return [table.to_csv().encode() for table in (result.requests, result.iterations, result.gaps)]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    first = _tables(seed=7)
    assert _tables(seed=7) == first
    assert all(ours != theirs for ours, theirs in zip(_tables(seed=8), first, strict=True))


def test_simulations_in_one_process_do_not_affect_one_another_even_nested() -> None:
    alone, records = sim.run(experiment(SCARCE, workload=POISSON_MIX)), []
    watched = sim.run(experiment(SCARCE, workload=POISSON_MIX), on_record=records.append)
    inner = []

    def run_another(record: dict[str, object]) -> None:
        if record["step"] in (3, 200):
            inner.append(sim.run(experiment(workload=POISSON_MIX, seed=record["step"])))

    around = sim.run(experiment(SCARCE, workload=POISSON_MIX), on_record=run_another)
    assert len(inner) == 2
    pd.testing.assert_frame_equal(around.requests, alone.requests, check_exact=True)
    pd.testing.assert_frame_equal(around.iterations, watched.iterations, check_exact=True)


def test_arrivals_do_not_shift_when_lengths_priorities_or_engine_change() -> None:
    fixed = {"distribution": "fixed", "value": 3}
    other = POISSON_MIX | {"lengths": {"prompt": fixed, "output": fixed}, "priorities": {0: 1.0, 1: 2.0}}
    ours = build_workload(experiment(workload=POISSON_MIX, seed=5))
    theirs = build_workload(experiment({"preset": "orca"}, workload=other, seed=5))
    np.testing.assert_array_equal(ours.table["arrival_s"], theirs.table["arrival_s"])
    longer_prompts = POISSON_MIX["lengths"] | {"prompt": fixed}
    same_outputs = build_workload(experiment(workload=POISSON_MIX | {"lengths": longer_prompts}, seed=5))
    np.testing.assert_array_equal(ours.table["output_tokens"], same_outputs.table["output_tokens"])
