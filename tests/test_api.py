"""What programs that import `sim` rely on."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from array import array

import pandas as pd
import pytest
from interrupts import interrupt_at
from small_runs import CONFIG, CONSTANT, ONE_TOKEN_EACH, PREEMPTING, STATIC, experiment, run

import sim
from sim.scheduling.core import SchedulerCore
from sim.serving.columns import Columns

PUBLIC = [
    "Capacity", "Compared", "Experiment", "InputError", "Replicated", "RunResult", "Sensitivity", "ServesimError",
    "capacity", "compare", "experiment_from", "load_experiment", "replicate", "run", "sensitivity",
]  # fmt: skip
REQUEST_COLUMNS = [
    "request_id", "arrival_s", "queued_s", "scheduled_s", "first_token_s", "finish_s", "prompt_tokens",
    "cached_tokens", "output_tokens", "preemptions", "ttft_s", "tpot_s", "max_itl_s", "e2e_s", "queue_s",
    "prefill_s", "decode_s", "tps_per_user",
]  # fmt: skip
ITERATION_COLUMNS = [
    "start_s", "iterations", "first_step_s", "step_increment_s", "decode_requests", "decode_context_tokens",
    "prefill_requests", "prefill_tokens", "prefill_pairs", "prefill_context_tokens", "prefill_tiles",
    "prefill_tile_keys", "longest_context_tokens", "padding_tokens", "padding_requests", "running", "waiting",
    "idle_slots", "kv_used_blocks", "kv_grown_blocks", "kv_grown_block_s", "kv_stored_tokens", "preemptions",
    "blocked_by",
]  # fmt: skip


# ---- names -----------------------------------------------------------------------------------------------------------


def test_the_public_names_are_these():
    assert sorted(sim.__all__) == PUBLIC
    assert set(PUBLIC) < set(dir(sim))
    assert all(getattr(sim, name).__doc__ for name in PUBLIC)


def test_the_version_is_a_string():
    assert sim.__version__.count(".") == 2


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(AttributeError, match=r"module 'sim' has no attribute 'simulate'.*load_experiment"):
        sim.simulate  # noqa: B018


def in_a_fresh_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_sim_imports_nothing_slow():
    slow = ("pandas", "matplotlib", "scipy", "numpy", "pydantic", "simpy", "pyarrow", "typer")
    assert in_a_fresh_python(f"import sim, sys; print([name for name in {slow} if name in sys.modules])") == "[]"


def test_the_command_line_imports_nothing_slow_before_it_knows_the_verb():
    slow = ("pandas", "matplotlib", "scipy", "numpy", "pydantic", "simpy", "pyarrow")
    code = f"import sim.cli.main, sys; print([name for name in {slow} if name in sys.modules])"
    assert in_a_fresh_python(code) == "[]"


def test_running_does_not_import_matplotlib():
    code = f"import sim, sys; sim.run(sim.experiment_from({CONFIG!r})); print('matplotlib' in sys.modules)"
    assert in_a_fresh_python(code) == "False"


def test_input_errors_are_servesim_errors():
    with pytest.raises(sim.ServesimError):
        sim.load_experiment("nowhere.yaml")
    assert issubclass(sim.InputError, sim.ServesimError)


# ---- results ---------------------------------------------------------------------------------------------------------


def test_a_result_has_these_fields():
    assert [field.name for field in dataclasses.fields(sim.RunResult)] == [
        "experiment", "summary", "requests", "iterations", "late_gaps",
    ]  # fmt: skip


@pytest.mark.parametrize("changes", [{}, PREEMPTING, STATIC, ONE_TOKEN_EACH, {"workload.num_requests": 1}])
def test_the_tables_have_these_columns(changes):
    result = run(changes)
    assert list(result.requests) == REQUEST_COLUMNS
    assert list(result.iterations) == ITERATION_COLUMNS
    assert list(result.gaps) == ["gap_s", "tokens", "end_s"]


def test_times_are_floats_and_counts_are_integers():
    result = run()
    assert isinstance(result.iterations["blocked_by"].dtype, pd.CategoricalDtype)
    for table in (result.requests, result.iterations.drop(columns="blocked_by"), result.gaps):
        kinds = {name: "f" if name.endswith("_s") or name == "tps_per_user" else "i" for name in table}
        assert {name: table[name].dtype.kind for name in table} == kinds


def test_requests_are_in_order_of_arrival_and_iterations_in_order_of_time():
    result = run(PREEMPTING)
    assert result.requests["request_id"].tolist() == list(range(60))
    assert result.iterations["start_s"].is_monotonic_increasing


def test_the_result_holds_its_experiment():
    asked = experiment()
    assert sim.run(asked).experiment is asked


def test_the_same_experiment_and_seed_give_the_same_tables():
    first, second = run(PREEMPTING), run(PREEMPTING)
    for name in ("requests", "iterations", "gaps"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name), check_exact=True)


def test_another_seed_gives_other_tables():
    assert not run().requests.equals(run({"seed": 4}).requests)


# ---- the schedule log ------------------------------------------------------------------------------------------------


def test_watching_a_run_does_not_change_it():
    """But that each iteration is taken by itself, which leaves rounding errors of the clock."""
    records, unwatched = [], run(PREEMPTING)
    watched = sim.run(experiment(PREEMPTING), on_record=records.append)
    assert len(records) == len(watched.iterations) == unwatched.iterations["iterations"].sum()
    pd.testing.assert_frame_equal(watched.requests, unwatched.requests, check_exact=False, rtol=0, atol=1e-9)


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------

ANSWERS_OF_400_TOKENS = {
    "workload.lengths": {
        "prompt": {"distribution": "fixed", "value": 20}, "output": {"distribution": "fixed", "value": 400},
    }
}  # fmt: skip


@pytest.mark.parametrize("step", [0, 1, 50])
def test_ctrl_c_ends_a_run_and_keeps_what_is_finished(step):
    def interrupt(record):
        if record["step"] == step:
            signal.raise_signal(signal.SIGINT)

    result = sim.run(experiment(), on_record=interrupt)
    assert result.summary["sim"]["interrupted"]
    assert len(result.iterations) <= step + 2
    assert result.summary["completed"] == len(result.requests) < 60


def test_a_step_cut_off_by_ctrl_c_does_not_make_the_engine_more_than_busy(monkeypatch):
    """Steps of 10 s, interrupted at the end of the third."""
    calls = []

    def apply(core, plan):
        calls.append(plan)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return outcome(core, plan)

    outcome = SchedulerCore.apply
    monkeypatch.setattr(SchedulerCore, "apply", apply)
    result = run({"cost": {"kind": "constant", "step_s": 10.0}, "workload.arrivals": {"process": "all_at_once"}})
    assert result.summary["sim"]["interrupted"]
    assert result.summary["sim"]["batch"]["busy_fraction"] <= 1


@pytest.mark.parametrize("column", ["running", "preemptions"])
def test_ctrl_c_while_a_row_is_written_leaves_whole_tables(column, monkeypatch):
    """Python may be interrupted between any two columns of a row; here they are written ten rows at a time."""

    class Interrupting(array):
        def frombytes(self, rows):
            if len(self) == 50:
                signal.raise_signal(signal.SIGINT)
            super().frombytes(rows)

    init = Columns.__init__

    def with_an_interrupting_column(self, kinds):
        init(self, kinds)
        if column in self._columns:
            self._columns[column] = Interrupting(kinds[column])

    monkeypatch.setattr("sim.serving.columns.ROWS_IN_HAND", 10)
    monkeypatch.setattr(Columns, "__init__", with_an_interrupting_column)
    result = run()
    assert result.summary["sim"]["interrupted"]
    assert len(result.iterations) == 60
    assert result.summary["completed"] == len(result.requests) < 60


def test_ctrl_c_in_a_long_run_of_iterations_counts_those_that_are_over(monkeypatch):
    """Steps of 10 ms and a single seat. At 667 ms the third request arrives; the second has waited since 340 ms."""

    interrupt_at(monkeypatch, 2 / 3)
    every_third_of_a_second = {"workload.arrivals": {"process": "deterministic", "rate": 3}}
    result = run(CONSTANT, every_third_of_a_second, {"engine.max_num_seqs": 1}, ANSWERS_OF_400_TOKENS)
    batch = result.summary["sim"]["batch"]
    assert result.summary["sim"]["interrupted"]
    assert result.iterations["iterations"].tolist() == [1, 33, 32]
    assert result.summary["duration"] == pytest.approx(0.66)
    assert batch["busy_fraction"] == pytest.approx(1)
    assert batch["mean_waiting"] * 0.66 == pytest.approx(0.66 - 0.34)
    assert result.gaps["tokens"].sum() == 65
    assert result.summary["completed"] == 0
