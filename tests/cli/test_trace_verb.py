"""`servesim trace`: what is printed and written, and how bad input is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cli_helpers import servesim, servesim_here

POISSON = "arrival_s,prompt_tokens,output_tokens\n"
MOONCAKE = "".join(
    json.dumps({"timestamp": 500 * i, "input_length": 600, "output_length": 7, "hash_ids": [0, i + 1]}) + "\n"
    for i in range(41)
)


@pytest.fixture
def here(tmp_path, capsys, monkeypatch):
    """The verb, in this process, with the test's folder as the current one."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: servesim_here(capsys, monkeypatch, "trace", *words)


def statistics_of(here, tmp_path, content, *words):
    (tmp_path / "t").write_text(content)
    output = here("t", "--json", *words)
    assert output.code == 0, output.err
    return json.loads(output.out)


def test_the_verb_describes_a_trace_in_a_process_of_its_own(tmp_path):
    (tmp_path / "mine.jsonl").write_text(MOONCAKE)
    output = servesim(tmp_path, "trace", "mine.jsonl")
    assert output.code == 0
    for fragment in (
        "mine.jsonl (mooncake)",
        "prompt",
        "600",
        "41 requests in 20 s, 2 requests/s",
        "Poisson",
        "48.8% of",
    ):
        assert fragment in output.out
    assert "results/trace-mine" in output.err
    assert (tmp_path / "results/trace-mine/trace.png").read_bytes().startswith(b"\x89PNG")


def test_statistics_in_json_are_those_of_the_file(here, tmp_path):
    statistics = statistics_of(here, tmp_path, MOONCAKE, "--out", "folder")
    assert statistics == json.loads((tmp_path / "folder/trace.json").read_text())
    assert statistics["format"] == "mooncake"
    assert (statistics["num_requests"], statistics["span_s"], statistics["mean_rate"]) == (41, 20.0, 2.0)
    assert (statistics["gap_cv"], statistics["dispersion"]) == (0.0, {"1s": 0.0, "60s": None})
    assert statistics["prompt_tokens"] == dict.fromkeys(("mean", "p50", "p90", "p99", "max"), 600.0)
    assert statistics["length_correlation"] is None
    assert statistics["prefix_reuse"] == {"block_tokens": 512, "blocks": 82, "seen_before_fraction": 1 - 42 / 82}


def test_a_poisson_trace_has_unit_variation_and_dispersion(here, tmp_path):
    random = np.random.default_rng(1)
    times = np.cumsum(random.exponential(0.1, 20_000))
    prompts = random.integers(1, 1000, len(times))
    rows = "".join(f"{time},{prompt},{2 * prompt}\n" for time, prompt in zip(times, prompts, strict=True))
    statistics = statistics_of(here, tmp_path, POISSON + rows)
    assert statistics["gap_cv"] == pytest.approx(1, abs=0.03)
    assert statistics["dispersion"]["1s"] == pytest.approx(1, abs=0.1)
    assert statistics["dispersion"]["60s"] == pytest.approx(1, abs=0.7)
    assert statistics["length_correlation"] == pytest.approx(1)
    assert statistics["prefix_reuse"] is None


def test_what_a_reader_left_out_is_noted(here, tmp_path):
    (tmp_path / "t.csv").write_text("Timestamp,Request tokens,Response tokens\n1,5,5\n2,5,0\n")
    output = here("t.csv")
    assert "1 of 2 rows" in output.err
    assert "1 request all at once" in output.out


@pytest.mark.parametrize("rows", ["0,5,5\n", "0,5,5\n0,5,5\n", "3,5,5\n3,5,6\n9,1,1\n"])
def test_tiny_traces_are_described_and_drawn(here, tmp_path, rows):
    assert statistics_of(here, tmp_path, POISSON + rows)["num_requests"] == rows.count("\n")
    assert (tmp_path / "results/trace-t/trace.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("content", "words", "fragments"),
    [
        (MOONCAKE, ["no.jsonl"], ["no.jsonl", "no such file"]),
        (MOONCAKE, ["t", "--format", "moncake"], ["--format", "'moncake'", "did you mean 'mooncake'"]),
        (MOONCAKE, ["t", "--format", "azure"], ["line 1", "no column TIMESTAMP"]),
        ("a,b\n1,2\n", ["t"], ["line 1", "no known trace", "give the format"]),
        (POISSON, ["t"], ["no requests"]),
        (MOONCAKE, ["t", "--out", "t"], ["t: cannot be written"]),
    ],
)
def test_bad_input_is_refused(here, tmp_path, content, words, fragments):
    (tmp_path / "t").write_text(content)
    output = here(*words)
    assert output.code == 2
    assert output.err.startswith("error: ")
    assert not [fragment for fragment in fragments if fragment not in output.err], output.err
    assert not (tmp_path / "results").exists()


def test_the_published_trace(here, measured_data, tmp_path):
    path = measured_data / "traces/mooncake_fast25_conversation.jsonl.gz"
    statistics = json.loads(here(path, "--json", "--out", tmp_path / "out").out)
    assert statistics["num_requests"] == 12_031
    assert statistics["prefix_reuse"]["seen_before_fraction"] == pytest.approx(0.37, abs=0.005)
    assert statistics["prompt_tokens"]["mean"] == pytest.approx(12_035, abs=0.5)
    assert "jitter_s 3" in statistics["notes"][0]
