"""The summary: vLLM's keys equal to the tables, goodput and SLOs by hand."""

from __future__ import annotations

import json
import math
import signal

import numpy as np
import pytest
from small_runs import CONSTANT, ONE_TOKEN_EACH, PREEMPTING, STATIC, experiment, run

import sim
from sim.metrics.summary import VLLM_METRICS

STATISTICS = ("mean", "median", "std", "p50", "p90", "p95", "p99")
HEADER = {
    "date", "backend", "model_id", "tokenizer_id", "num_prompts", "request_rate", "burstiness", "max_concurrency",
    "duration", "completed", "failed", "total_input_tokens", "total_output_tokens", "request_throughput",
    "request_goodput", "output_throughput", "total_token_throughput", "max_output_tokens_per_s",
    "max_concurrent_requests",
}  # fmt: skip
SERVED_ONE_BY_ONE = {
    "cost": {"kind": "constant", "step_s": 1.0},
    "engine.max_num_seqs": 1,
    "workload.arrivals": {"process": "all_at_once"},
    "workload.lengths.output": {"distribution": "fixed", "value": 2},
    "workload.num_requests": 4,
}
"""TTFT 1, 3, 5, 7 s, E2E 2, 4, 6, 8 s, TPOT 1 s; all over after 8 s."""


@pytest.fixture(scope="module", params=[{}, PREEMPTING, STATIC], ids=["vllm-v1", "preempting", "static"])
def result(request):
    return run(request.param)


def test_it_has_vllms_keys_and_ours_under_sim(result):
    latencies = {f"{statistic}_{metric}_ms" for metric in VLLM_METRICS for statistic in STATISTICS}
    assert set(result.summary) == HEADER | latencies | {"sim"}
    assert set(VLLM_METRICS) == {"ttft", "tpot", "itl", "e2el"}


@pytest.mark.parametrize(("theirs", "ours"), [("ttft", "ttft_s"), ("tpot", "tpot_s"), ("e2el", "e2e_s")])
def test_latencies_are_those_of_the_table_in_milliseconds(result, theirs, ours):
    values = result.requests[ours].dropna() * 1e3
    expected = {"mean": np.mean(values), "median": np.median(values), "std": np.std(values)}
    expected |= {f"p{level}": np.percentile(values, level) for level in (50, 90, 95, 99)}
    assert {name: result.summary[f"{name}_{theirs}_ms"] for name in STATISTICS} == pytest.approx(expected)


def test_itl_is_that_of_the_gaps_in_milliseconds(result):
    gaps = np.repeat(result.gaps["gap_s"], result.gaps["tokens"]) * 1e3
    assert result.summary["mean_itl_ms"] == pytest.approx(np.mean(gaps))
    assert result.summary["p99_itl_ms"] == pytest.approx(np.percentile(gaps, 99))


def test_throughput_is_the_tables_over_the_duration(result):
    summary, requests = result.summary, result.requests
    duration_s = requests["finish_s"].max() - requests["arrival_s"].min()
    prompts, outputs = requests["prompt_tokens"].sum(), requests["output_tokens"].sum()
    assert summary["duration"] == duration_s
    assert (summary["completed"], summary["failed"], summary["num_prompts"]) == (60, 0, 60)
    assert (summary["total_input_tokens"], summary["total_output_tokens"]) == (prompts, outputs)
    assert summary["request_throughput"] == pytest.approx(60 / duration_s)
    assert summary["output_throughput"] == pytest.approx(outputs / duration_s)
    assert summary["total_token_throughput"] == pytest.approx((prompts + outputs) / duration_s)


def test_most_requests_at_once_by_brute_force(result):
    """Just after each arrival, counting who has come and not gone."""
    arrivals, finishes = result.requests["arrival_s"], result.requests["finish_s"]
    in_system = [((arrivals <= now) & (finishes > now)).sum() for now in arrivals]
    assert result.summary["max_concurrent_requests"] == max(in_system)


