"""A run window by window, held against its tables and its schedule log."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from small_runs import CONSTANT, ONE_TOKEN_EACH, PREEMPTING, STATIC, experiment, run

import sim

ENGINES = {"vllm-v1": {}, "preempting": PREEMPTING, "static": STATIC, "constant": CONSTANT, "one token": ONE_TOKEN_EACH}
COLUMNS = [
    "start_s", "arrivals", "completed", "output_tokens_per_s", "p50_ttft_s", "p99_ttft_s", "p50_tpot_s", "p99_tpot_s",
    "p99_itl_s", "mean_running", "mean_waiting", "kv_used_fraction",
]  # fmt: skip


@pytest.fixture(scope="module", params=ENGINES.values(), ids=ENGINES)
def result(request):
    return run(request.param)


def of_window(windows: pd.DataFrame, times_s: pd.Series, values) -> list[np.ndarray]:
    """The values known in each window; what comes at an edge is in the window that begins there."""
    number = np.searchsorted(windows["start_s"][1:], times_s + 1e-9, side="right")
    return [np.asarray(values)[number == window] for window in range(len(windows))]


def percentile(values: np.ndarray, percent: float) -> float:
    values = values[~np.isnan(values)]
    return float(np.percentile(values, percent)) if len(values) else np.nan


def widths_s(result, windows: pd.DataFrame) -> np.ndarray:
    end_s = (result.iterations["start_s"] + result.iterations["first_step_s"]).max()
    end_s = max(end_s, result.requests["finish_s"].max())
    return np.diff(np.append(windows["start_s"], end_s))


@pytest.mark.parametrize("window_s", [0.5, 2.0])
def test_requests_count_where_they_are_known(result, window_s):
    windows, requests = result.windows(window_s), result.requests
    assert list(windows) == COLUMNS
    assert np.diff(windows["start_s"]) == pytest.approx(window_s)
    assert windows["start_s"][0] == requests["arrival_s"].min()
    everybody = np.ones(len(requests))
    for name, times in {"arrivals": "arrival_s", "completed": "finish_s"}.items():
        assert windows[name].tolist() == [len(part) for part in of_window(windows, requests[times], everybody)]
    for metric, known in {"ttft_s": "first_token_s", "tpot_s": "finish_s"}.items():
        parts = of_window(windows, requests[known], requests[metric])
        for percent in (50, 99):
            expected = [percentile(part, percent) for part in parts]
            assert windows[f"p{percent}_{metric}"].tolist() == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("window_s", [0.5, 2.0])
def test_tokens_count_where_they_come_out(result, window_s):
    windows, gaps = result.windows(window_s), result.gaps
    gap_s, end_s = (np.repeat(gaps[name].to_numpy(), gaps["tokens"]) for name in ("gap_s", "end_s"))
    parts = of_window(windows, end_s, gap_s)
    expected = [percentile(part, 99) for part in parts]
    assert windows["p99_itl_s"].tolist() == pytest.approx(expected, nan_ok=True)
    first_tokens = of_window(windows, result.requests["first_token_s"], result.requests["ttft_s"])
    tokens = np.array([len(part) + len(first) for part, first in zip(parts, first_tokens, strict=True)])
    np.testing.assert_allclose(windows["output_tokens_per_s"], tokens / widths_s(result, windows))
    assert tokens.sum() == result.summary["total_output_tokens"]


def test_averages_over_all_windows_are_those_of_the_run(result):
    windows, ours = result.windows(0.7), result.summary["sim"]
    weights = widths_s(result, windows)
    batch, kv = ours["batch"], ours["kv_cache"]
    assert np.average(windows["mean_running"], weights=weights) == pytest.approx(batch["mean_running"])
    assert np.average(windows["mean_waiting"], weights=weights) == pytest.approx(batch["mean_waiting"])
    assert np.average(windows["kv_used_fraction"], weights=weights) == pytest.approx(kv["mean_used_fraction"])


def test_averages_of_a_window_are_those_of_the_schedule_log():
    records = []
    result = sim.run(experiment(PREEMPTING), on_record=records.append)
    windows = result.windows(0.25)
    edges = np.append(windows["start_s"], result.requests["finish_s"].max())
    begins = np.array([record["start_s"] for record in records])
    ends = begins + np.array([record["duration_s"] for record in records])
    inside = np.clip(ends, edges[:-1, None], edges[1:, None]) - np.clip(begins, edges[:-1, None], edges[1:, None])
    running = inside @ np.array([len(record["running"]) for record in records]) / np.diff(edges)
    np.testing.assert_allclose(windows["mean_running"], running, atol=1e-9)


def test_one_window_is_the_run():
    result = run()
    (window,) = result.windows(1e6).to_dict("records")
    summary = result.summary
    assert (window["arrivals"], window["completed"]) == (60, 60)
    assert window["output_tokens_per_s"] == pytest.approx(summary["output_throughput"])
    for name in ("p50_ttft", "p99_ttft", "p50_tpot", "p99_tpot", "p99_itl"):
        assert window[f"{name}_s"] == pytest.approx(summary["sim"]["metrics"][name])


@pytest.mark.parametrize("window_s", [0, -1.0, float("nan"), float("inf")])
def test_a_window_must_have_a_length(window_s):
    with pytest.raises(sim.InputError, match=r"window_s: got .*, must be a number of seconds above 0"):
        run().windows(window_s)


def test_too_many_windows_are_refused():
    with pytest.raises(sim.InputError, match=r"window_s: got 1e-09, which makes .* windows .*, so raise it"):
        run().windows(1e-9)


def test_a_run_interrupted_before_anything_happened_has_no_windows():
    result = run()
    nothing = {name: getattr(result, name).iloc[:0] for name in ("requests", "iterations", "late_gaps")}
    windows = type(result)(result.experiment, result.summary, **nothing).windows(1.0)
    assert list(windows) == COLUMNS
    assert windows.empty
