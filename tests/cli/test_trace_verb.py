"""`servesim trace`: what is printed and written, and how bad input is refused."""

from __future__ import annotations

import gzip
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


@pytest.mark.parametrize(
    ("rows", "mean_rate"),
    [
        ("0,5,5\n1700000000,5,5\n", 1 / 1.7e9),
        ("0,5,5\n5e-324,5,5\n", None),
        ("0,5,5\n" * 20 + "5e-324,5,5\n", None),
        ("4e9,5,5\n" * 20 + "4000000000.0000005,5,5\n", 20 / 2**-21),
    ],
    ids=["long", "short", "short, many", "short, late"],
)
def test_traces_of_any_length_of_time_are_described_and_drawn(here, tmp_path, rows, mean_rate):
    assert statistics_of(here, tmp_path, POISSON + rows)["mean_rate"] == pytest.approx(mean_rate)


def test_the_dispersion_counts_windows_without_arrivals(here, tmp_path):
    """3 requests in the first of ten windows, none in the others: mean 0.3, variance 0.9 - 0.09."""
    found = statistics_of(here, tmp_path, POISSON + "0,5,5\n" * 3 + "10,5,5\n")["dispersion"]
    assert found == {"1s": pytest.approx((0.9 - 0.09) / 0.3), "60s": None}


@pytest.mark.parametrize("name", ["a$b_^$c.csv", "[b]x.csv", "日本.csv", ":warning:.csv", "two\nlines.csv"])
def test_a_trace_may_have_any_name(tmp_path, name):
    (tmp_path / name).write_text(POISSON + "0,5,5\n")
    for environment in ({}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        output = servesim(tmp_path, "trace", name, "--out", "out", **environment)
        assert (output.code, output.err) == (0, "note: trace.json and trace.png are in out\n")
        assert name.replace("\n", "\\n") in output.out or not name.isascii()


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


# ---- --save-mooncake -------------------------------------------------------------------------------------------------


def rows_of(path):
    content = path.read_bytes()
    text = gzip.decompress(content) if path.suffix == ".gz" else content
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("saved", ["saved.jsonl", "saved.jsonl.gz"])
@pytest.mark.parametrize(
    ("content", "expected", "are_shared"),
    [
        (MOONCAKE, [(500 * i, 600, 7, [0, i + 1]) for i in range(41)], True),
        (POISSON + "0,1000,5\n0.25,20,6\n", [(0, 1000, 5, [0, 1]), (250, 20, 6, [2])], False),
        ("Timestamp,Request tokens,Response tokens\n7,20,5\n8.5,20,6\n", [(0, 20, 5, [0]), (1500, 20, 6, [1])], False),
        (
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.5,9,8\n2023-11-16 18:15:47,7,6\n",
            [(0, 9, 8, [0]), (500, 7, 6, [1])],
            False,
        ),
        (
            '{"chat_id": 1, "parent_chat_id": -1, "timestamp": 3, "input_length": 20, "output_length": 4, '
            '"hash_ids": [5, 6]}\n',
            [(0, 20, 4, [6], 1)],
            True,
        ),
    ],
    ids=["mooncake", "csv", "burstgpt", "azure", "bailian"],
)
def test_any_trace_is_saved_in_mooncakes_format(here, tmp_path, saved, content, expected, are_shared):
    (tmp_path / "t").write_text(content)
    output = here("t", "--save-mooncake", saved)
    assert output.code == 0, output.err
    keys = ("timestamp", "input_length", "output_length", "hash_ids", "session_id")
    assert rows_of(tmp_path / saved) == [dict(zip(keys, row, strict=False)) for row in expected]
    assert f"in {saved}" in output.err
    assert ("no two prompts share one" not in output.err) == are_shared


def test_a_saved_trace_is_described_as_the_first_was(here, tmp_path):
    first = statistics_of(here, tmp_path, MOONCAKE, "--save-mooncake", "saved.jsonl")
    again = json.loads(here("saved.jsonl", "--json").out)
    assert again == first | {"file": "saved.jsonl"}


def test_a_trace_may_be_saved_in_the_result_folder(here, tmp_path):
    (tmp_path / "t").write_text(MOONCAKE)
    assert here("t", "--out", "new", "--save-mooncake", "new/t.jsonl").code == 0
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"t.jsonl", "trace.json", "trace.png"}


@pytest.mark.parametrize("name", ["t", "./folder/../t", "link", "hard"])
def test_the_trace_itself_is_not_written_over(here, tmp_path, name):
    (tmp_path / "t").write_text(MOONCAKE)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("t")
    (tmp_path / "hard").hardlink_to(tmp_path / "t")
    output = here("t", "--save-mooncake", name)
    assert output.code == 2
    assert "is the trace itself; give another path" in output.err
    assert (tmp_path / "t").read_text() == MOONCAKE
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("place", ["folder", "no/such.jsonl", "t/below.jsonl"])
def test_a_place_that_cannot_be_written_is_refused_with_the_option(here, tmp_path, place):
    (tmp_path / "t").write_text(MOONCAKE)
    (tmp_path / "folder").mkdir()
    output = here("t", "--out", "out", "--save-mooncake", place)
    assert output.code == 2
    assert f"error: {place}: cannot be written" in output.err
    assert "give --save-mooncake another place" in output.err
    assert not (tmp_path / "out").exists()


def test_the_published_trace(here, measured_data, tmp_path):
    path = measured_data / "traces/mooncake_fast25_conversation.jsonl.gz"
    statistics = json.loads(here(path, "--json", "--out", tmp_path / "out").out)
    assert statistics["num_requests"] == 12_031
    assert statistics["prefix_reuse"]["seen_before_fraction"] == pytest.approx(0.37, abs=0.005)
    assert statistics["prompt_tokens"]["mean"] == pytest.approx(12_035, abs=0.5)
    assert "jitter_s 3" in statistics["notes"][0]
