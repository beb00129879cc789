"""Traces: what the readers understand, and how a bad file is refused by file, line, column and value."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from trace_helpers import all_in, read, refusal, workload, write

from sim.errors import InputError

CSV = "arrival_s,prompt_tokens,output_tokens\n"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
THREE = CSV + "0,10,5\n1.5,20,6\n2,30,7\n"
NOON = "2023-11-16 12:00:00"


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_csv(tmp_path, name):
    trace = read(write(tmp_path, name, THREE))
    assert trace["arrival_s"].tolist() == [0.0, 1.5, 2.0]
    assert trace["prompt_tokens"].tolist() == [10, 20, 30]
    assert trace["output_tokens"].tolist() == [5, 6, 7]
    assert trace["priority"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_azure_counts_from_the_first_row(tmp_path, name):
    rows = "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n"
    trace = read(write(tmp_path, name, AZURE + rows), format="azure")
    assert trace["arrival_s"].tolist() == pytest.approx([0, 4.314579], abs=1e-12)
    assert trace["prompt_tokens"].tolist() == [374, 396]
    assert trace["output_tokens"].tolist() == [44, 109]


def test_azure_reads_time_zones(tmp_path):
    rows = "2024-05-10 00:00:00.009930+00:00,1,1\n2024-05-10 02:00:00.017335+02:00,1,1\n"
    trace = read(write(tmp_path, "t.csv", AZURE + rows), format="azure")
    assert trace["arrival_s"].tolist() == pytest.approx([0, 0.007405])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(THREE.replace("\n", "\r\n"), id="windows"),
        pytest.param("\ufeff" + THREE, id="byte_order_mark"),
        pytest.param(THREE.rstrip("\n"), id="no_last_newline"),
        pytest.param(THREE + "\n\n", id="blank_lines_at_the_end"),
        pytest.param("output_tokens,arrival_s,who,prompt_tokens\n5,0,a,10\n6,1.5,b,20\n7,2,c,30\n", id="other_columns"),
        pytest.param("x,x," + CSV + '1,,0,10,5\n"a ""b""",,1.5,20,6\n,,2,30,7\n,,,,\n', id="columns_that_nobody_reads"),
        pytest.param(CSV + '"0","10","5"\n1.5,2e1,6.0\n2,30,7\n', id="spellings_of_numbers"),
    ],
)
def test_csv_in_other_spellings_is_the_same_trace(tmp_path, content):
    columns = ["arrival_s", "prompt_tokens", "output_tokens"]
    trace = read(write(tmp_path, "t.csv", content))[columns]
    assert trace.equals(read(write(tmp_path, "plain.csv", THREE))[columns])


def test_stamps_of_a_calendar_count_from_the_first(tmp_path):
    path = write(tmp_path, "t.csv", CSV + "1700000000.25,10,5\n1700000001.75,20,6\n")
    assert workload(path).table["arrival_s"].tolist() == [0.0, 1.5]
    assert workload(path).notes == ("arrivals of t.csv count from the first, which its clock puts at 1700000000.25 s",)
    assert read(write(tmp_path, "late.csv", CSV + "60,10,5\n"))["arrival_s"].tolist() == [60.0]


def test_priority_column(tmp_path):
    content = "arrival_s,prompt_tokens,output_tokens,priority\n0,1,1,2\n1,1,1,-1\n"
    loaded = workload(write(tmp_path, "t.csv", content))
    assert loaded.table["priority"].tolist() == [2, -1]


def test_time_scale_multiplies_gaps(tmp_path):
    assert workload(write(tmp_path, "t.csv", THREE), time_scale=0.5).table["arrival_s"].tolist() == [0.0, 0.75, 1.0]


def test_num_requests_takes_the_head(tmp_path):
    assert workload(write(tmp_path, "t.csv", THREE), num_requests=2).table["prompt_tokens"].tolist() == [10, 20]


