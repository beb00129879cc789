"""`servesim capacity`: what is printed, kept and refused."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from cli_helpers import Output, servesim, write_config

SINGLE_SERVER = {
    "engine.max_num_seqs": 1,
    "cost": {"kind": "constant", "step_s": 0.1},
    "workload.lengths.prompt": {"distribution": "fixed", "value": 1},
    "workload.lengths.output": {"distribution": "fixed", "value": 1},
    "slo": {"mean_queue": 0.2},
}
"""M/D/1, which waits 0.2 s on average at 8 requests a second."""
FEW = ("--replications", 3)
FILES = {"capacity.json", "curve.csv", "capacity.png"}


@pytest.fixture
def capacity(tmp_path, in_this_process):
    """Searches in this process."""
    write_config(tmp_path, SINGLE_SERVER)

    def command(*words: object) -> Output:
        return in_this_process("capacity", "small.yaml", *words, "--out", "out", "--workers", 1)

    return command


def test_a_search_from_the_shell_writes_everything_and_its_json_has_the_promised_shape(tmp_path):
    write_config(tmp_path, SINGLE_SERVER)
    done = servesim(tmp_path, "capacity", "small.yaml", *FEW, "--json", "--workers", 2)
    assert done.code == 0, done.err
    found = json.loads(done.out, parse_constant=pytest.fail)
    assert set(found["capacity"]) == {"value", "low", "high", "unit"}
    assert found["capacity"]["low"] < found["capacity"]["value"] < found["capacity"]["high"]
    assert found["capacity"]["value"] == pytest.approx(8, rel=0.05)
    assert found["capacity"]["unit"] == "requests/s"
    assert set(found["binding"]) == {"slo", "resource", "why"}
    assert (found["binding"]["slo"], found["binding"]["resource"]) == ("mean_queue", "slots")
    assert isinstance(found["simulated_requests"], int)
    assert {"rate", "served", "mean_queue", "output_tokens_per_s", "mean_e2e", "status", "knee"} <= set(
        found["curve"][0]
    )
    assert sum(row["knee"] for row in found["curve"]) == 1
    assert set(found["kv_cliff"]) == {
        "mean_used_fraction", "peak_used_fraction", "preemptions_per_1000", "at", "margin",
    }  # fmt: skip
    (folder,) = (tmp_path / "results").iterdir()
    assert folder.name.endswith("-capacity")
    assert {path.name for path in folder.iterdir()} == FILES
    assert json.loads((folder / "capacity.json").read_text(encoding="utf-8")) == found
    assert (folder / "capacity.png").read_bytes().startswith(b"\x89PNG")
    assert len(pd.read_csv(folder / "curve.csv")) == len(found["curve"])


def test_what_a_person_reads(capacity, tmp_path):
    done = capacity(*FEW, "--slo", "mean_queue<200ms", "--no-plots")
    assert done.code == 0, done.err
    for words in (
        "not kept up with", "requests/s (95 % interval ", "meet mean_queue <= 0.2 s", "mean_queue, for slots: ",
        "no load of the curve preempts 1 of 1000 requests", "knee", "served when more arrives than can be",
    ):  # fmt: skip
        assert words in done.out
    assert "the replications asked for are done" in done.err
    assert not (tmp_path / "out" / "capacity.png").exists()


def test_users(capacity):
    done = capacity(
        *FEW, "--set", "workload.arrivals={process: closed_loop, users: 1}", "--over", "users",
        "--slo", "mean_e2e<0.55", "--no-plots",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "5 users (95 % interval 5 to 5) meet mean_e2e <= 0.55 s" in done.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--slo", "p99_tft<1"], "unknown metric 'p99_tft'"),
        (["--slo", "p99.999_ttft<1"], "limit a lower percentile"),
        (["--slo", "mean_ttft<0.01"], "is 0.1 s even at "),
        (["--slo", "p90_tpot<1"], "is met at every rate that the engine keeps up with"),
        (["--attainment", "0.9", "--slo", "p99_itl<1"], "no single request can keep"),
        (["--over", "users"], "search over rate"),
        (["--budget", "1000"], "(--budget 141180)"),
        (["--set", "slo={}"], "nothing to meet"),
    ],
)
def test_bad_input_is_refused_with_code_2_and_one_line(capacity, words, message):
    done = capacity(*words)
    assert done.code == 2
    assert not done.out
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
