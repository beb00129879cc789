"""The capacity of engines whose capacity is known without simulation, and every refusal."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from scipy.optimize import brentq
from small_runs import experiment

import sim
from sim.study.capacity import Capacity
from sim.study.capacity.load import dial_for
from sim.study.capacity.runs import Order, Runs
from sim.study.capacity.slo import slo_from

SERVICE_S = 0.1
SINGLE_SERVER: dict[str, Any] = {
    "engine.max_num_seqs": 1,
    "cost": {"kind": "constant", "step_s": SERVICE_S},
    "workload.lengths.prompt": {"distribution": "fixed", "value": 1},
    "workload.lengths.output": {"distribution": "fixed", "value": 1},
}
"""M/D/1: a request is one step, served alone."""
FEW = {"replications": 3}
SLOTS: dict[str, Any] = {"engine.max_num_seqs": 4, "workload.lengths.output": {"distribution": "fixed", "value": 30}}
CLOSED = {"workload.arrivals": {"process": "closed_loop", "users": 1}}
LOCK_STEP: dict[str, Any] = SINGLE_SERVER | CLOSED | {
    "engine.max_num_seqs": 256,
    "cost": {"kind": "affine", "per_step_s": 0.01, "per_sequence_s": 0.002},
    "workload.lengths.output": {"distribution": "fixed", "value": 10},
}  # fmt: skip
"""Users without think time, all in one batch: R = k(alpha + beta N)."""


def find(*changes: dict[str, Any], slo: str, **options: Any) -> Capacity:
    return sim.capacity(experiment(*changes), slo, **options)


def mean_wait_s(rate: float) -> float:
    """Pollaczek-Khinchine."""
    return rate * SERVICE_S**2 / (2 * (1 - rate * SERVICE_S))


def share_that_waits_up_to(wait_s: float, rate: float) -> float:
    """P(W <= t) of M/D/1 = (1 - rho) sum over k <= t/S of (lambda(kS - t))^k / k! e^(-lambda(kS - t)) (Erlang 1909)."""
    gaps = [(k, rate * (k * SERVICE_S - wait_s)) for k in range(math.floor(wait_s / SERVICE_S) + 1)]
    return (1 - rate * SERVICE_S) * math.fsum(gap**k / math.factorial(k) * math.exp(-gap) for k, gap in gaps)


def assert_found(answer: Capacity, exact: float) -> None:
    """Within 3 %, and within twice the interval: that one of many intervals misses by a little is to be expected."""
    assert answer.value == pytest.approx(exact, rel=0.03)
    assert abs(answer.value - exact) <= 2 * answer.interval.half_width


# ---- closed forms ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def single_server() -> Capacity:
    """Waits of 0.2 s on average at 8 requests a second."""
    return find(SINGLE_SERVER, slo="mean_queue<0.2")


def test_a_mean_wait_is_reached_at_the_rate_of_the_formula(single_server):
    assert mean_wait_s(8) == pytest.approx(0.2)
    assert_found(single_server, 8)
    assert single_server.interval.relative_half_width < 0.02
    assert (single_server.unit, single_server.saturation) == ("requests/s", pytest.approx(10, rel=0.01))


def test_the_share_of_requests_within_a_limit():
    exact = brentq(lambda rate: share_that_waits_up_to(0.5, rate) - 0.95, 1, 9.5)
    answer = find(SINGLE_SERVER, slo="queue<0.5", attainment=0.95, replications=12)
    assert_found(answer, exact)
    assert answer.binding.slo == "attainment"


def test_of_a_joint_slo_the_limit_that_is_reached_first_binds():
    """TTFT is the wait and the step: 0.2 s on average at 6.67 requests/s, where the wait alone is far from 0.4 s."""
    exact = brentq(lambda rate: mean_wait_s(rate) + SERVICE_S - 0.2, 1, 9.5)
    answer = find(SINGLE_SERVER, slo="mean_queue<0.4,mean_ttft<0.2", replications=12)
    assert_found(answer, exact)
    assert answer.binding.slo == "mean_ttft"
    assert answer.binding.resource == "slots"
    assert "waiting for seats" in answer.binding.why


def test_users_are_counted_whole():
    """R = k(alpha + beta N): 20 users wait 0.5 s for an answer, 21 wait 0.52 s."""
    answer = find(LOCK_STEP, slo="mean_e2e<0.51", **FEW)
    assert (answer.value, answer.interval.low, answer.interval.high) == (20, 20, 20)
    assert (answer.unit, answer.over) == ("users", "users")


# ---- what comes with the answer --------------------------------------------------------------------------------------


def test_the_curve_has_one_knee_and_says_where_the_slo_is_missed(single_server):
    table = single_server.table()
    assert isinstance(table, pd.DataFrame)
    assert table["rate"].is_monotonic_increasing
    assert table["knee"].sum() == 1
    assert (table.loc[table["rate"] < 0.95 * single_server.value, "status"] == "met").all()
    assert (table.loc[table["rate"] > 1.05 * single_server.value, "status"] != "met").all()
    assert table["status"].iloc[-1] == "unstable"


def test_the_knee_is_where_throughput_over_response_time_is_highest(single_server):
    """M/D/1 has its highest power at rho = 2 - sqrt 2; half and 0.7 of saturation are on the curve."""
    assert single_server.knee is not None
    assert single_server.knee.load == pytest.approx(10 * (2 - 2**0.5), rel=0.2)


def test_all_requests_are_counted_and_the_budget_is_kept(single_server):
    assert single_server.simulated_requests < 400_000
    runs = Runs(dial_for(experiment()), slo_from("mean_ttft<1"), 100, None, None)
    with pytest.raises(sim.InputError, match=r"budget_requests: 100 simulated requests are too few: 60 are .*raise it"):
        runs.make([Order(1.0, 60, 0)]) and runs.make([Order(1.0, 60, 1)])


def test_as_many_replications_as_asked_for_a_note_that_they_are_too_few_and_the_same_answer_again():
    answer, again = (find(SINGLE_SERVER, slo="mean_queue<0.2", **FEW) for _ in range(2))
    assert answer.interval.n_effective == 3
    assert answer.notes[0].startswith("the interval is within ±")
    assert answer.to_dict() == again.to_dict()


def test_slots_bind_where_every_one_is_taken():
    answer = find(SLOTS, slo="p90_ttft<1", **FEW)
    assert answer.binding.resource == "slots"
    assert answer.kv.at is None
    assert answer.kv.margin is None


def test_kv_blocks_bind_where_requests_are_preempted():
    small = {"engine.num_gpu_blocks": 40, "workload.lengths.output": {"distribution": "fixed", "value": 60}}
    answer = find(small, slo="p90_ttft<1", **FEW)
    assert answer.binding.resource == "KV blocks"
    assert answer.kv.at is not None
    assert answer.kv.margin == pytest.approx(answer.kv.at / answer.value - 1)
    assert answer.kv.peak_used_fraction == pytest.approx(1, abs=0.05)


# ---- refusals --------------------------------------------------------------------------------------------------------

TRACE = "arrival_s,prompt_tokens,output_tokens\n" + "\n".join(f"{0.2 * n},1,1" for n in range(500))


@pytest.mark.parametrize(
    ("slo", "words"),
    [
        ("", r'slo: nothing to meet; give one, such as "p99_ttft<0.5,p99_tpot<0.05"'),
        ("p99_ttft", r"slo 'p99_ttft': must be METRIC<SECONDS, several separated by commas, such as "),
        ("p99_ttft<abc", r"must be METRIC<SECONDS"),
        ("p99_ttft<0.5,", r"must be METRIC<SECONDS"),
        ("p99_tft<1", r"slo: unknown metric 'p99_tft'; did you mean 'p99_ttft'.*other percentiles, such as p99.5_ttft"),
        ("p99_ttft<0", r"slo.p99_ttft: got 0 s, must be above 0 and finite; correct the limit"),
        ("p99_ttft<1,p99_ttft<2", r"limits a metric twice; drop one"),
        ("max_ttft<1", r"'max_ttft' depends on how long one looks.*limit a percentile, such as p99_ttft"),
        ("ttft<1", r"'ttft' is a limit on each request.*give attainment, such as 0.99, or .* such as p99_ttft"),
        (
            "p99.99_ttft<1",
            r"slo.p99.99_ttft: takes runs of 1,176,471 requests.*limit a lower percentile.*\(--budget 35294130\)",
        ),
    ],
)
def test_an_slo_that_cannot_be_read_or_measured(slo, words):
    with pytest.raises(sim.InputError, match=words):
        find(slo=slo)


def test_an_unknown_metric_lists_those_there_are():
    with pytest.raises(sim.InputError, match=r"mean_e2e.*p99_tpot"):
        find(slo="latency<1")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"attainment": 1.0}, r"attainment: got 1, must be above 0 and below 1, such as 0.99"),
        ({"attainment": 0.9, "slo": "p99_itl<1"}, r"attainment: slo limits p99_itl, which no single request can keep"),
        ({"level": 1.0}, r"level: got 1, must be above 0 and below 1, such as 0.95"),
        ({"replications": 2}, r"replications: got 2, must be at least 3, or left out"),
        ({"over": "gpus"}, r"over: got 'gpus', must be rate or users"),
        ({"over": "users"}, r"over: users, but the requests come from poisson.*search over rate, or set workload"),
    ],
)
def test_an_option_that_makes_no_sense(options, words):
    with pytest.raises(sim.InputError, match=words):
        find(**({"slo": "p99_ttft<1"} | options))


@pytest.mark.parametrize(
    ("arrivals", "over", "words"),
    [
        ({"process": "closed_loop", "users": 2}, "rate", r"over: rate, but .* closed loop.*search over users, or set"),
        ({"process": "all_at_once"}, None, r"workload.arrivals: all_at_once has no rate; set workload.arrivals="),
    ],
)
def test_arrivals_that_have_nothing_to_turn(arrivals, over, words):
    with pytest.raises(sim.InputError, match=words):
        find({"workload.arrivals": arrivals}, slo="p99_ttft<1", over=over)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"engine.max_concurrent_requests": 20}, r"engine.max_concurrent_requests: requests that are lost .* drop it"),
        ({"workload.patience_s": 2}, r"workload.patience_s: requests that are lost have no latency.*drop it"),
        ({"workload.conversations": {"turns": 3}}, r"workload.conversations: .*search over users"),
    ],
)
def test_loads_that_are_not_what_is_served(change, words):
    with pytest.raises(sim.InputError, match=words):
        find(change, slo="p99_ttft<1")


def test_an_slo_that_is_missed_by_an_idle_engine():
    with pytest.raises(
        sim.InputError, match=r"slo.mean_ttft: is 0.1 s even at .*requests hardly meet.*raise the limit"
    ):
        find(SINGLE_SERVER, slo="mean_ttft<0.09")


def test_an_attainment_that_is_missed_by_an_idle_engine():
    with pytest.raises(sim.InputError, match=r"attainment: 0.00% of requests keep their limits even at .*lower it"):
        find(SINGLE_SERVER, slo="ttft<0.09", attainment=0.9)


def test_an_slo_that_is_met_at_every_rate():
    with pytest.raises(sim.InputError, match=r"is met at every rate .* up to about 10 requests/s .*; .* lower a limit"):
        find(SINGLE_SERVER, slo="p90_tpot<1")


def test_an_slo_that_only_an_overloaded_engine_misses():
    with pytest.raises(sim.InputError, match=r"mean_ttft <= 30 s is met at every rate that the engine keeps up with"):
        find(SINGLE_SERVER, slo="mean_ttft<30")


def test_an_slo_that_is_met_with_any_number_of_users():
    with pytest.raises(sim.InputError, match=r"is met with any number of users: .*limit ttft or e2e, which grow"):
        find(SINGLE_SERVER, CLOSED, slo="p90_tpot<1")


# ---- recordings ------------------------------------------------------------------------------------------------------


def recorded(tmp_path, text: str) -> dict[str, Any]:
    path = tmp_path / "trace.csv"
    path.write_text(text, encoding="utf-8")
    return {"workload": {"trace": {"path": str(path), "format": "csv"}}}


def test_a_recording_that_is_too_short_for_its_percentile(tmp_path):
    with pytest.raises(
        sim.InputError, match=r"slo.p99_ttft: takes 2,353 requests, and the trace has 500; limit a lower"
    ):
        find(SINGLE_SERVER, recorded(tmp_path, TRACE), slo="p99_ttft<1")


def test_a_recording_is_stretched_until_its_queue_grows(tmp_path):
    """Even arrivals never wait until they come faster than they are served, once every 0.1 s."""
    with pytest.raises(sim.InputError, match=r"is met at every rate that the engine keeps up with"):
        find(SINGLE_SERVER, recorded(tmp_path, TRACE), slo="p90_tpot<0.15")


def test_the_capacity_of_a_recording_has_no_sampling_error(tmp_path):
    """Bursts of ten, 5 seconds apart: the last of a burst waits for nine others until bursts overlap at 10 a second."""
    bursts = "arrival_s,prompt_tokens,output_tokens\n" + "\n".join(f"{5 * (n // 10)},1,1" for n in range(1000))
    answer = find(SINGLE_SERVER, recorded(tmp_path, bursts), slo="p90_queue<0.95")
    assert answer.value == pytest.approx(10, rel=0.02)
    assert answer.interval.method.startswith("one recording")