def test_num_requests_above_the_trace_is_refused(tmp_path):
    path = write(tmp_path, "t.csv", THREE)
    with pytest.raises(InputError, match=r"workload\.num_requests: got 4.*holds 3; lower it") as caught:
        workload(path, num_requests=4)
    assert str(path) in str(caught.value)


def test_outputs_are_cut_at_max_model_len_with_a_note(tmp_path):
    loaded = workload(write(tmp_path, "t.csv", THREE), engine={"max_model_len": 33})
    assert loaded.table["output_tokens"].tolist() == [5, 6, 3]
    assert "1 of 3 outputs were cut" in loaded.notes[0]
    assert "max_model_len" in loaded.notes[0]


def test_nothing_cut_needs_no_note(tmp_path):
    assert workload(write(tmp_path, "t.csv", THREE)).notes == ()


@pytest.mark.parametrize(
    ("engine", "rows", "fragments"),
    [
        ({"max_model_len": 30}, "0,10,5\n1,30,1\n", ["line 3", "30 tokens", "engine.max_model_len 30", "raise"]),
        ({"max_model_len": 30}, "0,10,5\n1,30,1\n2,40,1\n", ["raise max_model_len above 40", "such rows (2 of 3)"]),
        ({"num_gpu_blocks": 9}, "0,10,5\n1,100,60\n", ["line 3", "100 prompt", "128 tokens", "engine.num_gpu_blocks"]),
        ({"num_gpu_blocks": 9}, "0,10,5\n" * 1999 + "1,100,60\n", ["remove such rows (1 of 2,000)"]),
        ({"num_gpu_blocks": 1}, "0,10,5\n", ["engine.num_gpu_blocks"]),
    ],
)
def test_request_that_can_never_be_served_is_refused(tmp_path, engine, rows, fragments):
    path = write(tmp_path, "t.csv", CSV + rows)
    with pytest.raises(InputError) as caught:
        workload(path, engine=engine)
    all_in(str(caught.value), fragments)


def test_row_beyond_num_requests_may_be_too_long(tmp_path):
    path = write(tmp_path, "t.csv", THREE)
    assert len(workload(path, num_requests=2, engine={"max_model_len": 30})) == 2


