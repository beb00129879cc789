"""Replications: intervals by hand, what is left out at both ends, what is refused, and when they stop."""

from __future__ import annotations

import json
import math
from concurrent.futures import Executor, Future

import numpy as np
import pytest
from scipy import stats
from small_runs import CONSTANT, experiment

import sim
from sim.errors import InputError
from sim.stats.interval import Interval
from sim.study.across_runs import Sample
from sim.study.replicate import STUDIED, Outcome, kept_of
from sim.study.replicated import check_level, replicate
from sim.study.start_up import average_e2e_s, cool_down, start_up
from sim.study.store import to_json
from sim.study.targets import parse_targets

STEADY = CONSTANT | {"workload.num_requests": 240}
"""Steps of 10 ms, a moderate load."""

SERVICE = {"distribution": "fixed", "value": 0.1}
ONE_SEAT = {"engine.max_num_seqs": 1, "cost": {"kind": "per_request", "service_s": SERVICE}}
OVERLOADED = ONE_SEAT | {"workload.arrivals": {"process": "poisson", "rate": 20}, "workload.num_requests": 600}
ALL_AT_ONCE = {"workload.arrivals": {"process": "all_at_once"}}


@pytest.fixture(scope="module")
def replicated():
    return replicate(experiment(STEADY, {"slo": {"p99_ttft": 0.5}}), 12)


@pytest.fixture(scope="module")
def overloaded():
    return replicate(experiment(OVERLOADED), 4)


class Here(Executor):
    """A pool that counts what it runs, here."""

    def __init__(self):
        self.submitted = 0

    def submit(self, function, /, *args, **kwargs):
        self.submitted += 1
        future = Future()
        future.set_result(function(*args, **kwargs))
        return future