@pytest.mark.parametrize(
    ("arrivals", "rate", "burstiness"),
    [
        ({"process": "poisson", "rate": 8}, 8, 1.0),
        ({"process": "gamma", "rate": 8, "cv": 2.0}, 8, 0.25),
        ({"process": "deterministic", "rate": 8}, 8, None),
        ({"process": "all_at_once"}, "inf", None),
    ],
)
def test_rate_and_burstiness_as_vllm_writes_them(arrivals, rate, burstiness):
    summary = run({"workload.arrivals": arrivals, "workload.num_requests": 5}).summary
    assert (summary["request_rate"], summary["burstiness"]) == (rate, burstiness)


def test_the_preempting_run_counts_its_preemptions(result):
    kv = result.summary["sim"]["kv_cache"]
    assert kv["preemptions"] == result.requests["preemptions"].sum() == result.iterations["preemptions"].sum()
    assert (kv["recomputed_tokens"] > 0) == (kv["preemptions"] > 0)


# ---- SLO and goodput -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slo", "good"),
    [
        ({"p99_ttft": 5.0}, 3),
        ({"p50_ttft": 0.5}, 0),
        ({"p99_ttft": 5.0, "mean_e2e": 4.0}, 2),
        ({"p50_ttft": 3.0, "p99_ttft": 7.0}, 2),
        ({"p99_tpot": 1.0}, 4),
        ({"p99_queue": 2.5}, 2),
    ],
)
def test_goodput_counts_requests_within_every_limit(slo, good):
    result = run(SERVED_ONE_BY_ONE, {"slo": slo})
    assert result.requests["ttft_s"].tolist() == [1, 3, 5, 7]
    assert result.summary["request_goodput"] == pytest.approx(good / 8)
    assert result.summary["sim"]["slo"]["good_request_fraction"] == good / 4


def test_goodput_does_not_judge_requests_by_the_gaps_between_all_tokens():
    report = run(SERVED_ONE_BY_ONE, {"slo": {"p99_itl": 0.1}}).summary
    assert report["request_goodput"] is None
    assert report["sim"]["slo"] == {
        "met": False, "limits": {"p99_itl": 0.1}, "values": {"p99_itl": 1.0}, "good_request_fraction": None,
    }  # fmt: skip


@pytest.mark.parametrize(("limit", "met"), [(7.0, True), (6.9, False)])
def test_an_slo_is_met_up_to_its_limit(limit, met):
    report = run(SERVED_ONE_BY_ONE, {"slo": {"max_ttft": limit, "mean_e2e": 5.0}}).summary["sim"]["slo"]
    assert report["met"] is met
    assert report["values"] == {"max_ttft": 7.0, "mean_e2e": 5.0}


def test_without_slo_there_is_no_goodput():
    summary = run(SERVED_ONE_BY_ONE).summary
    assert summary["request_goodput"] is None
    assert summary["sim"]["slo"] is None


def test_single_tokens_keep_every_tpot_limit():
    """vLLM counts the TPOT of a single token as 0: all requests are good, and so the SLO on TPOT is met."""
    report = run(ONE_TOKEN_EACH, {"slo": {"p99_tpot": 0.001}}).summary["sim"]["slo"]
    assert report["good_request_fraction"] == 1.0
    assert report["met"]


# ---- form ------------------------------------------------------------------------------------------------------------


def test_it_is_plain_json(result):
    assert json.loads(json.dumps(result.summary, allow_nan=False)) == result.summary


def test_numbers_are_finite_even_for_one_request_of_one_token():
    def check(value):
        if isinstance(value, dict):
            for inner in value.values():
                check(inner)
        assert not isinstance(value, float) or math.isfinite(value)

    check(run(CONSTANT, ONE_TOKEN_EACH, {"workload.num_requests": 1}).summary)


def test_it_says_what_the_defaults_decided():
    result = run(STATIC, {"engine.max_num_batched_tokens": 512})
    assert any("max_num_batched_tokens" in note for note in result.summary["sim"]["notes"])


def test_an_interrupted_run_holds_what_was_finished():
    def stop_at_step_50(record):
        if record["step"] == 50:
            signal.raise_signal(signal.SIGINT)

    result = sim.run(experiment(), on_record=stop_at_step_50)
    assert result.summary["sim"]["interrupted"]
    assert result.summary["sim"]["audit"] is None
    assert 0 < result.summary["completed"] == len(result.requests) < 60
