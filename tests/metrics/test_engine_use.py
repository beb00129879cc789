"""What explains the latencies, held against the schedule log and against laws of queues."""

from __future__ import annotations

import numpy as np
import pytest
from small_runs import CONSTANT, ORCA, PREEMPTING, STATIC, experiment, run

import sim

ENGINES = {"vllm-v1": {}, "preempting": PREEMPTING, "orca": ORCA, "static": STATIC, "constant steps": CONSTANT}
WITHOUT_PREEMPTION = {
    "vllm-v1": {"workload.arrivals": {"process": "all_at_once"}},
    "few seats": {"engine.max_num_seqs": 3},
    "asynchronous": {"engine.async_scheduling": True},
    "asynchronous, few seats": {"engine.async_scheduling": True, "engine.max_num_seqs": 3},
    "orca": ORCA | {"engine.max_num_seqs": 3},
    "static": STATIC,
    "static in chunks": STATIC | {"engine.enable_chunked_prefill": True, "engine.long_prefill_token_threshold": 32},
    "static with a timeout": STATIC | {"engine.formation_timeout_s": 2.0},
    "static waiting for a full batch": STATIC | {"engine.formation_timeout_s": float("inf")},
}


@pytest.fixture(scope="module", params=ENGINES.values(), ids=ENGINES)
def logged(request):
    """A run and its schedule log."""
    records = []
    return sim.run(experiment(request.param), on_record=records.append), records


def over_time(records, amount) -> float:
    return sum(amount(record) * record["duration_s"] for record in records)


# ---- batch -----------------------------------------------------------------------------------------------------------


def test_occupancy_is_that_of_the_schedule_log(logged):
    result, records = logged
    batch, duration_s = result.summary["sim"]["batch"], result.summary["duration"]
    assert batch["busy_fraction"] == pytest.approx(over_time(records, lambda record: 1) / duration_s)
    assert batch["mean_running"] == pytest.approx(over_time(records, lambda r: len(r["running"])) / duration_s)
    assert batch["peak_running"] == max(len(record["running"]) for record in records)
    assert batch["peak_waiting"] == max(len(record["waiting"]) for record in records)


@pytest.mark.parametrize("changes", WITHOUT_PREEMPTION.values(), ids=WITHOUT_PREEMPTION)
def test_little_holds_inside_the_engine(changes):
    """Time averages times duration are the sums of what each request spent running and, once read, waiting."""
    result = run(changes)
    table, batch, duration_s = result.requests, result.summary["sim"]["batch"], result.summary["duration"]
    assert table["preemptions"].sum() == 0
    assert batch["mean_running"] * duration_s == pytest.approx((table["finish_s"] - table["scheduled_s"]).sum())
    assert batch["mean_waiting"] * duration_s == pytest.approx((table["scheduled_s"] - table["queued_s"]).sum())


def test_shares_of_busy_time_in_which_the_queue_was_blocked(logged):
    result, _ = logged
    blocked = result.summary["sim"]["batch"]["queue_blocked_by"]
    assert all(0 < share <= 1 for share in blocked.values())
    assert sum(blocked.values()) <= 1 + 1e-9


@pytest.mark.parametrize(
    ("changes", "blocker"),
    [
        (PREEMPTING, "kv blocks"),
        ({"engine.max_num_seqs": 2}, "seats"),
        ({"engine.max_num_batched_tokens": 16, "workload.arrivals": {"process": "all_at_once"}}, "token budget"),
        (STATIC, "batch not over"),
    ],
)
def test_the_main_blocker_is_the_one_provoked(changes, blocker):
    blocked = run(changes).summary["sim"]["batch"]["queue_blocked_by"]
    assert max(blocked, key=blocked.get) == blocker


def test_only_static_batches_have_idle_slots_and_padding(logged):
    result, _ = logged
    batch = result.summary["sim"]["batch"]
    wasteful = result.experiment.engine.preset == "static"
    assert (batch["idle_slot_fraction"] > 0.1) == wasteful
    assert (batch["padding_fraction"] > 0.1) == wasteful
    assert wasteful or (batch["idle_slot_fraction"], batch["padding_fraction"]) == (0, 0)


