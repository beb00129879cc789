"""A run replayed: equal where nothing differs, wrong where the recording is, and close to what engines did."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from real_runs import META, REQUESTS, recorded_requests, write_run, write_timeseries

from sim.errors import InputError
from sim.study.validate import validate_run
from sim.study.validate.compare import LATENCIES, Pair, counted, sampled

RECORDED = recorded_requests()


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run", RECORDED)


def with_value(line, column, value):
    """RECORDED, one cell of which is another; `line` is that of the file."""
    table = RECORDED.copy()
    table[column] = table[column].astype(object)
    table.loc[line - 2, column] = value
    return table


def test_what_behaved_as_simulated_is_met_exactly(folder):
    found = validate_run(folder, skip=0)
    for name in LATENCIES:
        for statistic in ("mean", "p50", "p90", "p99"):
            pair = found.metrics[name][statistic]
            assert pair.simulated == pytest.approx(pair.real, rel=1e-6), (name, statistic)
    throughput = found.metrics["output_throughput"]["mean"]
    assert throughput.simulated == pytest.approx(throughput.real, rel=1e-6)
    assert (found.curves["running_simulated"] == found.curves["running_real"]).all()
    assert len(found.requests) == REQUESTS


def test_latencies_by_their_definitions(folder):
    found = validate_run(folder)
    rows, metrics = RECORDED.iloc[1:], found.metrics
    assert metrics["ttft"]["mean"].real == pytest.approx((rows["first_token_s"] - rows["arrival_s"]).mean())
    assert metrics["e2e_queued"]["p90"].real == pytest.approx(np.quantile(rows["last_token_s"] - rows["queued_s"], 0.9))
    several = rows[rows["output_tokens"] > 1]
    tpot = (several["last_token_s"] - several["first_token_s"]) / (several["output_tokens"] - 1)
    assert metrics["tpot"]["p50"].real == pytest.approx(tpot.median())
    whole_s = RECORDED["last_token_s"].max() - RECORDED["arrival_s"].min()
    assert metrics["output_throughput"]["mean"].real == pytest.approx(RECORDED["output_tokens"].sum() / whole_s)
    assert (found.left_out, len(found.requests)) == ((0,), REQUESTS - 1)
    assert Pair(2.0, 1.5).error == pytest.approx(-0.25)


def test_an_error_is_simulated_over_real(tmp_path):
    slower = RECORDED.assign(
        first_token_s=RECORDED["queued_s"] + 2 * (RECORDED["first_token_s"] - RECORDED["queued_s"]),
        last_token_s=RECORDED["queued_s"] + 2 * (RECORDED["last_token_s"] - RECORDED["queued_s"]),
    )
    metrics = validate_run(write_run(tmp_path / "run", slower)).metrics
    for name in ("ttft_queued", "tpot", "e2e_queued"):
        assert metrics[name]["mean"].error == pytest.approx(-0.5, abs=1e-6)


def test_the_clock_may_begin_anywhere(tmp_path, folder):
    stamps = RECORDED.columns[RECORDED.columns.str.endswith("_s")]
    began_s = 1_700_000_000.25
    later = write_run(tmp_path / "later", RECORDED.assign(**{name: RECORDED[name] + began_s for name in stamps}))
    write_timeseries(later, f"t,running,waiting\n{began_s - 1},0,0\n{began_s + 1},2,0\n")
    found, expected = validate_run(later, skip=0), validate_run(folder, skip=0)
    for name in LATENCIES:
        pair, other = found.metrics[name]["mean"], expected.metrics[name]["mean"]
        assert (pair.real, pair.simulated) == pytest.approx((other.real, other.simulated), abs=1e-5), name
    assert found.curves["t"].tolist() == [-1, 1]
    assert found.curves["running_simulated"].iloc[0] == 0


def test_who_joins_the_queue_while_like_iterations_run_is_waiting():
    """One row of ten iterations of a second from 5 on: two wait as it begins, of whom one joined just then."""
    row = {"start_s": 5.0, "iterations": 10, "first_step_s": 1.0, "step_increment_s": 0.0, "running": 7, "waiting": 2}
    queued_s = np.array([4.0, 5.0, 6.0, 8.0])
    found = sampled(pd.DataFrame([row]), queued_s, np.array([4.5, 5.5, 6.0, 9.0, 15.5]))
    assert found["waiting"].tolist() == [0, 2, 3, 4, 0]
    assert found["running"].tolist() == [0, 7, 7, 7, 0]


def test_prompts_that_share_blocks_are_found_in_the_cache(tmp_path):
    alike = RECORDED.assign(prompt_tokens=640, prefix_block_ids="0-39")
    runs = [write_run(tmp_path / "one", alike), write_run(tmp_path / "own", alike.drop(columns="prefix_block_ids"))]
    shared, own = (validate_run(run).metrics["ttft"]["mean"].simulated for run in runs)
    assert shared < 0.8 * own


def test_rows_may_stand_in_any_order(tmp_path, folder):
    shuffled = RECORDED.sample(frac=1, random_state=1)
    assert validate_run(write_run(tmp_path / "shuffled", shuffled)).metrics == validate_run(folder).metrics


def test_curves_as_the_engine_logged_them(folder):
    write_timeseries(folder, "t,running,waiting\n1,3,0\n2,4,1\n900,0,0\n")
    found = validate_run(folder)
    assert found.curves["running_real"].tolist() == [3, 4, 0]
    assert found.curves["running_simulated"].iloc[-1] == 0
    expected = counted(RECORDED, np.array([1.0, 2.0]))["running"]
    assert np.abs(found.curves["running_simulated"].iloc[:2] - expected).max() <= 1
    assert found.over_time["waiting"]["max"].real == 1


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (with_value(5, "queued_s", -3), r"line 5: queued_s is -3, must not be before arrival_s"),
        (with_value(6, "first_token_s", 0), r"line 6: first_token_s is 0, must not be before scheduled_s"),
        (with_value(7, "last_token_s", 0), r"line 7: last_token_s is 0, must not be before first_token_s"),
        (with_value(8, "arrival_s", "nan"), r"line 8: arrival_s is 'nan', must be a number"),
        (with_value(8, "arrival_s", -1), r"line 8: arrival_s is '-1', must be >= 0"),
        (with_value(9, "output_tokens", 0), r"line 9: output_tokens is '0', must be >= 1"),
        (with_value(9, "output_tokens", 2.5), r"line 9: output_tokens is '2.5', must be a whole number"),
        (with_value(3, "output_tokens", 1), r"line 3: output_tokens is 1, but first and last token are .* s apart"),
        (with_value(9, "prompt_tokens", "x"), r"line 9: prompt_tokens is 'x', must be a number"),
        (with_value(4, "request_id", 0), r"line 4: request_id is '0', must be another one"),
        (with_value(4, "prefix_block_ids", "0-1 x"), r"line 4: prefix_block_ids is '0-1 x', must be whole numbers"),
        (with_value(4, "prefix_block_ids", "0"), r"line 4: prefix_block_ids names 1 blocks, must be \d+"),
        (with_value(4, "output_tokens", 9000), r"line 4: \d+ prompt and output tokens exceed max_model_len"),
        (with_value(4, "prompt_tokens", 9000).drop(columns="prefix_block_ids"), r"line 4: .*engine.max_model_len 4096"),
        (RECORDED.drop(columns="queued_s"), r"line 1: this CSV has no column queued_s; found .*, need .*last_token_s$"),
        (RECORDED.iloc[:0], r"holds no requests; give a run with at least one"),
    ],
)
def test_requests_that_cannot_have_been_so_are_refused(tmp_path, table, message):
    with pytest.raises(InputError, match=rf"requests\.csv\.gz.*{message}"):
        validate_run(write_run(tmp_path / "run", table))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t,running\n1,2\n", "has no column waiting; add it or remove the file"),
        ("t,running,waiting\n1,x,0\n", "line 2: running is 'x', must be a number"),
        ("t,running,waiting\n1,-1,0\n", "line 2: running is '-1', must be >= 0"),
        ("t,running,waiting\n2,1,0\n1,1,0\n", "line 3: t is '1', must be in order of time"),
        ("t,running,waiting\n", "holds no rows"),
        ("", "cannot be read as CSV"),
    ],
)
def test_a_bad_log_of_the_engine_is_refused(folder, text, message):
    write_timeseries(folder, text)
    with pytest.raises(InputError, match=rf"timeseries\.csv\.gz.*{message}"):
        validate_run(folder)


def test_numbers_of_requests_agree(tmp_path):
    with pytest.raises(InputError, match=r"holds 40 requests, but num_requests in .*meta\.json is 41"):
        validate_run(write_run(tmp_path / "run", RECORDED, num_requests=41))


@pytest.mark.parametrize("skip", [-1, REQUESTS])
def test_some_request_must_be_left(folder, skip):
    with pytest.raises(InputError, match=rf"--skip: got {skip}, must be at least 0 and below the {REQUESTS} requests"):
        validate_run(folder, skip=skip)


def test_what_is_missing_in_the_folder_is_named(tmp_path, folder):
    with pytest.raises(InputError, match="no such folder"):
        validate_run(tmp_path / "absent")
    (folder / "meta.json").unlink()
    with pytest.raises(InputError, match=r"holds no meta\.json"):
        validate_run(folder)
    (folder / "requests.csv.gz").unlink()
    with pytest.raises(InputError, match=r"holds no requests\.csv or requests\.csv\.gz"):
        validate_run(folder)


def test_a_meta_that_is_no_json(folder):
    (folder / "meta.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"meta\.json: not valid JSON"):
        validate_run(folder)


def test_without_stamps_of_scheduling_everybody_in_the_engine_counts_as_running(tmp_path):
    run = write_run(tmp_path / "run", RECORDED.drop(columns="scheduled_s"), kv_cache=META["kv_cache"])
    curves = validate_run(run).curves
    assert (curves[["waiting_real", "waiting_simulated"]] == 0).all(axis=None)
    assert curves["running_real"].max() > 0


@pytest.mark.parametrize("name", ["rtx4090_llama31_8b", "rtxpro6000_llama31_8b"])
def test_recorded_engines(measured_data, name):
    """Within what the fitted constants reach; the replay's own definitions are the recorder's."""
    folder = measured_data / "real_runs" / name
    found = validate_run(folder)
    recorded = pd.read_csv(folder / "requests.csv.gz").iloc[1:]
    for metric, column in (("ttft_queued", "ttft_s"), ("tpot", "tpot_s"), ("e2e_queued", "e2e_s")):
        assert found.metrics[metric]["mean"].real == pytest.approx(recorded[column].mean(), rel=1e-6)
    assert len(found.curves) == len(pd.read_csv(folder / "timeseries.csv.gz"))
    for metric, most in (("tpot", 0.01), ("e2e_queued", 0.01), ("ttft_queued", 0.015)):
        error = found.metrics[metric]["mean"].error
        assert not math.isnan(error)
        assert abs(error) < most, (metric, error)
