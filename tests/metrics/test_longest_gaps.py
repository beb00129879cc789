"""The longest gap of each request is that between its tokens in the schedule log."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from scenarios import Scenario, scenarios
from small_runs import ONE_TOKEN_EACH, PREEMPTING, STATIC, experiment, run

import sim
from sim.metrics.longest_gaps import longest_gaps_s
from sim.serving.simulation import simulate

ANY = experiment()
ENGINES = {
    "vllm-v1": {},
    "asynchronous": {"engine.async_scheduling": True},
    "preempting": PREEMPTING,
    "preempting, asynchronous": PREEMPTING | {"engine.async_scheduling": True},
    "chunked": {"engine.max_num_batched_tokens": 64},
    "static": STATIC,
    "static in chunks": STATIC | {"engine.enable_chunked_prefill": True, "engine.long_prefill_token_threshold": 32},
    "static, on finish": STATIC | {"engine.release": "on_finish"},
}


def longest_of_log(records) -> dict[int, float]:
    """Between the ends of the steps whose outputs the tokens are; NaN of a single token."""
    ends_s = {record["step"]: record["start_s"] + record["duration_s"] for record in records}
    times = defaultdict(list)
    for record in records:
        for name in record.get("emitted", ()):
            times[name].append(ends_s[record["output_of_step"]])
    return {name: np.diff(seen).max() if len(seen) > 1 else np.nan for name, seen in sorted(times.items())}


@pytest.mark.parametrize("changes", ENGINES.values(), ids=ENGINES)
def test_of_every_engine(changes):
    records = []
    logged = sim.run(experiment(changes), on_record=records.append)
    expected = longest_of_log(records)
    for result in (run(changes), logged):
        found = result.requests.set_index("request_id")["max_itl_s"].to_dict()
        assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(scenario=scenarios())
def test_of_any_engine(scenario: Scenario):
    case, records = ANY.model_copy(update={"engine": scenario.engine, "cost": scenario.cost}), []
    simulate(case, scenario.workload, records.append)
    everybody = np.arange(len(scenario.workload))
    found = longest_gaps_s(simulate(case, scenario.workload), everybody)
    assert found == pytest.approx([longest_of_log(records)[name] for name in everybody], abs=1e-9, nan_ok=True)


def test_an_answer_held_until_the_end_of_its_batch_has_no_gap_after_its_last_token():
    """Steps of 10 ms, the batch ends with the longest answer: TPOT counts the wait, the longest gap does not."""
    table = run(STATIC, {"cost": {"kind": "constant", "step_s": 0.01}}).requests
    several = table[table["output_tokens"] > 1]
    assert (several["tpot_s"] > 0.0101).any()
    np.testing.assert_allclose(several["max_itl_s"], 0.01, atol=1e-9)


def test_a_preempted_request_waits_longest():
    table = run(PREEMPTING).requests
    preempted = table["preemptions"] > 0
    assert table["max_itl_s"][preempted].median() > 2 * table["max_itl_s"][~preempted].median()


def test_it_bounds_the_mean_and_is_bounded_by_the_longest_of_all():
    result = run(PREEMPTING)
    several = result.requests[result.requests["output_tokens"] > 1]
    assert (several["max_itl_s"] >= several["tpot_s"] - 1e-12).all()
    assert several["max_itl_s"].max() == pytest.approx(result.summary["sim"]["metrics"]["max_itl"])


def test_steps_that_take_no_time_have_gaps_of_none():
    free = {"cost": {"kind": "affine", "per_step_s": 0, "per_prefill_token_s": 0.001}}
    table = run(free, {"workload.arrivals": {"process": "deterministic", "rate": 1}}).requests
    assert set(table["max_itl_s"].dropna()) == {0.0}


def test_a_single_token_has_none():
    assert run(ONE_TOKEN_EACH).requests["max_itl_s"].isna().all()


def test_an_slo_on_it_is_one_for_each_request():
    """Of the mean as a metric name, a limit on each request for goodput."""
    result = run(PREEMPTING, {"slo": {"p99_max_itl": 0.05}})
    within = (result.requests["max_itl_s"].fillna(0) <= 0.05).mean()
    assert 0 < within < 1
    assert result.summary["sim"]["slo"]["good_request_fraction"] == within
    values = result.requests["max_itl_s"].dropna()
    assert result.summary["sim"]["slo"]["values"]["p99_max_itl"] == pytest.approx(np.percentile(values, 99))
