"""The picture of `servesim sweep`: lines against a varied number, or a row a run."""

from __future__ import annotations

import pandas as pd
import pytest
from cli_helpers import servesim, write_config
from small_runs import CONSTANT

PRESETS = ("--vary", "engine.preset=static,orca")
RATES = ("--vary", "workload.arrivals.rate=4,8")


# ---- a row a run -----------------------------------------------------------------------------------------------------


def test_without_a_numeric_axis_the_picture_has_a_row_a_run(drawn):
    presets = (
        "--vary",
        "engine.preset=static,orca,vllm-v0",
        "--vary",
        "workload.arrivals.process=poisson,deterministic",
    )
    figure = drawn(*presets, "--vary", "engine.max_num_seqs=8")
    labels = [label.get_text().replace("\n", " ") for label in figure.axes[0].get_yticklabels()]
    processes = ("poisson", "deterministic")
    assert labels == [f"{name}, process {process}" for name in ("static", "orca", "vllm-v0") for process in processes]
    kinds = {text.get_text() for text in figure.legends[0].get_texts()}
    assert kinds > {"a batch runs to its end", "whole prompts beside decodes", "prompts alone, decodes wait"}


@pytest.mark.parametrize("words", [(), RATES], ids=["rows", "lines"])
def test_a_preset_of_ones_own_is_in_the_picture_by_its_path(drawn, tmp_path, words):
    (tmp_path / "mine.yaml").write_text("base: orca\nvalues: {max_num_seqs: 4}\n", encoding="utf-8")
    figure = drawn("--vary", "engine.preset=orca,mine.yaml", *words)
    names = [text.get_text() for text in [*figure.axes[0].get_yticklabels(), *figure.legends[0].get_texts()]]
    assert any("mine.yaml" in name for name in names)


@pytest.mark.parametrize(
    ("vary", "title"),
    [
        ("engine.preset=static,orca", "small: llama-3.1-8b on a100-80gb-sxm, 8 requests/s"),
        ("engine.tensor_parallel_size=1,2", "small"),
        ("workload.arrivals.process=poisson,deterministic", "small: llama-3.1-8b on a100-80gb-sxm"),
    ],
)
def test_the_title_says_what_all_runs_have(drawn, vary, title):
    assert drawn("--vary", vary).get_suptitle() == title


def test_a_single_run_is_no_picture(sweep, tmp_path):
    done = sweep("--vary", "engine.preset=static")
    assert done.code == 0
    assert not (tmp_path / "out" / "sweep.png").exists()
    assert done.err.splitlines()[-1] == "note: table and runs are in out"


def test_too_many_runs_for_a_row_each_are_a_table(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr("sim.cli.sweep.MOST_ROWS", 1)
    assert sweep(*PRESETS).code == 0
    assert not (tmp_path / "out" / "sweep.png").exists()
    assert len(pd.read_csv(tmp_path / "out" / "sweep.csv")) == 2


# ---- lines -----------------------------------------------------------------------------------------------------------


USERS = {"workload.arrivals": {"process": "closed_loop", "users": 3}}


@pytest.mark.parametrize(
    ("vary", "label", "changes"),
    [
        ("workload.arrivals.rate=4,8", "arrival rate (requests/s)", {}),
        ("workload.arrivals.users=2,4", "users", USERS),
        ("engine.max_num_seqs=2,4", "engine.max_num_seqs", {}),
    ],
)
def test_the_picture_names_what_was_varied(drawn, vary, label, changes):
    assert {axes.get_xlabel() for axes in drawn("--vary", vary, changes=changes).axes} == {label}


def test_the_names_of_what_was_varied_are_no_markup(tmp_path):
    words = ("--set", "workload.tenants={a: 1}", "--vary", "workload.tenants.$^_$[/b]=1,2", "--workers", 1)
    write_config(tmp_path, CONSTANT, {"workload.num_requests": 30})
    done = servesim(tmp_path, "sweep", "small.yaml", "--out", "out", *words)
    assert (done.code, "$^_$[/b]" in done.out) == (0, True), done.err
    assert (tmp_path / "out/sweep.png").read_bytes().startswith(b"\x89PNG")


def test_limits_that_not_all_runs_have_are_not_drawn_nor_told(drawn, sweep):
    words = ("--vary", "slo={p99_ttft: 1},{}", *RATES)
    assert not [text for axes in drawn(*words).axes for text in axes.texts]
    done = sweep(*words)
    assert "With a stable queue" in done.err


def test_the_picture_of_users_who_wait_speaks_of_no_unstable_queue(drawn):
    figure = drawn("--vary", "workload.arrivals.users=2,4", changes=USERS)
    texts = [figure.get_suptitle(), *(text.get_text() for text in figure.legends[0].get_texts())]
    assert not any("unstable" in text for text in texts)
