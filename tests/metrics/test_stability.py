"""The verdict on the queue, with constant steps as the server: one request a second with one seat."""

from __future__ import annotations

import pytest
from small_runs import run

SERVED_PER_S = 10.0


def single_server(rate: float, **changes) -> dict:
    """The verdict on an M/D/1 queue that serves ten requests a second."""
    return run(
        {
            "engine.max_num_seqs": 1,
            "cost": {"kind": "constant", "step_s": 1 / SERVED_PER_S},
            "workload.arrivals": {"process": "poisson", "rate": rate},
            "workload.lengths.output": {"distribution": "fixed", "value": 1},
            "workload.num_requests": 1000,
        },
        changes,
    ).summary["sim"]["stability"]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("load", [1.3, 2.0])
def test_overload_is_unstable_and_drifts_by_what_is_not_served(load, seed):
    found = single_server(load * SERVED_PER_S, seed=seed)
    assert found["verdict"] == "unstable"
    assert found["drift_requests_per_s"] == pytest.approx((load - 1) * SERVED_PER_S, rel=0.3)


@pytest.mark.parametrize("seed", range(20))
def test_load_below_one_is_stable(seed):
    found = single_server(0.8 * SERVED_PER_S, seed=seed)
    assert found["verdict"] == "stable"
    assert abs(found["drift_requests_per_s"]) < 0.01 * 0.8 * SERVED_PER_S


def test_few_requests_seldom_raise_a_false_alarm():
    """At the least number of requests that gets a verdict, a load of 0.9 is called unstable once in ten at most."""
    changes = {"workload.num_requests": 200}
    verdicts = [single_server(0.9 * SERVED_PER_S, seed=seed, **changes)["verdict"] for seed in range(60)]
    assert verdicts.count("unstable") <= 6


def test_the_reason_of_an_unstable_queue_says_how_fast_it_grows_and_what_is_served():
    reason = single_server(1.5 * SERVED_PER_S)["reason"]
    assert "grows by" in reason
    assert "requests/s are served" in reason


@pytest.mark.parametrize("process", ["deterministic", "gamma"])
def test_any_arrival_process_gets_a_verdict(process):
    cv = {"cv": 0.5} if process == "gamma" else {}
    slow, fast = (
        single_server(0, **{"workload.arrivals": {"process": process, "rate": rate, **cv}})["verdict"]
        for rate in (5.0, 15.0)
    )
    assert (slow, fast) == ("stable", "unstable")


def test_all_at_once_has_no_rate_to_keep_up_with():
    found = single_server(0, **{"workload.arrivals": {"process": "all_at_once"}})
    assert (found["verdict"], found["drift_requests_per_s"]) == ("unknown", None)


@pytest.mark.parametrize(("requests", "known"), [(199, False), (200, True)])
def test_few_requests_tell_nothing(requests, known):
    found = single_server(5.0, **{"workload.num_requests": requests})
    assert (found["verdict"] != "unknown") == known
    assert known or found["drift_requests_per_s"] is None


def test_a_trace_of_one_instant_is_unknown(tmp_path):
    trace = tmp_path / "burst.csv"
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n" + "1.5,10,1\n" * 250, encoding="utf-8")
    result = run({"workload": {"trace": {"path": str(trace), "format": "csv"}}})
    assert result.summary["sim"]["stability"]["verdict"] == "unknown"
