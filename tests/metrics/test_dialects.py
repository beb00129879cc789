"""Each tool's own result, recomputed by that tool's definitions from the requests table and the gaps."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small_runs import ONE_TOKEN_EACH, PREEMPTING, run

from sim.metrics.dialects import DIALECTS

SLO = {"slo": {"p99_ttft": 0.02, "p99_tpot": 0.013}}
PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)


@pytest.fixture(scope="module", params=[SLO, PREEMPTING], ids=["with SLO", "preempting"])
def result(request):
    return run(request.param)


def spoken(result, tool):
    return DIALECTS[tool](result.summary, result.requests)


def gaps_ms(result):
    return np.repeat(result.gaps["gap_s"], result.gaps["tokens"]) * 1e3


def arrays(found, *names):
    """Per-request arrays of a result, of equal length."""
    columns = [np.array(found[name]) for name in names]
    assert len({len(column) for column in columns}) == 1
    return columns


@pytest.mark.parametrize("tool", DIALECTS)
def test_it_is_plain_json(result, tool):
    found = spoken(result, tool)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


# ---- vLLM ------------------------------------------------------------------------------------------------------------


def test_vllm_is_flat_and_has_nothing_of_ours(result):
    found = spoken(result, "vllm")
    assert not any(isinstance(value, dict) for value in found.values())
    assert {"endpoint_type", "label", "num_prompts", "request_rate", "burstiness", "p99_itl_ms"} < set(found)
    assert "sim" not in found
    assert "itls" not in found


def test_vllms_statistics_are_those_of_its_arrays(result):
    found = spoken(result, "vllm")
    inputs, outputs, ttfts, latencies = arrays(found, "input_lens", "output_lens", "ttfts", "latencies")
    several = outputs > 1
    tpots = (latencies - ttfts)[several] / (outputs - 1)[several]
    for metric, values in {"ttft": ttfts, "tpot": tpots, "e2el": latencies}.items():
        assert found[f"mean_{metric}_ms"] == pytest.approx(np.mean(values) * 1e3)
        assert found[f"std_{metric}_ms"] == pytest.approx(np.std(values) * 1e3)
        assert found[f"p99_{metric}_ms"] == pytest.approx(np.percentile(values, 99) * 1e3)
    assert (found["total_input_tokens"], found["total_output_tokens"]) == (inputs.sum(), outputs.sum())
    assert found["output_throughput"] == pytest.approx(outputs.sum() / found["duration"])
    assert (np.array(found["start_times"]) + latencies).max() - min(found["start_times"]) == pytest.approx(
        found["duration"]
    )


@pytest.mark.parametrize("tool", ["vllm", "sglang"])
def test_a_statistic_of_nothing_is_0(tool):
    found = spoken(run(ONE_TOKEN_EACH), tool)
    assert found["mean_tpot_ms"] == found["p99_itl_ms"] == 0.0
    assert found["mean_ttft_ms"] > 0


# ---- SGLang ----------------------------------------------------------------------------------------------------------


def test_sglangs_statistics_under_its_names(result):
    found, table = spoken(result, "sglang"), result.requests
    samples = {"ttft": table["ttft_s"] * 1e3, "tpot": table["tpot_s"].dropna() * 1e3, "itl": gaps_ms(result)}
    for metric, values in (samples | {"e2e_latency": table["e2e_s"] * 1e3}).items():
        expected = {"mean": np.mean(values), "median": np.median(values), "std": np.std(values)}
        expected |= {f"p{level}": np.percentile(values, level) for level in (90, 95, 99)}
        assert {name: found[f"{name}_{metric}_ms"] for name in expected} == pytest.approx(expected)


def test_sglangs_rates_and_concurrency(result):
    found, table = spoken(result, "sglang"), result.requests
    duration_s = table["finish_s"].max() - table["arrival_s"].min()
    prompts, outputs = table["prompt_tokens"].sum(), table["output_tokens"].sum()
    assert found["input_throughput"] == pytest.approx(prompts / duration_s)
    assert found["total_throughput"] == pytest.approx((prompts + outputs) / duration_s)
    assert found["concurrency"] == pytest.approx(table["e2e_s"].sum() / duration_s)
    assert "total_token_throughput" not in found
    assert not any("e2el" in name for name in found)


# ---- AIPerf ----------------------------------------------------------------------------------------------------------


def test_aiperfs_distributions_are_over_requests_in_its_units(result):
    found, table = spoken(result, "aiperf"), result.requests
    several = table[table["output_tokens"] > 1]
    mean_gap_s = (several["finish_s"] - several["first_token_s"]) / (several["output_tokens"] - 1)
    samples = {
        "time_to_first_token": ("ms", (table["first_token_s"] - table["arrival_s"]) * 1e3),
        "inter_token_latency": ("ms", mean_gap_s * 1e3),
        "request_latency": ("ms", (table["finish_s"] - table["arrival_s"]) * 1e3),
        "output_token_throughput_per_user": ("tokens/sec/user", 1 / mean_gap_s),
        "input_sequence_length": ("tokens", table["prompt_tokens"]),
        "output_sequence_length": ("tokens", table["output_tokens"]),
    }
    for name, (unit, values) in samples.items():
        expected = {"avg": np.mean(values), "std": np.std(values), "min": np.min(values), "max": np.max(values)}
        expected |= {f"p{level}": np.percentile(values, level) for level in PERCENTILES}
        expected |= {"count": len(values), "sum": np.sum(values)}
        assert found[name].pop("unit") == unit
        assert found[name] == pytest.approx(expected)


def test_aiperfs_inter_token_latency_weighs_requests_and_vllms_tokens(result):
    theirs, vllms = spoken(result, "aiperf")["inter_token_latency"]["avg"], spoken(result, "vllm")["mean_itl_ms"]
    assert theirs == pytest.approx(result.requests["tpot_s"].mean() * 1e3)
    assert vllms == pytest.approx(gaps_ms(result).mean())
    assert abs(theirs - vllms) > 0.005


def test_aiperfs_numbers_of_the_run(result):
    found, table = spoken(result, "aiperf"), result.requests
    duration_s = table["finish_s"].max() - table["arrival_s"].min()
    expected = {
        "request_throughput": ("requests/sec", 60 / duration_s),
        "output_token_throughput": ("tokens/sec", table["output_tokens"].sum() / duration_s),
        "effective_concurrency": ("requests", table["e2e_s"].sum() / duration_s),
        "request_count": ("requests", 60),
        "benchmark_duration": ("sec", duration_s),
    }
    for name, (unit, value) in expected.items():
        assert found[name] == {"unit": unit, "avg": pytest.approx(value)}
    assert found["schema_version"] == "1.4"


def test_aiperfs_goodput_counts_requests_within_the_limits():
    result = run(SLO)
    found, table = spoken(result, "aiperf"), result.requests
    good = ((table["ttft_s"] <= 0.02) & (table["tpot_s"].fillna(0) <= 0.013)).sum()
    assert 0 < good < 60
    assert found["good_request_count"]["avg"] == good
    assert found["good_request_fraction"]["avg"] == good / 60
    assert found["goodput"]["avg"] == pytest.approx(good / result.summary["duration"])


def test_aiperf_leaves_out_what_no_request_has():
    found = spoken(run(ONE_TOKEN_EACH), "aiperf")
    assert {"inter_token_latency", "output_token_throughput_per_user", "goodput"}.isdisjoint(found)
    assert "time_to_first_token" in found