def test_time_scale_that_overflows_is_refused_by_its_own_name(tmp_path):
    path = write(tmp_path, "t.csv", CSV + "0,1,1\n1e9,1,1\n")
    with pytest.raises(InputError, match=r"workload\.trace\.time_scale"):
        workload(path, time_scale=1e300)


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        pytest.param("", ["empty", "arrival_s"], id="empty"),
        pytest.param("\n\n", ["empty", "arrival_s"], id="blank"),
        pytest.param(CSV, ["no requests", "at least one"], id="header_only"),
        pytest.param("arrival_s,prompt_tokens\n0,1\n", ["line 1", "output_tokens", "found arrival_s"], id="column"),
        pytest.param("0,10,5\n1,20,6\n", ["line 1", "no column arrival_s", "found 0, 10, 5"], id="no_header"),
        pytest.param("arrival_s;prompt_tokens;output_tokens\n0;1;1\n", ["line 1", "found arrival_s;"], id="semicolons"),
        pytest.param(CSV + "0,1,1\n1,abc,1\n", ["line 3", "prompt_tokens", "'abc'", "number"], id="text"),
        pytest.param(CSV + "0,1,1\n1,,1\n", ["line 3", "prompt_tokens", "''", "number"], id="empty_cell"),
        pytest.param(CSV + "0,1,1\n1,1\n", ["line 3", "output_tokens", "''", "number"], id="short_row"),
        pytest.param(CSV + "0,1,1\n1,1,1,1\n", ["line 3", "4"], id="long_row"),
        pytest.param(CSV + "0,1,1,1\n1,1,1,1\n", ["line 2", "more cells"], id="long_first_row"),
        pytest.param(CSV + "0,1,1\nnan,1,1\n", ["line 3", "arrival_s", "'nan'", "number"], id="nan"),
        pytest.param(CSV + "0,1,NaN\n", ["line 2", "output_tokens", "'NaN'", "number"], id="nan_tokens"),
        pytest.param(CSV + "inf,1,1\n", ["line 2", "arrival_s", "'inf'", "number"], id="infinite"),
        pytest.param(CSV + "-1,1,1\n", ["line 2", "arrival_s", "-1", ">= 0"], id="negative_arrival"),
        pytest.param(CSV + "0,-3,1\n", ["line 2", "prompt_tokens", "-3", ">= 1"], id="negative_prompt"),
        pytest.param(CSV + "0,1,1\n1,1,0\n", ["line 3", "output_tokens", "0", ">= 1"], id="zero_output"),
        pytest.param(CSV + "0,10.5,1\n", ["line 2", "prompt_tokens", "'10.5'", "whole number"], id="fraction"),
        pytest.param(CSV + f"0,{10**20},1\n", ["line 2", "prompt_tokens", str(10**20)], id="overflow"),
        pytest.param(CSV + '0,"1,000",1\n', ["line 2", "prompt_tokens", "'1,000'", "number"], id="thousands"),
        pytest.param(CSV + f"0,{10**9 + 1},1\n", ["line 2", "prompt_tokens", "at most 10^9"], id="endless_prompt"),
        pytest.param(CSV + "0,1,1\n1.7e12,1,1\n", ["line 3", "1.7e+12 s", "136 years", "unit"], id="milliseconds"),
        pytest.param(CSV + "1e300,1,1\n", ["line 2", "1e+300 s", "136 years"], id="endless_stamp"),
        pytest.param("note," + CSV + 'x,0,1,1\n"a\nb\nc",1,1,1\ny,2,x,1\n', ["line 6", "'x'"], id="line_breaks"),
        pytest.param("note," + CSV + '"a\nb",0,1,1\ny,2,1,1,1\n', ["line 4", "5 cells"], id="long_row_below_them"),
        pytest.param(CSV + '0,"1\n\t2\x1b[31m",1\n', ["line 2", r"'1\n\t2\x1b[31m'"], id="control_characters"),
        pytest.param("arrival_s," + CSV + "0,0,1,1\n", ["line 1", "2 columns arrival_s", "keep one"], id="twice"),
        pytest.param(CSV + "0,1,1\n5,1,1\n3,1,1\n", ["line 4", "sort"], id="unsorted"),
        pytest.param(CSV + "0,1,1\n\n1,1,1\n", ["line 3", "arrival_s", "''"], id="blank_line_inside"),
        pytest.param(CSV + '0,1,"1\n2,1,1\n', ["CSV"], id="open_quote"),
        pytest.param(bytes(range(256)) * 20, ["CSV"], id="binary"),
        pytest.param(THREE.encode("utf-16"), ["utf-8", "CSV"], id="utf16"),
        pytest.param(gzip.compress(THREE.encode()), ["CSV", "gzip"], id="gzip_without_its_suffix"),
    ],
)
def test_bad_csv_is_refused(tmp_path, content, fragments):
    all_in(refusal(write(tmp_path, "t.csv", content)), fragments)


