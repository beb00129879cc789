"""Mooncake, Bailian, BurstGPT and plain JSON lines; units of time, jitter, the guessed format, the writer."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import get_args

import pytest
from trace_helpers import (
    BAILIAN_ROWS,
    BURSTGPT,
    MOONCAKE_ROWS,
    PLAIN_ROW,
    all_in,
    lines,
    read,
    read_whole,
    refusal,
    workload,
    write,
)

from sim.errors import InputError
from sim.specs.workload import TraceSpec
from sim.workload.trace_statistics import trace_statistics
from sim.workload.traces import READERS, guess_format
from sim.workload.traces.mooncake import write_mooncake

COLUMNS = ["arrival_s", "prompt_tokens", "output_tokens"]
THREE_CALLS = (
    BURSTGPT
    + "5,ChatGPT,472,18,490,Conversation log\n45,ChatGPT,1087,0,1087,API log\n"
    + ("118,GPT-4,417,276,693,Conversation log\n")
)


def regular(count, gap):
    """Mooncake lines, one every `gap` in the unit of time stamps."""
    return lines(*(MOONCAKE_ROWS[0] | {"timestamp": i * gap} for i in range(count)))


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz"])
def test_mooncake_stamps_are_milliseconds_from_the_first(tmp_path, name):
    trace = read_whole(write(tmp_path, name, lines(*MOONCAKE_ROWS)), format="mooncake")
    assert trace.table["arrival_s"].tolist() == [0.0, 1.5, 2.0]
    assert trace.table["prompt_tokens"].tolist() == [512, 513, 1]
    assert trace.table["output_tokens"].tolist() == [5, 6, 7]
    assert trace.table["block_ids"].tolist() == [[0], [0, 1], [2]]
    assert trace.block_tokens == 512


def test_bailian_stamps_are_seconds_from_the_first(tmp_path):
    trace = read_whole(write(tmp_path, "t.jsonl", lines(*BAILIAN_ROWS)), format="bailian")
    assert trace.table["arrival_s"].tolist() == [0.0, 1.5]
    assert trace.table["prompt_tokens"].tolist() == [33, 16]
    assert trace.table["block_ids"].tolist() == [[1, 2, 3], [1]]
    assert trace.block_tokens == 16


def test_burstgpt_drops_failed_calls_and_says_how_many(tmp_path):
    trace = read_whole(write(tmp_path, "t.csv", THREE_CALLS), format="burstgpt")
    assert trace.table["arrival_s"].tolist() == [0.0, 113.0]
    assert trace.table["prompt_tokens"].tolist() == [472, 417]
    assert trace.table["output_tokens"].tolist() == [18, 276]
    assert trace.notes == ("1 of 3 rows of t.csv have 0 response tokens: failed calls, dropped",)


def test_a_refused_row_is_named_by_its_line_although_rows_above_it_were_dropped(tmp_path):
    path = write(tmp_path, "t.csv", THREE_CALLS.replace("472", "47"))
    with pytest.raises(InputError, match=r"line 4: a prompt of 417 tokens"):
        workload(path, format="burstgpt", engine={"max_model_len": 400})


def test_plain_json_lines_are_the_plain_csv(tmp_path):
    csv = write(tmp_path, "t.csv", "arrival_s,prompt_tokens,output_tokens,priority\n0.5,3,4,0\n2,3,9,-1\n")
    jsonl = write(
        tmp_path, "t.jsonl", lines(PLAIN_ROW, PLAIN_ROW | {"arrival_s": 2, "output_tokens": 9, "priority": -1})
    )
    columns = [*COLUMNS, "priority"]
    assert read(jsonl, format="jsonl")[columns].to_dict("list") == read(csv)[columns].to_dict("list")


def test_priorities_in_json_lines_are_kept(tmp_path):
    path = write(tmp_path, "t.jsonl", lines(MOONCAKE_ROWS[0] | {"priority": 3}, MOONCAKE_ROWS[1]))
    assert workload(path, format="mooncake").table["priority"].tolist() == [3, 0]


def test_prefixes_in_a_trace_are_noted_as_not_used_where_the_engine_does_not_cache(tmp_path):
    path = write(tmp_path, "t.jsonl", lines(*MOONCAKE_ROWS))
    loaded = workload(path, format="mooncake", engine={"enable_prefix_caching": False})
    assert "engine.enable_prefix_caching is off" in loaded.notes[0]
    assert [request.shared_text for request in loaded] == [(), (), ()]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lines(*MOONCAKE_ROWS).replace("\n", "\r\n"), id="windows"),
        pytest.param("\ufeff" + lines(*MOONCAKE_ROWS), id="byte_order_mark"),
        pytest.param(lines(*MOONCAKE_ROWS).rstrip("\n"), id="no_last_newline"),
        pytest.param(lines(*MOONCAKE_ROWS) + "\n  \n", id="blank_lines_at_the_end"),
        pytest.param(lines(*({"other": 1} | row for row in MOONCAKE_ROWS)), id="other_keys"),
    ],
)
def test_json_lines_in_other_spellings_are_the_same_trace(tmp_path, content):
    plain = read(write(tmp_path, "plain.jsonl", lines(*MOONCAKE_ROWS)), format="mooncake")
    assert read(write(tmp_path, "t.jsonl", content), format="mooncake").equals(plain)


# ---- units of time ---------------------------------------------------------------------------------------------------


def test_seconds_where_mooncake_has_milliseconds_are_refused(tmp_path):
    path = write(tmp_path, "t.jsonl", regular(50, gap=0.3))
    all_in(refusal(path, format="mooncake"), ["50 requests in 0.0147 s", "3.33e+03 requests/s", "in milliseconds"])


def test_milliseconds_where_bailian_has_seconds_are_refused(tmp_path):
    rows = lines(*(BAILIAN_ROWS[0] | {"timestamp": 300 * i} for i in range(50)))
    all_in(refusal(write(tmp_path, "t.jsonl", rows), format="bailian"), ["0.00333 requests/s", "in seconds", "csv"])


def test_milliseconds_where_burstgpt_has_seconds_are_refused(tmp_path):
    rows = BURSTGPT + "".join(f"{300 * i},m,1,1,2,x\n" for i in range(50))
    all_in(refusal(write(tmp_path, "t.csv", rows), format="burstgpt"), ["0.00333 requests/s", "in seconds"])


@pytest.mark.parametrize(
    ("count", "gap"),
    [
        pytest.param(50, 0, id="all_at_once"),
        pytest.param(5, 0.3, id="too_few_to_judge"),
        pytest.param(50, 2, id="busy"),
    ],
)
def test_credible_stamps_are_read(tmp_path, count, gap):
    assert len(read(write(tmp_path, "t.jsonl", regular(count, gap)), format="mooncake")) == count


@pytest.mark.parametrize(("gap_ms", "rate"), [(2, "500"), (10_000_000 / 300, "0.03")])
def test_an_odd_rate_is_noted_for_it_may_be_another_unit(tmp_path, gap_ms, rate):
    (note,) = read_whole(write(tmp_path, "t.jsonl", regular(50, gap_ms)), format="mooncake").notes
    assert note.startswith(f"t.jsonl has {rate} requests/s if its time stamps are in milliseconds")
    assert read_whole(write(tmp_path, "t.jsonl", regular(50, 200)), format="mooncake").notes == ()


def test_a_format_that_names_its_unit_is_believed(tmp_path):
    rows = "arrival_s,prompt_tokens,output_tokens\n" + "".join(f"{1000 * i},1,1\n" for i in range(50))
    assert read(write(tmp_path, "t.csv", rows))["arrival_s"].max() == 49_000


def test_the_published_trace_in_the_wrong_unit_is_refused(tmp_path, measured_data):
    source = measured_data / "traces" / "mooncake_fast25_conversation.jsonl.gz"
    with gzip.open(source, "rt") as file:
        rows = [json.loads(line) for line in file]
    in_seconds = lines(*(row | {"timestamp": row["timestamp"] / 1000} for row in rows))
    assert "in milliseconds" in refusal(write(tmp_path, "s.jsonl", in_seconds), format="mooncake")
    calls = "".join(f"{row['timestamp']},{row['input_length']},{row['output_length']}\n" for row in rows)
    csv = write(tmp_path, "ms.csv", "Timestamp,Request tokens,Response tokens\n" + calls)
    assert "in seconds" in refusal(csv, format="burstgpt")


# ---- jitter ----------------------------------------------------------------------------------------------------------


def ticks(tmp_path):
    """400 requests in heaps of 10, every 3 s."""
    return write(tmp_path, "t.jsonl", lines(*(MOONCAKE_ROWS[0] | {"timestamp": i // 10 * 3000} for i in range(400))))


def test_coarse_ticks_are_noted_with_the_remedy(tmp_path):
    path = ticks(tmp_path)
    noted = read_whole(path, format="mooncake").notes
    all_in(noted[0], ["400 requests share 40 time stamps", "3 s apart", "workload.trace.jitter_s 3"])
    assert read_whole(path, format="mooncake", jitter_s=3.0).notes == ()


def test_jitter_spreads_arrivals_within_its_bounds_and_in_order(tmp_path):
    path = ticks(tmp_path)
    still, spread = (read(path, format="mooncake", jitter_s=jitter_s) for jitter_s in (0.0, 5.0))
    assert spread["arrival_s"].is_monotonic_increasing
    delay_s = (spread["arrival_s"] - still["arrival_s"]).loc[still.index]
    assert delay_s.between(0, 5, inclusive="left").all()
    assert delay_s.mean() == pytest.approx(2.5, abs=0.4)
    assert spread.index.tolist() != still.index.tolist()
    scaled = read(path, format="mooncake", jitter_s=5.0, time_scale=0.5)
    assert scaled["arrival_s"].tolist() == pytest.approx((spread["arrival_s"] / 2).tolist())


def test_jitter_is_drawn_under_the_seed(tmp_path):
    path = ticks(tmp_path)
    one, same, other = (read(path, format="mooncake", jitter_s=3.0, seed=seed) for seed in (1, 1, 2))
    assert one.equals(same)
    assert not one.equals(other)


# ---- guessing and writing --------------------------------------------------------------------------------------------


def test_every_format_of_the_config_has_a_reader():
    assert set(READERS) == set(get_args(TraceSpec.model_fields["format"].annotation))


@pytest.mark.parametrize("name", ["t", "t.gz"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (lines(*MOONCAKE_ROWS), "mooncake"),
        (lines(*BAILIAN_ROWS), "bailian"),
        (lines(PLAIN_ROW), "jsonl"),
        (THREE_CALLS, "burstgpt"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "azure"),
        ("arrival_s,prompt_tokens,output_tokens\n", "csv"),
    ],
)
def test_the_format_is_known_by_its_keys(tmp_path, name, content, expected):
    assert guess_format(write(tmp_path, name, content)) == expected


@pytest.mark.parametrize("content", ["", "a,b\n", "{}\n", "{\n", "[]\n", lines({"timestamp": 1}), "a" * 10**6, "\0\n"])
def test_an_unknown_format_is_not_guessed(tmp_path, content):
    with pytest.raises(InputError, match=r"line 1: .*no known trace; give the format .*mooncake timestamp"):
        guess_format(write(tmp_path, "t", content))


def test_what_mooncake_writes_it_reads(tmp_path):
    trace = read_whole(
        write(tmp_path, "t.jsonl", lines(*(row | {"priority": 2} for row in MOONCAKE_ROWS))), format="mooncake"
    )
    write_mooncake(trace, tmp_path / "again.jsonl")
    assert read(tmp_path / "again.jsonl", format="mooncake").equals(trace.table)


def test_a_trace_without_blocks_is_written_as_sharing_none(tmp_path):
    csv = "arrival_s,prompt_tokens,output_tokens\n0,1000,5\n0.0015,20,6\n"
    trace = read_whole(write(tmp_path, "t.csv", csv))
    write_mooncake(trace, tmp_path / "t.jsonl")
    again = read_whole(tmp_path / "t.jsonl", format="mooncake")
    assert again.table[COLUMNS].to_dict("list") == trace.table[COLUMNS].to_dict("list")
    assert again.table["block_ids"].tolist() == [[0, 1], [2]]


def test_everything_else_that_a_trace_tells_is_written_too(tmp_path):
    more = {"priority": 2, "max_new_tokens": 9, "predicted_output_tokens": 5, "tenant": "a", "session_id": 0}
    trace = read_whole(write(tmp_path, "t.jsonl", lines(PLAIN_ROW | more)), format="jsonl")
    write_mooncake(trace, tmp_path / "again.jsonl")
    assert read(tmp_path / "again.jsonl", format="mooncake")[[*more]].to_dict("records") == [more]


def bailian(input_length, hash_ids):
    return BAILIAN_ROWS[0] | {"input_length": input_length, "hash_ids": hash_ids}


def test_blocks_of_16_tokens_become_blocks_of_512_that_share_the_same_prefixes(tmp_path):
    """An id names the prompt up to the end of its block, so each block of 512 has the id of its 32nd small one."""
    rows = (bailian(1024, [*range(64)]), bailian(1040, [*range(64), 99]), bailian(530, [*range(32), 77, 78]))
    trace = read_whole(write(tmp_path, "t.jsonl", lines(*rows)), format="bailian")
    write_mooncake(trace, tmp_path / "again.jsonl")
    again = read_whole(tmp_path / "again.jsonl", format="mooncake").table
    assert again["block_ids"].tolist() == [[31, 63], [31, 63, 99], [31, 78]]
    assert again[COLUMNS].equals(trace.table[COLUMNS])


def test_blocks_that_do_not_make_up_mooncakes_are_refused(tmp_path):
    trace = replace(read_whole(write(tmp_path, "t.jsonl", lines(*BAILIAN_ROWS)), format="bailian"), block_tokens=24)
    with pytest.raises(InputError, match=r"blocks of 24 tokens.*512; drop its block_ids"):
        write_mooncake(trace, tmp_path / "again.jsonl")


def test_a_name_in_gz_is_written_gzipped(tmp_path):
    trace = read_whole(write(tmp_path, "t.jsonl", lines(*MOONCAKE_ROWS)), format="mooncake")
    write_mooncake(trace, tmp_path / "again.jsonl.gz")
    assert (tmp_path / "again.jsonl.gz").read_bytes().startswith(b"\x1f\x8b")
    assert read(tmp_path / "again.jsonl.gz", format="mooncake").equals(trace.table)


# ---- published files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "rows", "span_s", "prompt_mean", "output_mean", "seen_before"),
    [
        ("mooncake_fast25_conversation.jsonl.gz", 12_031, 3537, 12_035, 343, 0.37),
        ("mooncake_fast25_synthetic.jsonl.gz", 3_993, 1022, 15_325, 149, 0.64),
        ("azure_llm_2023_code.csv.gz", 8_819, 3436, 2_048, 28, None),
        ("azure_llm_2023_conv.csv.gz", 19_366, 3502, 1_155, 211, None),
    ],
)
def test_published_traces(measured_data, name, rows, span_s, prompt_mean, output_mean, seen_before):
    path = measured_data / "traces" / name
    trace = read_whole(path, format=guess_format(path))
    statistics = trace_statistics(trace)
    assert statistics["num_requests"] == len(trace.table) == rows
    assert statistics["span_s"] == pytest.approx(span_s, abs=0.5)
    assert trace.table["prompt_tokens"].mean() == pytest.approx(prompt_mean, abs=0.5)
    assert trace.table["output_tokens"].mean() == pytest.approx(output_mean, abs=0.5)
    reuse = statistics["prefix_reuse"]
    assert (reuse and reuse["seen_before_fraction"]) == (seen_before and pytest.approx(seen_before, abs=0.005))


@pytest.mark.parametrize("kind", ["conversation", "synthetic"])
def test_the_published_mooncake_traces_survive_writing(tmp_path, measured_data, kind):
    trace = read_whole(measured_data / "traces" / f"mooncake_fast25_{kind}.jsonl.gz", format="mooncake")
    write_mooncake(trace, tmp_path / "again.jsonl")
    assert read(tmp_path / "again.jsonl", format="mooncake").equals(trace.table)
