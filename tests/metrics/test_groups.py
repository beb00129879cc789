"""Latencies by tenant and by priority: those of the table's rows, where there are several."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_runs import ONE_TOKEN_EACH, experiment, run

import sim
from sim.metrics.groups import groups

TENANTS = {"workload.tenants": {"search": 3.0, "chat": 1.0}}
PRIORITIES = {"workload.priorities": {10: 1.0, 2: 1.0}, "engine.order": "priority"}
KEYS = {"completed", "mean_ttft", "p99_ttft", "mean_tpot", "p99_tpot", "mean_e2e", "p99_e2e"}


@pytest.mark.parametrize(
    ("changes", "column", "names"), [(TENANTS, "tenant", ["chat", "search"]), (PRIORITIES, "priority", ["2", "10"])]
)
def test_each_group_has_the_latencies_of_its_own_requests(changes, column, names):
    result = run(changes)
    found = result.summary["sim"]["groups"]
    assert list(found) == [column]
    assert list(found[column]) == names, "in order"
    for name, group in found[column].items():
        rows = result.requests[result.requests[column].astype(str) == name]
        assert set(group) == KEYS
        assert group["completed"] == len(rows) > 0
        for metric in ("ttft", "tpot", "e2e"):
            values = rows[f"{metric}_s"].dropna()
            assert group[f"mean_{metric}"] == pytest.approx(values.mean())
            assert group[f"p99_{metric}"] == pytest.approx(np.percentile(values, 99))


def test_the_first_priority_waits_less():
    """Ten times too much traffic for one seat."""
    found = run(PRIORITIES, {"engine.max_num_seqs": 1}).summary["sim"]["groups"]["priority"]
    assert found["2"]["mean_ttft"] < found["10"]["mean_ttft"] / 2


def test_tenants_and_priorities_are_told_apart():
    found = run(TENANTS, PRIORITIES).summary["sim"]["groups"]
    assert list(found) == ["tenant", "priority"]
    assert [sum(group["completed"] for group in part.values()) for part in found.values()] == [60, 60]


@pytest.mark.parametrize("changes", [{}, {"workload.tenants": {"only": 1.0}}, {"workload.priorities": {0: 1.0}}])
def test_without_several_there_are_no_groups(changes):
    assert run(changes).summary["sim"]["groups"] is None


def test_a_trace_is_grouped_by_its_tenants(tmp_path):
    trace = tmp_path / "trace.csv"
    rows = ("0,10,3,a", "1,10,3,b", "2,10,3,b")
    trace.write_text("\n".join(["arrival_s,prompt_tokens,output_tokens,tenant", *rows]) + "\n", encoding="utf-8")
    found = run({"workload": {"trace": {"path": str(trace), "format": "csv"}}}).summary["sim"]["groups"]["tenant"]
    assert {name: group["completed"] for name, group in found.items()} == {"a": 1, "b": 2}


def test_what_a_group_has_nothing_of_is_null():
    found = run(TENANTS, ONE_TOKEN_EACH).summary["sim"]["groups"]["tenant"]["chat"]
    assert found["mean_tpot"] is found["p99_tpot"] is None
    assert found["mean_ttft"] > 0


def test_they_are_plain_json():
    found = run(TENANTS, PRIORITIES).summary["sim"]["groups"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_run_interrupted_before_its_first_answer_has_none():
    def stop_at_once(record):
        signal.raise_signal(signal.SIGINT)

    result = sim.run(experiment(TENANTS), on_record=stop_at_once)
    assert result.summary["completed"] == 0
    assert result.summary["sim"]["groups"] is None


def test_the_names_in_a_group_are_documented():
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if "`sim.groups.tenant`" in line]
    assert all(part in row for part in ("`completed`", "`{mean,p99}_{ttft,tpot,e2e}`"))


def test_a_table_without_the_columns_has_none():
    assert groups(pd.DataFrame({"ttft_s": [1.0]})) is None
