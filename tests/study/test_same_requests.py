"""The same seed means the same requests, whatever else differs; where it does not, that is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from small_runs import experiment

import sim
from sim.study.same_requests import differing_requests, refuse_strangers
from sim.workload.source import build_workload

PREFIXES = {"workload.shared_prefix": {"num_prefixes": 3, "tokens": 40}}
GAMMA = {"workload.arrivals": {"process": "gamma", "rate": 8, "cv": 2.0}}
FIXED = {
    "workload.lengths": {
        "prompt": {"distribution": "fixed", "value": 50}, "output": {"distribution": "fixed", "value": 10},
    }
}  # fmt: skip


def table(*changes: dict) -> pd.DataFrame:
    return build_workload(experiment(*changes)).table


@pytest.mark.parametrize(
    "changes",
    [
        {"engine.max_num_batched_tokens": 64},
        {"engine.max_num_batched_tokens": 2048},
        {"engine.preset": "orca"},
        {"engine.max_num_seqs": 3},
        {"engine.scheduling_policy": "priority"},
        {"accelerator": "h100-sxm"},
        {"model": "qwen2.5-7b"},
        {"slo": {"p99_ttft": 1.0}},
    ],
)
def test_another_machine_serves_the_same_requests(changes):
    pd.testing.assert_frame_equal(table(), table(changes), check_exact=True)
    assert differing_requests(experiment(), experiment(changes)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"workload.priorities": {0: 0.2, 1: 0.8}},
        {"workload.tenants": {"one": 1.0, "other": 3.0}},
        {"workload.output_predictor": {"error_cv": 0.5}},
        PREFIXES,
        {"workload.repeat_probability": 0.5},
        {"workload.max_new_tokens": 20},
        FIXED,
        {"workload.conversations": {"turns": 1}},
    ],
)
def test_what_requests_are_like_does_not_shift_when_they_arrive(changes):
    assert table(changes)["arrival_s"].tolist() == table()["arrival_s"].tolist()


@pytest.mark.parametrize("changes", [GAMMA, {"workload.arrivals.rate": 3}, PREFIXES, {"workload.priorities": {0: 1.0}}])
def test_when_requests_arrive_and_what_precedes_them_does_not_shift_their_lengths(changes):
    changed = table(changes)
    own_tokens = changed["prompt_tokens"] - changed.get("prefix_tokens", 0)
    assert own_tokens.tolist() == table()["prompt_tokens"].tolist()
    assert changed["output_tokens"].tolist() == table()["output_tokens"].tolist()


def test_priorities_do_not_shift_tenants_nor_the_reverse():
    tenants, priorities = {"workload.tenants": {"a": 1.0, "b": 1.0}}, {"workload.priorities": {0: 1.0, 1: 1.0}}
    assert table(tenants, priorities)["tenant"].tolist() == table(tenants)["tenant"].tolist()
    assert table(tenants, priorities)["priority"].tolist() == table(priorities)["priority"].tolist()


def test_more_requests_begin_with_the_same():
    more = table({"workload.num_requests": 90})
    pd.testing.assert_frame_equal(more.iloc[:60], table(), check_exact=True)


def test_another_rate_scales_the_same_gaps():
    np.testing.assert_allclose(table({"workload.arrivals.rate": 16})["arrival_s"] * 2, table()["arrival_s"])


# ---- in words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"workload.arrivals.rate": 9}, "arrival times differ in 100.0% of the requests"),
        (PREFIXES, "prompt lengths differ in 100.0% of the requests"),
        ({"workload.num_requests": 90}, "90 requests, not 60"),
        ({"workload.max_new_tokens": 59}, "answer lengths differ in "),
        ({"workload.arrivals": {"process": "closed_loop", "users": 3}}, "arrival times differ in 100.0%"),
        ({"workload.conversations": {"turns": 2}}, "turns differ in 100.0%"),
    ],
)
def test_other_requests_are_named(changes, words):
    assert words in differing_requests(experiment(), experiment(changes))


def test_pauses_of_users_count_as_well():
    loops = [
        {
            "workload.arrivals": {
                "process": "closed_loop",
                "users": 3,
                "think_time_s": {"distribution": "fixed", "value": s},
            }
        }
        for s in (1, 2)
    ]
    found = differing_requests(*(experiment(loop) for loop in loops))
    assert found == "pauses differ in 100.0% of the requests"


# ---- strangers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [GAMMA, FIXED, {"workload.arrivals.rate": 1}, PREFIXES, {"workload.num_requests": 5}]
)
def test_what_shares_arrivals_or_lengths_can_be_paired(changes):
    refuse_strangers(experiment(), experiment(changes), "B", "A")


def test_what_shares_neither_is_refused_with_what_differs():
    with pytest.raises(sim.InputError) as error:
        refuse_strangers(experiment(), experiment(GAMMA, FIXED), "B (b.yaml)", "A (a.yaml)")
    assert str(error.value) == (
        "B (b.yaml): shares no requests with A (a.yaml): it has gamma arrivals with lengths of fixed answers and fixed "
        "prompts, A (a.yaml) has poisson arrivals with lengths of uniform answers and uniform prompts, so there is "
        "nothing to pair; give both the same workload section, or look at each by itself with servesim run "
        "--replications"
    )


def of_trace(folder, name: str, **keys: object) -> sim.Experiment:
    path = folder / name
    path.write_text("arrival_s,prompt_tokens,output_tokens\n0,10,5\n1,20,5\n2,30,5\n", encoding="utf-8")
    trace = {"path": str(path), "format": "csv", "jitter_s": 0.5, **keys}
    return experiment({"workload": {"trace": trace}})


def test_traces_pair_with_themselves_alone(tmp_path):
    one, faster, other = (
        of_trace(tmp_path, "a.csv"),
        of_trace(tmp_path, "a.csv", time_scale=0.5),
        of_trace(tmp_path, "b.csv"),
    )
    refuse_strangers(one, faster, "B", "A")
    for stranger in (other, experiment()):
        with pytest.raises(sim.InputError, match=r"has the trace .*a\.csv, so there is nothing to pair"):
            refuse_strangers(one, stranger, "B", "A")
