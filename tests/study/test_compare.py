"""Experiments compared under common random numbers."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from small_runs import CONSTANT, ONE_TOKEN_EACH, experiment

import sim
from sim.stats.interval import Interval
from sim.study import paired_runs
from sim.study.compare import DEFAULT_METRICS, keys
from sim.study.compare_words import percent_interval, sentences, spoken
from sim.study.compared import Difference
from sim.study.start_up import start_up

REPOSITORY = Path(__file__).parents[2]
SMALL, LARGE = {"engine.max_num_batched_tokens": 64}, {"engine.max_num_batched_tokens": 512}
SLO = {"slo": {"p99_ttft": 0.05}}
BUSY = {"workload.arrivals.rate": 20, "workload.num_requests": 300}
OVERLOADED = BUSY | CONSTANT | {"engine.max_num_seqs": 1}


@pytest.fixture(scope="module")
def compared():
    """Two token budgets, five seeds."""
    return sim.compare([experiment(SMALL, SLO, BUSY), experiment(LARGE, SLO, BUSY)], replications=5)


def difference(compared, name: str, key: str = "B") -> Difference:
    (metric,) = [metric for metric in compared.metrics if metric.name == name]
    found = metric.differences[key]
    assert isinstance(found, Difference), found
    return found


def of_values(compared, name: str) -> tuple[np.ndarray, ...]:
    values = compared.values()
    return tuple(values.loc[values["config"] == system.key, name].to_numpy() for system in compared.systems)


# ---- notes ---------------------------------------------------------------------------------------------------------


def test_requests_that_are_lost_are_told_of():
    limited = experiment({"engine.max_concurrent_requests": 3, "workload.arrivals.rate": 30})
    found = sim.compare([experiment({"workload.arrivals.rate": 30}), limited], replications=3, metrics=["mean_e2e"])
    assert [text for text in found.notes if text.startswith("B loses ") and text.endswith("compare goodput")]
    assert not [text for text in found.notes if text.startswith("A loses")]


# ---- numbers ---------------------------------------------------------------------------------------------------------


def test_every_config_runs_under_the_same_seeds(compared):
    assert compared.seeds == [3, 4, 5, 6, 7]
    assert all([outcome.seed for outcome in system.outcomes] == compared.seeds for system in compared.systems)


def test_each_replication_is_the_run_that_it_says(compared):
    alone = sim.run(experiment(LARGE, SLO, BUSY, {"seed": 5}))
    _, b = of_values(compared, "request_throughput")
    assert b[2] == alone.summary["request_throughput"]
    first, last = compared.start_up.requests, compared.start_up.cool_down
    _, b = of_values(compared, "p99_ttft")
    assert b[2] == pytest.approx(np.percentile(alone.requests["ttft_s"].iloc[first : 300 - last], 99))


@pytest.mark.parametrize("name", DEFAULT_METRICS)
def test_intervals_are_scipys(compared, name):
    a, b = of_values(compared, name)
    found = difference(compared, name).found
    expected = stats.ttest_rel(b, a)
    interval = expected.confidence_interval(0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high))
    assert difference(compared, name).p_value == pytest.approx(expected.pvalue, rel=1e-6)
    (metric,) = [metric for metric in compared.metrics if metric.name == name]
    of_a = stats.t.interval(0.95, 4, a.mean(), stats.sem(a))
    assert (metric.intervals["A"].low, metric.intervals["A"].high) == pytest.approx(of_a)


@pytest.mark.parametrize("name", DEFAULT_METRICS)
def test_relative_differences_and_variances_by_hand(compared, name):
    a, b = of_values(compared, name)
    found, ratio = difference(compared, name).found, (b - a).sum() / a.sum()
    half_width = stats.t.ppf(0.975, 4) * np.std(b - a - ratio * a, ddof=1) / np.sqrt(5) / a.mean()
    assert found.relative.value == pytest.approx(ratio)
    assert found.relative.high - found.relative.value == pytest.approx(half_width)
    assert found.variance_reduction == pytest.approx((a.var(ddof=1) + b.var(ddof=1)) / (b - a).var(ddof=1))


def test_both_ends_are_left_out_alike(compared):
    alone = [start_up(system.experiment.workload, system.outcomes) for system in compared.systems]
    assert compared.start_up.requests == max(one.requests for one in alone) == 30
    assert compared.start_up.cool_down == max(one.cool_down for one in alone) > 0


def test_whole_runs_are_compared_where_there_is_no_steady_state():
    found = sim.compare([experiment(OVERLOADED), experiment(OVERLOADED, SMALL)], 3)
    assert (found.start_up.requests, found.start_up.cool_down) == (0, 0)
    assert any(note.startswith("whole runs are compared, both ends included: of 300 requests") for note in found.notes)


def test_another_level_gives_other_widths():
    pair = [experiment(SMALL), experiment(LARGE)]
    widths = [difference(sim.compare(pair, 3, level), "p50_ttft").found.difference.half_width for level in (0.5, 0.99)]
    ratio = stats.t.ppf(0.995, 2) / stats.t.ppf(0.75, 2)
    assert widths[1] / widths[0] == pytest.approx(ratio)


# ---- verdicts --------------------------------------------------------------------------------------------------------


def test_what_differs_is_called_so(compared):
    verdicts = {metric.name: metric.differences["B"].verdict for metric in compared.metrics}
    assert verdicts["p99_ttft"] == verdicts["p50_ttft"] == "lower"
    assert verdicts["p99_itl"] == "higher"
    assert verdicts["request_throughput"] == "same"


def test_sentences_tell_everything_once(compared):
    (sentence,) = sentences(compared)
    assert re.match(r"B lowers P50 TTFT by [\d.]+ % \[[\d.]+, [\d.]+\]", sentence)
    assert re.search(r"; raises .*P99 ITL by [\d.]+ % \[[\d.]+, [\d.]+\]", sentence)
    assert re.search(r"; (P50 TPOT and )?request throughput unchanged within ±2 %\.$", sentence)
    assert all(sentence.count(spoken(metric.name)) == 1 for metric in compared.metrics)


def test_how_much_counts_as_nothing_is_the_askers_choice():
    pair = [experiment(SMALL, BUSY), experiment(LARGE, BUSY)]
    assert difference(sim.compare(pair, 3, same_within=0.99), "p99_ttft").verdict == "same"
    assert difference(sim.compare(pair, 3, same_within=0.0), "request_throughput").verdict != "same"


def test_several_are_all_compared_with_the_first_and_held_to_more():
    several = [
        experiment(SMALL, BUSY),
        experiment({"engine.max_num_batched_tokens": 66}, BUSY),
        experiment(LARGE, BUSY),
    ]
    found = sim.compare(several, replications=4, metrics=["p99_ttft", "p99_e2e"])
    for name in ("p99_ttft", "p99_e2e"):
        a, b, c = of_values(found, name)
        raw = sorted([(stats.ttest_rel(b, a).pvalue, "B"), (stats.ttest_rel(c, a).pvalue, "C")])
        corrected = {raw[0][1]: 2 * raw[0][0], raw[1][1]: max(2 * raw[0][0], raw[1][0])}
        for key in ("B", "C"):
            one = difference(found, name, key)
            assert one.p_value == pytest.approx(min(1, corrected[key]), rel=1e-6)
            assert one.found.difference.level == pytest.approx(0.975)
    assert [sentence[0] for sentence in sentences(found)] == ["B", "C"]


def test_a_difference_that_only_holms_test_sees_is_seen(monkeypatch):
    """Of two others the first is certain, so the second is tested at 5 %, while its interval is one at 97.5 %."""
    several = [experiment({"engine.max_num_batched_tokens": tokens}) for tokens in (64, 128, 512)]
    fake = {"A": np.zeros(6), "B": [5, 5.1, 5, 4.9, 5, 5.2], "C": [0.2, 1.8, 1, 0.4, 1.7, 0.1]}
    monkeypatch.setattr(
        "sim.study.compare.Sample", lambda *_: type("", (), {"values": {"mean_e2e": list(next(samples))}})
    )
    samples = iter(1 + np.array(values) for values in fake.values())
    found = sim.compare(several, 3, metrics=["mean_e2e"])
    one = difference(found, "mean_e2e", "C")
    assert one.found.difference.low < 0 < one.found.difference.high
    assert (one.found.verdict, one.verdict) == ("unknown", "higher")
    assert 0.025 < one.p_value < 0.05


def test_a_queue_that_is_unstable_has_no_intervals_and_says_so():
    found = sim.compare([experiment(BUSY), experiment(OVERLOADED), experiment(LARGE, BUSY)], 3)
    assert found.systems[1].unstable
    for metric in found.metrics:
        assert metric.intervals["B"] == metric.differences["B"] == "the queue of B is unstable"
        assert metric.means["B"] > 0
        assert isinstance(metric.differences["C"], Difference)
    assert found.metrics[0].differences["C"].found.difference.level == pytest.approx(0.95)  # the only one left
    assert sentences(found)[0] == "B cannot be compared: its queue is unstable."
    assert any(note.startswith("B has no intervals: the queue is unstable in 3 of 3") for note in found.notes)


def test_nothing_is_compared_with_an_unstable_queue():
    found = sim.compare([experiment(OVERLOADED), experiment(BUSY)], 3)
    assert all(metric.differences["B"] == "the queue of A is unstable" for metric in found.metrics)
    (sentence,) = sentences(found)
    assert sentence == "Nothing can be compared with A, whose queue is unstable; lower the load of all."


def test_what_a_system_does_not_have_is_no_number():
    found = sim.compare([experiment(), experiment(ONE_TOKEN_EACH)], 3)
    (tpot,) = [metric for metric in found.metrics if metric.name == "p99_tpot"]
    assert (tpot.means["B"], tpot.intervals["B"], tpot.differences["B"]) == (None, *["B does not have it"] * 2)
    assert "P99 TPOT: B does not have it" in sentences(found)[0]
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_a_difference_from_nothing_is_told_in_its_unit():
    hopeless = {"slo": {"p99_ttft": 1e-6}}
    found = sim.compare([experiment(hopeless), experiment(LARGE, hopeless)], 3, metrics=["request_goodput"])
    assert sentences(found) == ["B: goodput unchanged within ±2 %."]
    assert found.table()["relative"].isna().all()


# ---- what pairing gains ----------------------------------------------------------------------------------------------


def shipped(requests: int) -> list[sim.Experiment]:
    path = REPOSITORY / "configs" / "compare-token-budget.yaml"
    size = f"workload.num_requests={requests}"
    return [sim.load_experiment(path, [f"engine.max_num_batched_tokens={tokens}", size]) for tokens in (512, 2048)]


def test_pairing_cuts_the_variance_on_a_short_form_of_the_shipped_pair():
    found = sim.compare(shipped(900), replications=8, metrics=["p50_ttft", "p99_ttft"])
    assert all(metric.differences["B"].verdict == "lower" for metric in found.metrics)
    assert difference(found, "p99_ttft").found.variance_reduction > 4


@pytest.mark.deep
def test_pairing_cuts_the_variance_on_the_shipped_pair():
    """6.6 times under the seeds it has (docs/compare.md)."""
    found = sim.compare(shipped(3000), replications=20, metrics=["p99_ttft"])
    assert not any(system.unstable for system in found.systems)
    assert difference(found, "p99_ttft").verdict == "lower"
    assert 4 < difference(found, "p99_ttft").found.variance_reduction < 11


# ---- the result ------------------------------------------------------------------------------------------------------


def test_the_table_has_a_row_a_metric_and_config(compared):
    table = compared.table()
    assert table["metric"].tolist() == list(DEFAULT_METRICS)
    assert set(table["unit"]) == {"s", "requests/s"}
    np.testing.assert_allclose(table["difference"], table["value"] - table["a_value"], atol=1e-12)
    assert (table["a_value_low"] < table["a_value"]).all()
    assert table["why_not"].isna().all()


def test_the_json_object_is_documented(compared):
    document = (REPOSITORY / "docs" / "compare.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+)`", document))

    def names(value: object) -> set[str]:
        if not isinstance(value, dict):
            return set()
        return set(value) | {name for inner in value.values() for name in names(inner)}

    known_by_data = {"A", "B", "stable", "unstable", "unknown", *DEFAULT_METRICS}
    assert names(compared.to_dict()) - known_by_data <= named
    assert json.loads(json.dumps(compared.to_dict(), allow_nan=False)) == compared.to_dict()


def test_a_difference_without_variance_is_null_in_json():
    pair = [experiment(CONSTANT), experiment(CONSTANT, {"engine.max_num_batched_tokens": 8000})]
    found = sim.compare(pair, 3)
    assert difference(found, "p99_ttft").found.variance_reduction == math.inf
    assert difference(found, "p99_ttft").verdict == "same"
    assert found.to_dict()["metrics"]["p99_ttft"]["differences"]["B"]["variance_reduction"] is None


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((0.18, 0.12, 0.24), "+18 % [+12, +24]"),
        ((-0.18, -0.24, -0.12), "-18 % [-24, -12]"),
        ((0.004, 0.001, 0.007), "+0.4 % [+0.1, +0.7]"),
        ((2.767, 2.761, 2.774), "+276.7 % [+276.1, +277.4]"),
        ((0.0, -0.0004, 0.0004), "0.00 % [-0.04, +0.04]"),
        ((-0.00001, -0.02, 0.02), "0 % [-2, +2]"),
        ((0.5, 0.5, 0.5), "+50 % [+50, +50]"),
    ],
)
def test_percentages_have_the_digits_that_they_are_worth(interval, text):
    value, low, high = interval
    assert percent_interval(Interval(value, low, high, 0.95, 20, "by hand")) == text


def test_configs_are_called_by_letters():
    assert keys(3) == ["A", "B", "C"]
    assert keys(28)[25:] == ["Z", "A1", "B1"]


# ---- what cannot be compared -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("experiments", "options", "complaint"),
    [
        ([{}], {}, "compare: got one config (small), must be two or more; add one, or --vary KEY=VALUE,VALUE"),
        ([], {}, "compare: got no config, must be two or more"),
        ([{}, {}], {}, "B (small): is the same experiment as A (small), but for name, seed and slo"),
        ([{}, {"seed": 9}], {}, "B (small): is the same experiment as A (small)"),
        ([{}, SMALL, {"name": "x"}], {}, "C (x): is the same experiment as A (small)"),
        ([{}, SMALL], {"replications": 0}, "replications: got 0, must be at least 3"),
        ([{}, SMALL], {"replications": 2}, "replications: got 2, must be at least 3"),
        ([{}, SMALL], {"level": 0.0}, "level: got 0, must be above 0 and below 1"),
        ([{}, SMALL], {"level": 1.0}, "level: got 1, must be above 0 and below 1"),
        ([{}, SMALL], {"same_within": -0.1}, "same_within: got -0.1, must be at least 0 and below 1"),
        ([{}, SMALL], {"metrics": []}, "metrics: got none, must name at least one"),
        ([{}, SMALL], {"metrics": ["p99_tft"]}, "metrics: unknown metric 'p99_tft'; did you mean 'p99_ttft'? known: "),
        ([{}, SMALL], {"metrics": ["request_goodput"]}, "request_goodput cannot be compared: there is no slo"),
        ([SLO, SMALL], {"metrics": ["request_goodput"]}, "cannot be compared: not all have the same slo"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_before_anything_runs(experiments, options, complaint, monkeypatch):
    monkeypatch.setattr(paired_runs, "outcome_of", lambda _: pytest.fail("ran"))
    with pytest.raises(sim.InputError) as error:
        sim.compare([experiment(changes) for changes in experiments], **options)
    assert complaint in str(error.value)


def test_a_trace_that_no_seed_changes_is_refused(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n0,10,5\n1,20,5\n", encoding="utf-8")
    trace = {"workload": {"trace": {"path": str(path), "format": "csv"}}}
    with pytest.raises(sim.InputError, match="the same in every replication"):
        sim.compare([experiment(trace), experiment(trace, SMALL)], 3)


def test_an_error_in_a_run_says_in_which(monkeypatch):
    original = paired_runs.outcome_of

    def failing(one):
        if one.seed == 4:
            raise sim.InputError("workload.lengths: too long")
        return original(one)

    monkeypatch.setattr(paired_runs, "outcome_of", failing)
    with pytest.raises(sim.InputError, match=r"too long \(in A with seed 4\)"):
        sim.compare([experiment(), experiment(SMALL)], 3)


# ---- notes -----------------------------------------------------------------------------------------------------------


def test_other_requests_are_pointed_out():
    pair = [experiment(), experiment({"workload.arrivals.rate": 9}), experiment(SMALL)]
    notes = sim.compare(pair, 3).notes
    assert notes == (
        "other requests than A's are served by B: arrival times differ in 100.0% of the requests; the more of them "
        "differ, the less pairing helps",
    )


def test_all_have_the_seeds_of_the_first():
    found = sim.compare([experiment(), experiment(SMALL, {"seed": 100})], 3, labels=["one", "other"])
    assert "B (other) has seed 100, but is run under those of A, from 3 on" in found.notes
    assert not any("requests" in note for note in found.notes)


def test_goodput_under_different_limits_is_left_out_with_a_word():
    found = sim.compare([experiment(SLO), experiment(SMALL)], 3)
    assert "request_goodput" not in [metric.name for metric in found.metrics]
    assert any(note.startswith("goodput is not compared: not all have the same slo") for note in found.notes)


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------


def interrupted_after(runs: int, monkeypatch) -> None:
    original, done = paired_runs.outcome_of, []

    def outcome_of(one):
        if len(done) == runs:
            raise KeyboardInterrupt
        done.append(one)
        return original(one)

    monkeypatch.setattr(paired_runs, "outcome_of", outcome_of)


def test_ctrl_c_keeps_the_replications_that_all_have_finished(monkeypatch):
    interrupted_after(9, monkeypatch)
    found = sim.compare([experiment(), experiment(SMALL)], replications=10)
    assert (found.seeds, found.planned, found.interrupted) == ([3, 4, 5, 6], 10, True)
    assert [len(system.outcomes) for system in found.systems] == [4, 4]


def test_ctrl_c_before_there_is_an_interval_ends_it(monkeypatch):
    interrupted_after(5, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        sim.compare([experiment(), experiment(SMALL)], replications=10)


def test_who_waits_hears_of_each_run():
    heard = []
    sim.compare([experiment(), experiment(SMALL)], 3, on_done=lambda done, of: heard.append((done, of)))
    assert heard == [(done, 6) for done in range(1, 7)]