@pytest.mark.parametrize("value", ["high", "0.5", "", "1e30"])
def test_bad_priority_is_refused(tmp_path, value):
    path = write(tmp_path, "t.csv", f"arrival_s,prompt_tokens,output_tokens,priority\n0,1,1,{value}\n")
    all_in(refusal(path), ["line 2", "priority", f"'{value}'", "number"])


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        pytest.param("", ["empty", "TIMESTAMP"], id="empty"),
        pytest.param(AZURE, ["no requests"], id="header_only"),
        pytest.param(THREE, ["line 1", "no column TIMESTAMP", "found arrival_s"], id="plain_csv"),
        pytest.param(AZURE + f"{NOON},1,1\nyesterday,1,1\n", ["line 3", "TIMESTAMP", "'yesterday'"], id="words"),
        pytest.param(AZURE + "now,1,1\n", ["line 2", "TIMESTAMP", "'now'"], id="now"),
        pytest.param(AZURE + "0.5,1,1\n", ["line 2", "TIMESTAMP", "'0.5'", "2023-11-16"], id="seconds"),
        pytest.param(AZURE + "2023-02-30 12:00:00,1,1\n", ["line 2", "TIMESTAMP", "'2023-02-30"], id="no_such_day"),
        pytest.param(AZURE + "1678-01-01 00:00:00,1,1\n", ["line 2", "'1678-01-01", "2023-11-16"], id="long_ago"),
        pytest.param(AZURE + f"{NOON},1,1\n2261-01-01 00:00:00,1,1\n", ["line 3", "'2261-01-01"], id="far_off"),
        pytest.param(AZURE + f"{NOON},1,1\n\n{NOON},1,1\n", ["line 3", "TIMESTAMP", "''"], id="blank_line_inside"),
        pytest.param(AZURE + f"{NOON}.5,1,1\n{NOON},1,1\n", ["line 3", "sort"], id="unsorted"),
        pytest.param(AZURE + f"{NOON},x,1\n", ["line 2", "ContextTokens", "'x'", "number"], id="text"),
        pytest.param(AZURE + f"{NOON},1.5,1\n", ["line 2", "ContextTokens", "'1.5'", "whole number"], id="fraction"),
        pytest.param(AZURE + f"{NOON},nan,1\n", ["line 2", "ContextTokens", "'nan'", "number"], id="nan"),
        pytest.param(AZURE + f"{NOON},-3,1\n", ["line 2", "ContextTokens", "-3", ">= 1"], id="negative"),
        pytest.param(AZURE + f"{NOON},1,0\n", ["line 2", "GeneratedTokens", "0", ">= 1"], id="zero"),
    ],
)
def test_bad_azure_trace_is_refused(tmp_path, content, fragments):
    all_in(refusal(write(tmp_path, "t.csv", content), format="azure"), fragments)


def damaged(data, at):
    return data[:at] + bytes(byte ^ 0xFF for byte in data[at : at + 20]) + data[at + 20 :]


LONG = gzip.compress((CSV + "".join(f"{i},{i % 97 + 1},5\n" for i in range(5000))).encode())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("t.csv.gz", LONG[: len(LONG) // 2], id="truncated"),
        pytest.param("t.csv.gz", LONG[:-4], id="truncated_checksum"),
        pytest.param("t.csv.gz", LONG[:5], id="truncated_header"),
        pytest.param("t.csv.gz", damaged(LONG, 200), id="damaged"),
        pytest.param("t.csv.gz", THREE.encode(), id="not_gzipped"),
        pytest.param("t.csv.gz", b"", id="nothing"),
        pytest.param("t.csv.gz", bytes(range(256)), id="binary"),
        pytest.param("t.csv.zip", b"not a zip archive", id="zip"),
        pytest.param("t.csv.xz", b"not compressed", id="xz"),
        pytest.param("t.csv.zst", b"not compressed", id="zstandard"),
        pytest.param("t.tar", b"not an archive", id="tar"),
    ],
)
def test_bad_archive_is_refused(tmp_path, name, content):
    assert "CSV" in refusal(write(tmp_path, name, content))


def test_truncated_azure_archive_is_refused(tmp_path):
    assert "CSV" in refusal(write(tmp_path, "t.csv.gz", LONG[: len(LONG) // 2]), format="azure")


def test_columns_are_numbers_of_one_kind(tmp_path):
    loaded = workload(write(tmp_path, "t.csv", THREE))
    assert loaded.table["arrival_s"].dtype == np.float64
    whole = loaded.table[["prompt_tokens", "output_tokens", "priority"]]
    assert set(whole.dtypes) == {np.dtype(np.int64)}
