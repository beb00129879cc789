"""Facts of the literature about metrics, by their numbers, on simulated runs."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import textbook
from small_runs import CONSTANT, PREEMPTING, run

from sim import formulas


def fixed(prompt: int, output: int) -> dict:
    """Everybody's lengths in tokens."""
    return {
        "workload.lengths.prompt": {"distribution": "fixed", "value": prompt},
        "workload.lengths.output": {"distribution": "fixed", "value": output},
    }


def linear_in_tokens(prompt_tokens_per_s: float, tpot_s: float) -> dict:
    """Steps that take a time a token and nothing else; no iteration costs anything by itself."""
    return {
        "cost": {
            "kind": "affine",
            "per_step_s": 0.0,
            "per_prefill_token_s": 1 / prompt_tokens_per_s,
            "per_decode_token_s": tpot_s,
        },
        "engine.max_model_len": 2048,
    }


ALL_AT_ONCE = {"workload.arrivals": {"process": "all_at_once"}}
ALONE = {"workload.arrivals": {"process": "deterministic", "rate": 1e-3}}
"""Requests so far apart that they never meet."""


@pytest.fixture(scope="module", params=[{}, PREEMPTING], ids=["plain", "preempting"])
def result(request):
    return run(request.param)


def test_s21_latency_is_affine_in_output_tokens_with_tpot_as_slope():
    """y = TTFT + TPOT·(n - 1), not TTFT + TPOT·n: the prefill already yields the first token."""
    fixed_prompt = {"workload.lengths.prompt": {"distribution": "fixed", "value": 100}}
    requests = run(ALONE, linear_in_tokens(250, 0.016), fixed_prompt).requests
    slope, intercept = np.polyfit(requests["output_tokens"] - 1, requests["e2e_s"], 1)
    assert (slope, intercept) == pytest.approx((0.016, 0.4), rel=1e-9)
    assert np.corrcoef(requests["output_tokens"], requests["e2e_s"])[0, 1] ** 2 == pytest.approx(1, rel=1e-9)


def test_s40_ttft_latency_and_a_tpot_without_the_first_token(result):
    requests = result.requests
    np.testing.assert_allclose(requests["ttft_s"], requests["first_token_s"] - requests["arrival_s"], rtol=1e-12)
    np.testing.assert_allclose(requests["e2e_s"], requests["finish_s"] - requests["arrival_s"], rtol=1e-12)
    several = requests[requests["output_tokens"] > 1]
    after_first_s = several["finish_s"] - several["first_token_s"]
    np.testing.assert_allclose(several["tpot_s"], after_first_s / (several["output_tokens"] - 1), rtol=1e-12)


def test_s40_tokens_per_second_of_a_request_are_its_tokens_over_its_latency(result):
    several = result.requests[result.requests["output_tokens"] > 1]
    formula = [
        textbook.tokens_per_s(row.ttft_s, row.tpot_s, row.output_tokens) for row in several.itertuples(index=False)
    ]
    np.testing.assert_allclose(formula, several["tps_per_user"], rtol=1e-9)
    np.testing.assert_allclose(formula, several["output_tokens"] / several["e2e_s"], rtol=1e-9)


def test_s40_throughput_is_the_sum_over_concurrent_requests():
    together = run(CONSTANT, ALL_AT_ONCE, fixed(prompt=20, output=50), {"workload.num_requests": 16})
    rates = together.requests["output_tokens"] / together.requests["e2e_s"]
    assert rates.nunique() == 1
    assert together.summary["output_throughput"] == pytest.approx(rates.sum(), rel=1e-9)


def test_s41_latency_is_ttft_and_the_gaps_between_tokens(result):
    requests, gaps = result.requests, result.gaps
    several = requests[requests["output_tokens"] > 1]
    formula = [formulas.latency_s(row.ttft_s, row.tpot_s, row.output_tokens) for row in several.itertuples(index=False)]
    np.testing.assert_allclose(formula, several["e2e_s"], rtol=1e-9)
    assert (gaps["gap_s"] * gaps["tokens"]).sum() == pytest.approx((requests["e2e_s"] - requests["ttft_s"]).sum())


def test_s49_ttft_is_prompt_over_prefill_rate_and_under_load_the_queue_before_it():
    """1024 tokens at 2321.44 a second take 441.105 ms; the second request waits that long first."""
    one_seat = {"engine.max_num_seqs": 1, "workload.num_requests": 2}
    rate = 1024 / 0.4411047493189189
    requests = run(linear_in_tokens(rate, 0.01), fixed(1024, 1), ALL_AT_ONCE, one_seat).requests
    assert requests["queue_s"].tolist() == pytest.approx([0, 0.4411047493], rel=1e-9)
    assert requests["ttft_s"].tolist() == pytest.approx([0.4411047493, 2 * 0.4411047493], rel=1e-9)


def test_s50_response_time_counts_the_first_token_once():
    """A prefill of 0.5 s and 100 tokens at 50 a second: 2.48 s, not 2.5."""
    requests = run(linear_in_tokens(1000, 1 / 50), fixed(500, 100), ALONE).requests
    assert requests["e2e_s"].tolist() == pytest.approx([2.48] * len(requests), rel=1e-9)


def test_s80_the_decode_rate_leaves_out_the_token_at_which_the_clock_starts():
    requests = run(linear_in_tokens(1000, 0.02), fixed(500, 100), ALONE).requests
    after_first_s = (requests["finish_s"] - requests["first_token_s"]).tolist()
    rates = [textbook.decode_rate(100, seconds) for seconds in after_first_s]
    assert rates == pytest.approx([50] * len(requests))
    np.testing.assert_allclose(1 / requests["tpot_s"], rates, rtol=1e-9)


def test_s78_the_worst_of_a_rate_is_its_low_end():
    """95 % of 101 requests are faster than p5 of their speed, which belongs to p95 of their latency: both are the same
    request's, for all have the same number of tokens."""
    served = run(fixed(50, 50), {"workload.num_requests": 101})
    worst_tps = served.summary["sim"]["requests"]["tps_per_user"]["p5"]
    assert worst_tps == pytest.approx(50 / served.summary["sim"]["metrics"]["p95_e2e"], rel=1e-9)
    assert (served.requests["tps_per_user"] > worst_tps * (1 + 1e-9)).sum() == 95


def test_s87_latency_is_queueing_and_prefill_and_decode_time(result):
    requests = result.requests
    parts = requests["queue_s"] + requests["prefill_s"] + requests["decode_s"]
    np.testing.assert_allclose(parts, requests["e2e_s"], rtol=0, atol=1e-9)
    prefill_tps = requests["prompt_tokens"].sum() / requests["prefill_s"].sum()
    assert result.summary["sim"]["throughput"]["prefill_throughput"] == pytest.approx(prefill_tps, rel=1e-9)
