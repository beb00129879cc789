"""The phases of a request: E2E = queue + prefill + decode, whatever happens on the way."""

from __future__ import annotations

import numpy as np
import pytest
from small_runs import CONSTANT, ONE_TOKEN_EACH, ORCA, PREEMPTING, STATIC, experiment, run

import sim

PREEMPTING_PROMPTS = PREEMPTING | {"engine.gate": "first_chunk", "engine.max_num_batched_tokens": 64}
"""Requests are preempted also before their first token."""

ENGINES = {
    "vllm-v1": {},
    "preempting": PREEMPTING,
    "preempting prompts": PREEMPTING_PROMPTS,
    "orca": ORCA,
    "static": STATIC,
    "static, on finish": STATIC | {"engine.release": "on_finish"},
    "constant steps": CONSTANT,
    "one token each": ONE_TOKEN_EACH,
}


@pytest.fixture(scope="module", params=ENGINES.values(), ids=ENGINES)
def logged(request):
    """A run and its schedule log."""
    records = []
    return sim.run(experiment(request.param), on_record=records.append), records


def test_e2e_is_queue_and_prefill_and_decode(logged):
    table = logged[0].requests
    phases = table["queue_s"] + table["prefill_s"] + table["decode_s"]
    np.testing.assert_allclose(table["e2e_s"], phases, rtol=0, atol=1e-9)
    np.testing.assert_allclose(table["ttft_s"], table["queue_s"] + table["prefill_s"], rtol=0, atol=1e-9)
    assert (table[["queue_s", "prefill_s", "decode_s"]] >= 0).all(axis=None)
    assert (table["prefill_s"] > 0).all()


def test_prefill_runs_from_the_first_scheduling_to_the_first_token(logged):
    result, records = logged
    scheduled, first_token = {}, {}
    for record in records:
        for part in record["scheduled"]:
            scheduled.setdefault(part["id"], record["start_s"])
        for name in record["emitted"]:
            first_token.setdefault(name, record["start_s"] + record["duration_s"])
    found = result.requests.set_index("request_id")["prefill_s"].to_dict()
    assert found == pytest.approx({name: first_token[name] - scheduled[name] for name in scheduled}, abs=1e-9)


def test_decode_runs_to_the_last_token_or_to_the_end_of_a_batch_returned_whole(logged):
    result, records = logged
    left = {name: r["start_s"] + r["duration_s"] for r in records for name in r["finished"]}
    last = {name: r["start_s"] + r["duration_s"] for r in records for name in r["emitted"]}
    table = result.requests.set_index("request_id")
    assert (table["first_token_s"] + table["decode_s"]).to_dict() == pytest.approx(left, abs=1e-9)
    held = sum(left[name] > last[name] for name in left)
    assert (held > 0) == (result.experiment.engine.release == "batch_end")


def test_a_preemption_before_the_first_token_counts_as_prefill():
    records = []
    table = sim.run(experiment(PREEMPTING_PROMPTS), on_record=records.append).requests.set_index("request_id")
    preempted_in_prompt = {
        name
        for record in records
        for name in record["preempted"]
        if record["start_s"] < table.loc[name, "first_token_s"]
    }
    assert len(preempted_in_prompt) > 5
    first_scheduled = {}
    for record in records:
        for part in record["scheduled"]:
            first_scheduled.setdefault(part["id"], record["start_s"])
    assert table["scheduled_s"].to_dict() == first_scheduled


def test_a_single_token_has_no_decode():
    assert (run(ONE_TOKEN_EACH).requests["decode_s"] == 0).all()


def test_a_users_speed_is_tokens_over_latency():
    table = run().requests
    assert table["tps_per_user"].tolist() == pytest.approx((table["output_tokens"] / table["e2e_s"]).tolist())


def test_a_request_that_took_no_time_has_no_speed():
    free_prompts = {"cost": {"kind": "affine", "per_step_s": 0, "per_decode_token_s": 0.1}}
    result = run(free_prompts, ONE_TOKEN_EACH)
    assert result.requests["tps_per_user"].isna().all()
    assert set(result.summary["sim"]["requests"]["tps_per_user"].values()) == {None}