def test_idle_slots_of_a_static_batch_by_hand():
    """One batch of answers of 1 to 4 tokens takes 4 steps: 6 of its 16 slot-steps are idle."""
    trace_like = {
        "engine.max_num_seqs": 4,
        "cost": {"kind": "constant", "step_s": 1.0},
        "workload.arrivals": {"process": "all_at_once"},
        "workload.lengths": {
            "prompt": {"distribution": "fixed", "value": 8},
            "output": {"distribution": "uniform", "low": 1, "high": 4},
        },
        "workload.num_requests": 4,
    }
    result = run(STATIC, trace_like)
    steps, answers = result.requests["output_tokens"].max(), result.requests["output_tokens"].sum()
    batch = result.summary["sim"]["batch"]
    assert batch["idle_slot_fraction"] == pytest.approx(1 - answers / (4 * steps))
    assert batch["mean_idle_slots"] == pytest.approx(4 - answers / steps)
    assert batch["padding_fraction"] == pytest.approx((4 * steps - answers) / (4 * 8 + 4 * (steps - 1)))


# ---- KV memory -------------------------------------------------------------------------------------------------------


def test_held_memory_is_that_of_the_schedule_log(logged):
    result, records = logged
    kv, duration_s = result.summary["sim"]["kv_cache"], result.summary["duration"]
    held = over_time(records, lambda record: kv["usable_blocks"] - record["free_blocks"])
    assert kv["mean_used_fraction"] == pytest.approx(held / duration_s / kv["usable_blocks"])
    fewest_free = min(record["free_blocks"] for record in records)
    assert kv["peak_used_fraction"] == pytest.approx(1 - fewest_free / kv["usable_blocks"])


def test_shares_of_held_memory_add_up(logged):
    kv = logged[0].summary["sim"]["kv_cache"]
    shares = [kv[f"{what}_fraction"] for what in ("stored", "reserved_waste", "internal_waste")]
    assert sum(shares) == pytest.approx(1)
    assert all(0 <= share <= 1 for share in shares)


def test_reserved_slots_waste_memory_and_pages_hardly_any():
    paged, reserved = (run(engine).summary["sim"]["kv_cache"] for engine in ({}, ORCA))
    assert paged["reserved_waste_fraction"] == 0
    assert paged["internal_waste_fraction"] < 0.08
    assert reserved["reserved_waste_fraction"] > 0.03
    assert reserved["internal_waste_fraction"] > 0.5


def test_waste_of_a_reserved_slot_by_hand():
    """Prompt 8, output 9 in a slot of 32, one step a second: 16 tokens are used in the end, 8 to 16 over the steps."""
    kv = run(
        ORCA,
        {
            "engine.max_model_len": 32,
            "cost": {"kind": "constant", "step_s": 1.0},
            "workload.lengths": {
                "prompt": {"distribution": "fixed", "value": 8},
                "output": {"distribution": "fixed", "value": 9},
            },
            "workload.num_requests": 1,
        },
    ).summary["sim"]["kv_cache"]
    assert kv["stored_fraction"] == pytest.approx(np.arange(8, 17).mean() / 32)
    assert kv["reserved_waste_fraction"] == pytest.approx((16 - np.arange(8, 17)).mean() / 32)
    assert kv["internal_waste_fraction"] == pytest.approx(16 / 32)


# ---- step time -------------------------------------------------------------------------------------------------------


def test_step_time_adds_up_to_busy_time(logged):
    result, records = logged
    use = result.summary["sim"]["step_time"]
    busy_s = over_time(records, lambda record: 1)
    assert sum(sum(parts.values()) for parts in use["seconds_by_group"].values()) == pytest.approx(busy_s)
    assert sum(use["share_by_resource"].values()) == pytest.approx(1)


def test_given_step_times_have_one_group_and_no_other_reason():
    use = run(CONSTANT).summary["sim"]["step_time"]
    assert list(use["seconds_by_group"]) == ["iteration"]
    assert use["share_by_resource"] == {"given": pytest.approx(1)}