def interrupted_in_run(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Ctrl-C in the run of this number, which then says that it was interrupted."""
    runs, run = [], sim.study.seeded_runs.run

    def run_some(one):
        result = run(one)
        runs.append(one)
        result.summary["sim"]["interrupted"] = len(runs) == number
        return result

    monkeypatch.setattr("sim.study.seeded_runs.run", run_some)


# ---- numbers by hand -------------------------------------------------------------------------------------------------


def kept(outcome: Outcome, metric: str, replicated) -> np.ndarray:
    begun, values = replicated.start_up, outcome.per_request[metric]
    values = values[begun.requests : len(values) - begun.cool_down]
    return values[~np.isnan(values)]


def test_a_mean_has_students_interval(replicated):
    own = [kept(outcome, "ttft", replicated).mean() for outcome in replicated.outcomes]
    low, high = stats.t.interval(0.95, len(own) - 1, np.mean(own), stats.sem(own))
    found = replicated.intervals["mean_ttft"]
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(own), low, high), rel=1e-12)
    assert (found.level, found.n_effective) == (0.95, 12)


def test_a_percentile_is_that_of_all_requests_and_its_error_the_scatter_of_the_replications(replicated):
    samples = [kept(outcome, "e2e", replicated) for outcome in replicated.outcomes]
    overall, own = np.quantile(np.concatenate(samples), 0.5), np.array([np.quantile(one, 0.5) for one in samples])
    error = math.sqrt(((own - overall) ** 2).sum() / (12 * 11))
    found = replicated.intervals["p50_e2e"]
    assert found.value == pytest.approx(overall, rel=1e-12)
    assert found.half_width == pytest.approx(stats.t.ppf(0.975, 11) * error, rel=1e-9)


def test_a_rate_is_what_came_out_over_the_time_it_took(replicated):
    tokens, seconds = (
        np.array([outcome.summary[key] for outcome in replicated.outcomes], float)
        for key in ("total_output_tokens", "duration")
    )
    ratio = tokens.sum() / seconds.sum()
    error = (tokens - ratio * seconds).std(ddof=1) / math.sqrt(12) / seconds.mean()
    found = replicated.intervals["output_throughput"]
    assert (found.value, found.half_width) == pytest.approx((ratio, stats.t.ppf(0.975, 11) * error), rel=1e-9)


def test_another_level_makes_another_width():
    narrow, wide = (replicate(experiment(STEADY), 4, level).intervals["mean_e2e"] for level in (0.5, 0.99))
    assert (narrow.value, narrow.level, wide.level) == (wide.value, 0.5, 0.99)
    assert wide.half_width / narrow.half_width == pytest.approx(stats.t.ppf(0.995, 3) / stats.t.ppf(0.75, 3))


def test_every_metric_has_an_interval_or_a_reason(replicated):
    assert set(replicated.intervals) | set(replicated.refused) == set(STUDIED)
    assert not set(replicated.intervals) & set(replicated.refused)


def test_the_interval_covers_the_wait_of_a_queue_that_is_known():
    """M/M/1 at half load: E2E is exponential with a mean of two service times."""
    service = {"kind": "per_request", "service_s": {"distribution": "exponential", "mean": 0.1}}
    arrivals = {"workload.arrivals": {"process": "poisson", "rate": 5.0}, "workload.num_requests": 2000}
    queue = arrivals | {"engine.max_num_seqs": 1, "cost": service}
    found = replicate(experiment(queue), 20).intervals
    assert 0.2 in found["mean_e2e"]
    assert found["mean_e2e"].relative_half_width < 0.05
    assert 0.2 * math.log(2) in found["p50_e2e"]


def test_seeds_are_the_experiments_own_and_the_next_ones(replicated):
    assert [outcome.seed for outcome in replicated.outcomes] == list(range(3, 15))
    assert replicated.first.summary["sim"]["seed"] == 3
    alone = sim.run(experiment(STEADY, {"seed": 5})).summary["sim"]["metrics"]
    assert replicated.outcomes[2].summary["sim"]["metrics"] == alone


def test_a_pool_changes_nothing(replicated):
    pool = Here()
    other = replicate(experiment(STEADY, {"slo": {"p99_ttft": 0.5}}), 12, pool=pool)
    assert pool.submitted == 12
    assert other.intervals == replicated.intervals


# ---- start-up and cool-down ------------------------------------------------------------------------------------------


def outcome(e2e_s: list[float], gap_s: float = 1.0) -> Outcome:
    values = np.array(e2e_s)
    per_request = dict.fromkeys(("ttft", "tpot", "max_itl", "e2e", "queue"), values)
    return Outcome(0, {}, per_request, np.arange(len(values)) * gap_s)


def test_the_average_of_replications_goes_as_far_as_all_of_them():
    assert average_e2e_s([outcome([1, 2, 3]), outcome([3, 4])]).tolist() == [2, 3]


def test_where_conversations_begin_at_a_rate_the_cool_down_begins_when_the_last_one_has_begun():
    talks = {
        "workload.conversations": {"turns": 4, "think_time_s": 5},
        "workload.arrivals.rate": 2,
        "workload.num_requests": 80,
    }
    result = sim.run(experiment(talks))
    table = result.requests
    last_begins_s = table.groupby("session_id")["arrival_s"].min().max()
    by_arrival = table.sort_values("arrival_s")
    first_left_out = (by_arrival["finish_s"] > last_begins_s).to_numpy().argmax()
    assert cool_down([kept_of(result)]) == len(table) - first_left_out
    assert (table["arrival_s"] > last_begins_s).sum() > 20
    assert any("those under way only finish" in text for text in result.experiment.notes)


def test_the_cool_down_begins_with_the_first_request_that_outlasts_the_arrivals():
    """Arrivals at 0, 1, 2, 3 s: the third ends at 4 s, the second of the other at 3.5 s."""
    assert cool_down([outcome([1, 1, 2, 1])]) == 2
    assert cool_down([outcome([1, 1, 2, 1]), outcome([1, 2.5, 1, 1])]) == 3
    assert cool_down([outcome([0.5, 0.5, 0.5, 0.5])]) == 1


def test_start_up_ends_where_the_averages_have_risen():
    random = np.random.default_rng(1)
    rising = np.minimum(np.arange(400) / 100, 1) * 10
    found = start_up(experiment().workload, [outcome(list(rising + random.normal(0, 0.5, 400))) for _ in range(20)])
    assert 80 <= found.requests <= 140
    assert found.cool_down > 0
    assert found.how == "MSER-5 on the average of 20 replications"


def test_with_few_replications_or_short_ones_a_tenth_is_left_out():
    assert replicate(experiment(STEADY), 4).start_up.requests == 24
    assert replicate(experiment(CONSTANT), 12).start_up.how.startswith("a tenth, for MSER-5 takes 10 replications")


def test_traffic_that_begins_and_ends_is_taken_as_a_whole():
    found = replicate(experiment(CONSTANT, ALL_AT_ONCE), 4)
    assert (found.start_up.requests, found.start_up.cool_down) == (0, 0)
    assert found.start_up.how == "all requests arrive at once"
    own = [outcome.summary["sim"]["metrics"]["p99_e2e"] for outcome in found.outcomes]
    assert found.intervals["p99_e2e"].value == pytest.approx(np.mean(own))


def test_where_both_ends_leave_too_little_there_is_no_interval_of_latencies():
    found = replicate(experiment(CONSTANT, {"workload.arrivals": {"process": "poisson", "rate": 60}}), 4)
    assert "the last" in found.refused["mean_e2e"]
    assert "raise workload.num_requests" in found.refused["mean_e2e"]
    assert "output_throughput" in found.intervals
    assert found.sample.values["mean_e2e"][0] == found.first.summary["sim"]["metrics"]["mean_e2e"]


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_percentiles_of_short_runs_are_refused_with_what_they_take(replicated):
    assert "needs about 10,000 observations a replication" in replicated.refused["p99_ttft"]
    assert replicated.refused["p99_ttft"].endswith("; raise workload.num_requests")
    assert "gaps between tokens a replication" in replicate(experiment(CONSTANT), 3).refused["p99_itl"]


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_replications_are_refused_with_what_it_takes(count):
    found = replicate(experiment(CONSTANT), count)
    assert not found.intervals
    assert found.refused["mean_e2e"].endswith(f"needs about 3 replications, have {count}; replicate more often")


def test_an_overloaded_queue_has_no_interval_but_a_drift_and_a_rate_that_is_served(overloaded):
    assert not overloaded.intervals
    (reason,) = set(overloaded.refused.values())
    assert reason.startswith("the queue is unstable in 4 of 4 replications: ")
    assert "the number in the system grows by 9" in reason
    served = float(reason.partition("; about ")[2].split()[0])
    assert served == pytest.approx(10, rel=0.05)
    own = [outcome.summary["sim"]["metrics"]["p99_e2e"] for outcome in overloaded.outcomes]
    assert overloaded.table().loc["p99_e2e", "value"] == pytest.approx(np.mean(own))


def test_a_few_unstable_replications_are_noted(replicated):
    for one in replicated.outcomes[:2]:
        assert one.summary["sim"]["stability"]["verdict"] == "stable"
        one.summary["sim"]["stability"]["verdict"] = "unstable"
    try:
        assert "unstable in 2 of 12 replications" in replicated.result().summary["sim"]["notes"][-1]
    finally:
        for one in replicated.outcomes[:2]:
            one.summary["sim"]["stability"]["verdict"] = "stable"


def test_what_some_replications_lack_is_refused():
    some = [outcome([1, 2]), outcome([1, 2]), outcome([1, 2])]
    some[0].per_request["tpot"] = np.array([np.nan, np.nan])
    for one in some:
        metrics = dict.fromkeys(STUDIED, 1.0)
        one.summary.update(dict.fromkeys(STUDIED) | {"sim": {"metrics": metrics}})
    found = Sample(some, 1).interval("mean_tpot", 0.95)
    assert str(found).startswith("mean_tpot, which not every replication has")


def test_without_an_slo_there_is_no_goodput_to_speak_of():
    found = replicate(experiment(CONSTANT), 3)
    assert "request_goodput" not in found.table().index


def test_replications_in_which_the_seed_changes_nothing_are_noted():
    same = {
        "workload.arrivals": {"process": "deterministic", "rate": 8},
        "workload.lengths.prompt": {"distribution": "fixed", "value": 20},
        "workload.lengths.output": {"distribution": "fixed", "value": 5},
    }
    found = replicate(experiment(CONSTANT, same), 3)
    assert found.intervals["mean_e2e"].half_width < 1e-12
    assert "nothing in this experiment depends on the seed" in found.result().summary["sim"]["notes"][-1]


# ---- until -----------------------------------------------------------------------------------------------------------


def test_replications_stop_when_every_target_is_met():
    found = replicate(experiment(STEADY), 200, until="mean_e2e:3%,output_throughput:2.5%")
    assert 10 <= len(found.outcomes) < 200
    assert found.intervals["mean_e2e"].relative_half_width <= 0.03
    assert found.intervals["output_throughput"].relative_half_width <= 0.025
    assert all(aim.met for aim in found.aims)
    told = found.result().summary["sim"]["replications"]["until"]["mean_e2e"]
    assert told == {"wanted": 0.03, "reached": found.intervals["mean_e2e"].relative_half_width, "met": True}


def test_ten_replications_are_the_least_even_where_the_first_three_would_do():
    assert len(replicate(experiment(STEADY), until="mean_e2e:90%").outcomes) == 10


def test_a_cap_that_is_reached_is_noted_with_what_would_do():
    found = replicate(experiment(STEADY), 12, until="mean_e2e:0.1%")
    assert len(found.outcomes) == found.planned == 12
    (note,) = found.result().summary["sim"]["notes"]
    assert note.startswith("mean_e2e is within ")
    assert "not 0.1%, after 12 replications, the most that are allowed; about " in note
    assert not found.aims[0].met


def test_an_overloaded_queue_stops_at_the_first_look():
    found = replicate(experiment(OVERLOADED), until="mean_e2e:1%")
    assert len(found.outcomes) == 10
    assert "replications stopped after 10: the queue is unstable" in found.result().summary["sim"]["notes"][-1]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("p99_ttft", "--until 'p99_ttft': must be METRIC:PERCENT"),
        ("", "--until '': must be METRIC:PERCENT"),
        ("p99_tttf:5%", "unknown metric 'p99_tttf'; did you mean 'p99_ttft'? known: max_e2e"),
        ("p99.9_ttft:5%", "unknown metric 'p99.9_ttft'"),
        ("p99_ttft:five%", "got 'five%', must be a percentage above 0% and below 100%"),
        ("p99_ttft:5", "got '5', must be a percentage"),
        ("p99_ttft:0%", "got '0%', must be a percentage"),
        ("p99_ttft:100%", "got '100%', must be a percentage"),
        ("p99_ttft:nan%", "got 'nan%', must be a percentage"),
        ("p99_ttft:5%%", "got '5%%', must be a percentage"),
        ("mean_e2e:5%,mean_e2e:3%", "names a metric twice"),
    ],
)
def test_a_target_that_cannot_be_read(text, complaint):
    with pytest.raises(InputError) as caught:
        parse_targets(text)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ({"count": 0}, "count: got 0, must be at least 1"),
        ({"count": -3}, "count: got -3, must be at least 1"),
        ({"count": 9, "until": "mean_e2e:5%"}, "count: got 9, must be at least 10"),
        ({"level": 0.0}, "level: got 0, must be above 0 and below 1, such as 0.95"),
        ({"level": 1.0}, "level: got 1, must"),
        ({"level": 95}, "level: got 95, must"),
        ({"level": math.nan}, "level: got nan, must"),
        ({"level": 1 - 1e-16}, "level: got 1, must"),
        (
            {"until": "p99_ttft:5%"},
            "a P99 takes 10,000 requests in each replication, beside those of its start-up",
        ),
        ({"until": "request_goodput:5%"}, "without an SLO there is no goodput"),
    ],
)
def test_what_cannot_be_replicated_is_refused_before_anything_runs(words, complaint, monkeypatch):
    monkeypatch.setattr("sim.study.seeded_runs.run", None)
    with pytest.raises(InputError) as caught:
        replicate(experiment(), **words)
    assert complaint in str(caught.value)


def test_a_level_is_named_as_it_was_given():
    with pytest.raises(InputError, match="--level: got 2, must"):
        check_level(2.0, "--level")


def test_a_recorded_trace_is_replicated_only_with_jitter(tmp_path):
    trace = tmp_path / "t.csv"
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n0,10,3\n1,20,4\n", encoding="utf-8")
    spec = {"trace": {"path": str(trace), "format": "csv"}}
    with pytest.raises(InputError, match=r"give jitter_s, or replicate generated arrivals"):
        replicate(experiment({"workload": spec}), 3)
    spec["trace"]["jitter_s"] = 2.0
    assert len(replicate(experiment({"workload": spec}), 3).outcomes) == 3


def test_a_seed_that_cannot_be_served_is_named(monkeypatch):
    def refuse(one):
        raise InputError("workload.lengths: too long")

    monkeypatch.setattr("sim.study.seeded_runs.run", refuse)
    with pytest.raises(InputError, match=r"workload.lengths: too long \(with seed 3\)"):
        replicate(experiment(), 3)


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------


def test_ctrl_c_keeps_the_replications_that_are_finished(monkeypatch):
    interrupted_in_run(monkeypatch, 5)
    found = replicate(experiment(STEADY), 9)
    assert found.interrupted
    assert [outcome.seed for outcome in found.outcomes] == [3, 4, 5, 6]
    assert isinstance(found.intervals["mean_e2e"], Interval)
    told = found.result().summary["sim"]["replications"]
    assert (told["count"], told["planned"], told["interrupted"]) == (4, 9, True)


def test_ctrl_c_in_the_first_replication_leaves_nothing(monkeypatch):
    interrupted_in_run(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        replicate(experiment(STEADY), 9)


def test_ctrl_c_while_waiting_for_a_pool_keeps_what_is_finished(monkeypatch):
    monkeypatch.setattr("sim.study.workers.as_completed", list)
    finished = []

    def watch(count, planned):
        finished.append((count, planned))
        if count == 4:
            raise KeyboardInterrupt

    found = replicate(experiment(STEADY), 9, pool=Here(), on_done=watch)
    assert (found.interrupted, len(found.outcomes)) == (True, 4)
    assert finished == [(0, 9), (1, 9), (2, 9), (3, 9), (4, 9)]


# ---- tables ----------------------------------------------------------------------------------------------------------


def test_the_table_has_a_row_a_metric(replicated):
    table = replicated.table()
    assert list(table.columns) == ["value", "low", "high", "level", "n_effective", "method", "refused"]
    assert table.index.name == "metric"
    assert table.loc["mean_ttft", "low"] == replicated.intervals["mean_ttft"].low
    assert table["value"].notna().all()
    assert table["refused"].notna().sum() == len(replicated.refused)
    assert (table["refused"].notna() == table["low"].isna()).all()


def test_the_values_have_a_row_a_replication(replicated):
    values = replicated.values()
    assert values.index.tolist() == list(range(3, 15))
    assert values["stability"].tolist() == ["stable"] * 12
    assert values["mean_e2e"].mean() == pytest.approx(replicated.intervals["mean_e2e"].value)


def test_the_summary_is_that_of_the_first_replication_and_what_all_say(replicated):
    summary = replicated.result().summary
    ours = summary["sim"]
    assert summary["p99_ttft_ms"] == replicated.first.summary["p99_ttft_ms"]
    assert "intervals" not in replicated.first.summary["sim"]
    assert set(ours["intervals"]["mean_ttft"]) == {"value", "low", "high", "level", "n_effective", "method"}
    assert ours["no_intervals"] == replicated.refused
    assert ours["replications"]["values"]["mean_ttft"] == pytest.approx(replicated.values()["mean_ttft"], rel=1e-5)
    assert ours["replications"]["stability"] == {"stable": 12}
    assert json.loads(to_json(summary)) == summary


def test_growth_ends_with_the_interval_of_all(replicated):
    for name in ("mean_ttft", "p50_e2e", "output_throughput"):
        growth, whole = replicated.sample.growth(name, 0.95), replicated.intervals[name]
        assert growth["replications"].tolist() == list(range(1, 13))
        assert growth.iloc[-1][["value", "low", "high"]].tolist() == [whole.value, whole.low, whole.high]
        assert growth["low"].isna().tolist()[:2] == [True, True]


def test_lists_of_numbers_are_written_on_one_line():
    told = {"a": [1, 2.5, None], "b": ["x", "[\n1\n]"], "c": [], "d": [[1, 2], [3]]}
    assert '"a": [1, 2.5, null]' in to_json(told)
    assert json.loads(to_json(told)) == told
