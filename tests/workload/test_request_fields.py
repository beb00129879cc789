"""What a workload says of its requests beside their lengths: limits, predictions, tenants, sessions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from small_runs import experiment, run
from trace_helpers import BAILIAN_ROWS, lines, read, write

import sim
from sim.specs.request import Request
from sim.workload.source import build_workload
from sim.workload.workload import Workload

MANY = {"workload.num_requests": 5000}
CSV = "arrival_s,prompt_tokens,output_tokens"


def table(*changes):
    return build_workload(experiment(*changes)).table


def trace_run(path, **workload):
    changes = {"workload": {"trace": {"path": str(path), "format": path.suffix[1:]}, **workload}}
    return experiment(changes)


def test_a_workload_yields_its_rows_as_requests_with_defaults_for_what_nobody_gave() -> None:
    rows = {"arrival_s": [0.5, 1.0], "prompt_tokens": [3, 4], "output_tokens": [5, 6], "tenant": ["a", "b"]}
    assert list(Workload(pd.DataFrame(rows))) == [Request(0, 0.5, 3, 5, tenant="a"), Request(1, 1.0, 4, 6, tenant="b")]


# ---- limits ---------------------------------------------------------------------------------------------------------


def test_answers_are_cut_at_the_clients_limit() -> None:
    free, limited = table(MANY), table(MANY, {"workload.max_new_tokens": 30})
    assert np.array_equal(limited["output_tokens"], np.minimum(free["output_tokens"], 30))
    assert (limited["max_new_tokens"] == 30).all()
    (note,) = build_workload(experiment(MANY, {"workload.max_new_tokens": 30})).notes
    assert f"{(free['output_tokens'] >= 30).sum()} of 5000 outputs end at max_new_tokens" in note


def test_a_limit_makes_a_request_fit_that_would_not_without(tmp_path) -> None:
    path = write(tmp_path, "t.csv", f"{CSV}\n0,100,100000\n")
    engine = {"engine": {"num_gpu_blocks": 20, "max_model_len": 200}}
    workload = {"workload": {"trace": {"path": str(path), "format": "csv"}, "max_new_tokens": 50}}
    assert build_workload(experiment(engine, workload)).table["output_tokens"].tolist() == [50]


def test_what_the_limit_makes_fit_is_not_drawn_again() -> None:
    lengths = {"workload.lengths.output": {"distribution": "geometric", "mean": 400}, "workload.max_new_tokens": 300}
    free = {"engine.max_model_len": 100_000, "engine.num_gpu_blocks": 100_000}
    assert table(MANY, lengths).equals(table(MANY, lengths, free))


# ---- predictions ----------------------------------------------------------------------------------------------------


def test_a_predictor_without_error_is_right() -> None:
    drawn = table(MANY, {"workload.output_predictor": {"error_cv": 0}})
    assert np.array_equal(drawn["predicted_output_tokens"], drawn["output_tokens"])


def test_predictions_err_without_bias_by_the_given_coefficient() -> None:
    long = {"workload.lengths.output": {"distribution": "uniform", "low": 200, "high": 300}}
    drawn = table({"workload.num_requests": 50_000}, long, {"workload.output_predictor": {"error_cv": 0.5}})
    ratio = drawn["predicted_output_tokens"] / drawn["output_tokens"]
    assert ratio.mean() == pytest.approx(1.0, abs=0.01)
    assert ratio.std() == pytest.approx(0.5, rel=0.05)


def test_predicting_leaves_everything_else_as_it_was() -> None:
    predicted = table(MANY, {"workload.output_predictor": {"error_cv": 0.5}})
    assert predicted.drop(columns="predicted_output_tokens").equals(table(MANY))


def test_shortest_predicted_job_first_shortens_the_mean_wait_of_a_crowd() -> None:
    crowd = {"workload.arrivals": {"process": "all_at_once"}, "engine.max_num_seqs": 4}
    predictor = {"workload.output_predictor": {"error_cv": 0.2}}
    fcfs, shortest = (run(crowd, predictor, {"engine.order": order}) for order in ("fcfs", "shortest_predicted"))
    assert shortest.summary["mean_e2el_ms"] < 0.9 * fcfs.summary["mean_e2el_ms"]


# ---- tenants and sessions -------------------------------------------------------------------------------------------


def test_tenants_are_drawn_with_their_shares_and_stand_in_the_table() -> None:
    result = run({"workload.num_requests": 400}, {"workload.tenants": {"search": 3.0, "chat": 1.0}})
    assert (result.requests["tenant"] == "search").mean() == pytest.approx(0.75, abs=0.07)


def test_a_trace_may_bring_its_own_columns(tmp_path) -> None:
    header = f"{CSV},tenant,session_id,max_new_tokens,predicted_output_tokens,priority\n"
    path = write(tmp_path, "t.csv", f"{header}0,8,9,a,4,5,7,1\n1,8,3,b,4,5,2,0\n")
    requests = sim.run(trace_run(path)).requests
    assert requests["tenant"].tolist() == ["a", "b"]
    assert requests["session_id"].tolist() == [4, 4]
    assert requests["output_tokens"].tolist() == [5, 3]
    assert requests["predicted_output_tokens"].tolist() == [7, 2]
    assert requests["priority"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("column", "key", "value"),
    [("max_new_tokens", "max_new_tokens", 5), ("predicted_output_tokens", "output_predictor", {"error_cv": 0})],
)
def test_what_the_trace_says_is_not_said_again(tmp_path, column, key, value) -> None:
    path = write(tmp_path, "t.csv", f"{CSV},{column}\n0,8,9,4\n")
    with pytest.raises(sim.InputError, match=rf"workload\.{key}.*own column {column}.*drop one"):
        build_workload(trace_run(path, **{key: value}))


def test_json_lines_may_bring_them_too(tmp_path) -> None:
    row = {"arrival_s": 0, "prompt_tokens": 3, "output_tokens": 4, "tenant": "é", "session_id": 7}
    loaded = read(write(tmp_path, "t.jsonl", lines(row)), format="jsonl")
    assert (loaded["tenant"].tolist(), loaded["session_id"].tolist()) == (["é"], [7])


@pytest.mark.parametrize("name", ['"VIP" team', "a b", "é", "3", "x" * 100])
def test_a_tenant_is_any_text_that_can_be_shown(tmp_path, name) -> None:
    quoted = name.replace('"', '""')
    csv = write(tmp_path, "t.csv", f'{CSV},tenant\n0,8,9,"{quoted}"\n')
    jsonl = write(tmp_path, "t.jsonl", lines({"arrival_s": 0, "prompt_tokens": 8, "output_tokens": 9, "tenant": name}))
    assert [read(path, format=path.suffix[1:])["tenant"].tolist() for path in (csv, jsonl)] == [[name]] * 2


@pytest.mark.parametrize("name", [["a"], "\ud800", "", "x" * 101, "a\nb", 3, True, {"a": "b"}])
def test_a_tenant_that_cannot_be_shown_is_refused(tmp_path, name) -> None:
    row = {"arrival_s": 0, "prompt_tokens": 3, "output_tokens": 4, "tenant": name}
    path = write(tmp_path, "t.jsonl", lines(row))
    with pytest.raises(sim.InputError, match=r"line 1: tenant is .*must be text of 1 to 100 printable characters"):
        read(path, format="jsonl")
    if isinstance(name, str):
        with pytest.raises(sim.InputError, match=r"workload\.tenants\..*must be text of 1 to 100 printable characters"):
            experiment({"workload.tenants": {name: 1.0}})


def test_a_key_that_only_some_objects_have_is_refused_by_line(tmp_path) -> None:
    row = {"arrival_s": 0, "prompt_tokens": 3, "output_tokens": 4}
    path = write(tmp_path, "t.jsonl", lines(row | {"tenant": "a"}, row))
    with pytest.raises(sim.InputError, match=r"line 2.*no key tenant.*all or none"):
        read(path, format="jsonl")


def test_the_turns_of_a_conversation_are_one_session(tmp_path) -> None:
    other = BAILIAN_ROWS[0] | {"chat_id": 9, "timestamp": 63.0}
    loaded = read(write(tmp_path, "t.jsonl", lines(*BAILIAN_ROWS, other)), format="bailian")
    assert loaded["session_id"].tolist() == [7, 7, 9]
