"""Rates and concurrency, by hand and against the schedule log."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from small_runs import ORCA, PREEMPTING, STATIC, experiment, run

import sim

ENGINES = {"vllm-v1": {}, "preempting": PREEMPTING, "orca": ORCA, "static": STATIC}
ONE_BY_ONE = {
    "cost": {"kind": "constant", "step_s": 0.25},
    "engine.max_num_seqs": 1,
    "workload.arrivals": {"process": "deterministic", "rate": 0.5},
    "workload.lengths": {
        "prompt": {"distribution": "fixed", "value": 10},
        "output": {"distribution": "fixed", "value": 6},
    },
    "workload.num_requests": 3,
}
"""Arrivals at 0, 2, 4 s; each has its first token after 0.25 s and its answer after 1.5 s, so all is over at 5.5 s."""


def test_rates_by_hand():
    result = run(ONE_BY_ONE)
    assert result.summary["duration"] == 5.5
    assert result.summary["sim"]["throughput"] == pytest.approx(
        {
            "offered_request_rate": 2 / 4,
            "input_throughput": 30 / 5.5,
            "prefill_throughput": 30 / (3 * 0.25),
            "mean_concurrent_requests": 3 * 1.5 / 5.5,
        }
    )


def test_most_tokens_in_a_second_by_hand():
    """Tokens at 0.25, 0.5, 0.75 | 1, 1.25, 1.5 s, and so on every two seconds: three in each busy second."""
    assert run(ONE_BY_ONE).summary["max_output_tokens_per_s"] == 3


@pytest.mark.parametrize("changes", ENGINES.values(), ids=ENGINES)
def test_most_tokens_in_a_second_of_the_schedule_log(changes):
    records = []
    summary = sim.run(experiment(changes), on_record=records.append).summary
    start_s = records[0]["start_s"]
    tokens = Counter()
    for record in records:
        tokens[int(record["start_s"] + record["duration_s"] - start_s)] += len(record["emitted"])
    assert summary["max_output_tokens_per_s"] == max(tokens.values())
    assert summary["max_output_tokens_per_s"] >= summary["output_throughput"]


@pytest.mark.parametrize("changes", ENGINES.values(), ids=ENGINES)
def test_mean_concurrency_is_the_time_average_of_requests_in_the_system(changes):
    """Σ E2E is ∫N dt, here summed over the pieces between arrivals and departures."""
    result = run(changes)
    arrivals, finishes = result.requests["arrival_s"].to_numpy(), result.requests["finish_s"].to_numpy()
    times = np.unique(np.concatenate([arrivals, finishes]))
    inside = [((arrivals <= now) & (finishes > now)).sum() for now in times[:-1]]
    average = np.dot(inside, np.diff(times)) / result.summary["duration"]
    assert result.summary["sim"]["throughput"]["mean_concurrent_requests"] == pytest.approx(average)


def test_requests_that_come_at_once_have_no_rate():
    assert run(PREEMPTING).summary["sim"]["throughput"]["offered_request_rate"] is None
    assert run({"workload.num_requests": 1}).summary["sim"]["throughput"]["offered_request_rate"] is None


def test_without_prefix_cache_nothing_hits():
    assert run().summary["sim"]["kv_cache"]["hit_fraction"] == 0.0
