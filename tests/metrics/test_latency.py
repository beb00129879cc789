"""Latency statistics against numpy on the raw values, and gaps between tokens against a schedule log."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import CONSTANT, ONE_TOKEN_EACH, ORCA, PREEMPTING, STATIC, experiment, run

import sim
from sim.metrics.latency import latency_metrics
from sim.specs.metric_names import METRIC_NAMES
from sim.stats.series import SeriesSample

NUMPY = {
    "mean": np.mean,
    "std": np.std,
    "min": np.min,
    "max": np.max,
    "p50": lambda values: np.percentile(values, 50),
    "p90": lambda values: np.percentile(values, 90),
    "p95": lambda values: np.percentile(values, 95),
    "p99": lambda values: np.percentile(values, 99),
}
ENGINES = {
    "vllm-v1": {},
    "preempting": PREEMPTING,
    "chunked": {"engine.max_num_batched_tokens": 64},
    "orca": ORCA,
    "static": STATIC,
    "constant steps": CONSTANT,
}


def statistics(values) -> dict[str, float]:
    return {name: float(of(np.asarray(values))) for name, of in NUMPY.items()}


def found(metrics: dict[str, float | None], metric: str) -> dict[str, float | None]:
    return {name: metrics[f"{name}_{metric}"] for name in NUMPY}


@pytest.fixture(scope="module", params=ENGINES.values(), ids=ENGINES)
def logged(request):
    """A run and its schedule log."""
    records = []
    return sim.run(experiment(request.param), on_record=records.append), records


def tokens_of(records) -> dict[int, list[float]]:
    """When each request's tokens came out, read off the schedule log."""
    times = defaultdict(list)
    for record in records:
        for name in record["emitted"]:
            times[name].append(record["start_s"] + record["duration_s"])
    return times


@pytest.mark.parametrize("metric", ["ttft", "tpot", "e2e", "queue"])
def test_per_request_statistics_are_numpys(logged, metric):
    result, _ = logged
    values = result.requests[f"{metric}_s"].dropna().tolist()
    assert found(result.summary["sim"]["metrics"], metric) == pytest.approx(statistics(values))


def test_the_gaps_table_is_the_gaps_between_the_tokens_of_the_schedule_log(logged):
    result, records = logged
    expected = np.sort(np.concatenate([np.diff(times) for times in tokens_of(records).values()]))
    written_out = np.sort(np.repeat(result.gaps["gap_s"], result.gaps["tokens"]))
    np.testing.assert_allclose(written_out, expected, rtol=1e-9, atol=1e-9)


def test_itl_statistics_are_numpys_on_every_single_gap(logged):
    result, records = logged
    gaps = np.concatenate([np.diff(times) for times in tokens_of(records).values()])
    assert found(result.summary["sim"]["metrics"], "itl") == pytest.approx(statistics(gaps), abs=1e-9)


def test_first_and_last_token_are_those_of_the_schedule_log(logged):
    result, records = logged
    times = tokens_of(records)
    requests = result.requests.set_index("request_id")
    assert {i: seen[0] for i, seen in times.items()} == pytest.approx(requests["first_token_s"].to_dict())
    if result.experiment.engine.release == "on_finish":
        assert {i: seen[-1] for i, seen in times.items()} == pytest.approx(requests["finish_s"].to_dict())


def test_the_times_of_a_request_add_up(logged):
    result, _ = logged
    table = result.requests
    assert (table["ttft_s"] + table["first_token_s"].rsub(table["finish_s"])).tolist() == pytest.approx(
        table["e2e_s"].tolist()
    )
    assert table["queue_s"].tolist() == pytest.approx((table["scheduled_s"] - table["arrival_s"]).tolist())
    several = table[table["output_tokens"] > 1]
    per_token = (several["finish_s"] - several["first_token_s"]) / (several["output_tokens"] - 1)
    assert several["tpot_s"].tolist() == pytest.approx(per_token.tolist())


def test_the_preempting_run_does_preempt():
    assert run(PREEMPTING).requests["preemptions"].sum() > 0


GAPS = st.lists(st.tuples(st.floats(1e-4, 10), st.integers(1, 50)), min_size=1, max_size=20)


@given(gaps=GAPS)
def test_itl_counts_a_gap_once_a_token(gaps):
    gap_s, tokens = (np.array(column) for column in zip(*gaps, strict=True))
    sample = SeriesSample(gap_s, np.zeros(len(gaps)), np.ones(len(gaps), int), tokens)
    requests = pd.DataFrame({f"{metric}_s": [1.0] for metric in ("ttft", "tpot", "max_itl", "e2e", "queue")})
    written_out = np.repeat(gap_s, tokens)
    assert found(latency_metrics(requests, sample), "itl") == pytest.approx(statistics(written_out), abs=1e-12)


def test_every_metric_name_has_a_value():
    metrics = run().summary["sim"]["metrics"]
    assert tuple(metrics) == METRIC_NAMES
    assert None not in metrics.values()


def test_single_tokens_have_neither_tpot_nor_itl():
    result = run(ONE_TOKEN_EACH)
    metrics = result.summary["sim"]["metrics"]
    assert result.requests["tpot_s"].isna().all()
    assert result.gaps.empty
    for metric in ("tpot", "itl", "max_itl"):
        assert set(found(metrics, metric).values()) == {None}
    assert found(metrics, "ttft") == found(metrics, "e2e")


def test_one_request_is_all_its_own_percentiles():
    metrics = run({"workload.num_requests": 1}).summary["sim"]["metrics"]
    assert metrics["p50_ttft"] == metrics["p99_ttft"] == metrics["max_ttft"] == metrics["mean_ttft"]
    assert metrics["std_ttft"] == 0
