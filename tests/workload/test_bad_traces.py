"""Mooncake, BurstGPT, Bailian and plain JSON lines: a bad file is refused by file, line, key and value."""

from __future__ import annotations

import gzip

import pytest
from trace_helpers import BAILIAN_ROWS, BURSTGPT, MOONCAKE_ROWS, PLAIN_ROW, all_in, lines, refusal, write


def mooncake(**changes):
    """One Mooncake line with keys changed, or dropped where None."""
    row = MOONCAKE_ROWS[0] | changes
    return lines({key: value for key, value in row.items() if value is not None})


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        pytest.param("", ["no requests", "at least one"], id="empty"),
        pytest.param("\n\n", ["no requests"], id="blank"),
        pytest.param(mooncake() + "{\n", ["line 2", "not valid JSON", "one object a line"], id="malformed"),
        pytest.param(mooncake() + "\n" + mooncake(), ["line 2", "not valid JSON"], id="blank_line_inside"),
        pytest.param("[1, 2]\n", ["line 1", "JSON list", "one object a line"], id="list"),
        pytest.param("[" * 10**5, ["line 1", "not valid JSON"], id="bottomless"),
        pytest.param('{"timestamp": 1' + "0" * 5000 + "}", ["line 1", "not valid JSON"], id="endless_number"),
        pytest.param(
            mooncake() + mooncake(output_length=None),
            ["line 2", "no key output_length", "found timestamp, input_length, hash_ids", "need timestamp"],
            id="key",
        ),
        pytest.param('{"timestamp": 1, "timestamp": 2}', ["line 1", "key timestamp is written twice"], id="twice"),
        pytest.param(mooncake(timestamp=-1), ["line 1", "timestamp is '-1'", ">= 0"], id="negative_stamp"),
        pytest.param(mooncake(timestamp="1"), ["line 1", "timestamp is", '"1"', "a number"], id="text"),
        pytest.param(mooncake(timestamp=True), ["line 1", "timestamp is 'true'", "a number"], id="bool"),
        pytest.param(mooncake(timestamp=[1]), ["line 1", "timestamp is '[1]'", "a number"], id="list_for_number"),
        pytest.param(mooncake(timestamp=float("nan")), ["line 1", "timestamp is 'NaN'", "a number"], id="nan"),
        pytest.param(
            mooncake(timestamp=float("inf")), ["line 1", "timestamp is 'Infinity'", "a number"], id="infinite"
        ),
        pytest.param(mooncake(input_length=-5), ["line 1", "input_length is '-5'", ">= 1"], id="negative"),
        pytest.param(mooncake(input_length=0), ["line 1", "input_length is '0'", ">= 1"], id="zero_prompt"),
        pytest.param(mooncake() + mooncake(output_length=0), ["line 2", "output_length is '0'", ">= 1"], id="zero"),
        pytest.param(mooncake(output_length=1.5), ["line 1", "output_length is '1.5'", "whole"], id="fraction"),
        pytest.param(mooncake(output_length=10**20), ["line 1", "output_length is '1000", "2^53"], id="overflow"),
        pytest.param(mooncake(priority="high"), ["line 1", "priority is", "high", "a number"], id="priority"),
        pytest.param(mooncake() + mooncake(timestamp=1999), ["line 2", "arrives before", "sort"], id="unsorted"),
        pytest.param(
            mooncake() + mooncake(hash_ids=[0, 1]),
            ["line 2", "hash_ids holds 2 ids", "must be 1", "512 tokens", "prompt of 512"],
            id="too_many_blocks",
        ),
        pytest.param(mooncake(input_length=513), ["line 1", "hash_ids holds 1 ids", "must be 2"], id="too_few_blocks"),
        pytest.param(mooncake(hash_ids=3), ["line 1", "hash_ids is '3'", "list of whole numbers"], id="number_for_ids"),
        pytest.param(mooncake(hash_ids=["a"]), ["line 1", "hash_ids is", "'a'", "list of whole numbers"], id="text_id"),
        pytest.param(mooncake(hash_ids=[2**64]), ["line 1", "hash_ids is", "list of whole numbers"], id="huge_id"),
        pytest.param(bytes(range(256)) * 20, ["JSON"], id="binary"),
        pytest.param(mooncake().encode("utf-16"), ["utf-8", "JSON lines"], id="utf16"),
    ],
)
def test_bad_mooncake_trace_is_refused(tmp_path, content, fragments):
    all_in(refusal(write(tmp_path, "t.jsonl", content), format="mooncake"), fragments)


LONG = gzip.compress("".join(mooncake(output_length=i + 1) for i in range(5000)).encode())


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(LONG[: len(LONG) // 2], id="truncated"),
        pytest.param(LONG[:-4], id="truncated_checksum"),
        pytest.param(LONG[:200] + bytes(byte ^ 0xFF for byte in LONG[200:220]) + LONG[220:], id="damaged"),
        pytest.param(mooncake().encode(), id="not_gzipped"),
    ],
)
def test_damaged_gzip_is_refused(tmp_path, content):
    assert "JSON" in refusal(write(tmp_path, "t.jsonl.gz", content), format="mooncake")


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        pytest.param("", ["empty", "Request tokens"], id="empty"),
        pytest.param(BURSTGPT, ["no requests"], id="header_only"),
        pytest.param(BURSTGPT + "5,m,1,0,1,x\n", ["no requests", "at least one"], id="only_failures"),
        pytest.param("Timestamp,Request tokens\n", ["line 1", "no column Response tokens", "found"], id="column"),
        pytest.param(BURSTGPT + "5,m,1,-1,0,x\n", ["line 2", "Response tokens is '-1'", ">= 0"], id="negative"),
        pytest.param(BURSTGPT + "5,m,1,0,1,x\n6,m,0,1,1,x\n", ["line 3", "Request tokens is '0'"], id="no_prompt"),
        pytest.param(BURSTGPT + "-5,m,1,1,2,x\n", ["line 2", "Timestamp is '-5'", ">= 0"], id="negative_stamp"),
        pytest.param(BURSTGPT + "5,m,1,1,2,x\n4,m,1,1,2,x\n", ["line 3", "sort"], id="unsorted"),
        pytest.param(BURSTGPT + "5,m,1,many,2,x\n", ["line 2", "Response tokens is 'many'", "a number"], id="text"),
        pytest.param(BURSTGPT + "5,m,1.5,1,2,x\n", ["line 2", "Request tokens is '1.5'", "whole"], id="fraction"),
        pytest.param(BURSTGPT + f"5,m,1,{10**20},2,x\n", ["line 2", "Response tokens is '1000", "2^53"], id="huge"),
        pytest.param(BURSTGPT + "nan,m,1,1,2,x\n", ["line 2", "Timestamp is 'nan'", "a number"], id="nan_stamp"),
        pytest.param(BURSTGPT + "inf,m,1,1,2,x\n", ["line 2", "Timestamp is 'inf'", "a number"], id="endless_stamp"),
        pytest.param(BURSTGPT + "noon,m,1,1,2,x\n", ["line 2", "Timestamp is 'noon'", "a number"], id="text_stamp"),
        pytest.param(BURSTGPT + "5,m,1,1,2,x\n6,m\n", ["line 3", "Response tokens is ''"], id="short_row"),
        pytest.param(BURSTGPT + "5,m,1,1,2,x\n6,m,1,1,2,x,y\n", ["line 3", "7"], id="long_row"),
        pytest.param(BURSTGPT + "5,m,1,1,2,x\n\n6,m,1,1,2,x\n", ["line 3", "''"], id="blank_line_inside"),
        pytest.param(bytes(range(256)) * 20, ["CSV"], id="binary"),
    ],
)
def test_bad_burstgpt_trace_is_refused(tmp_path, content, fragments):
    all_in(refusal(write(tmp_path, "t.csv", content), format="burstgpt"), fragments)


@pytest.mark.parametrize("missing", ["chat_id", "parent_chat_id", "timestamp", "input_length", "hash_ids"])
def test_bailian_line_without_a_key_is_refused(tmp_path, missing):
    row = {key: value for key, value in BAILIAN_ROWS[0].items() if key != missing}
    all_in(refusal(write(tmp_path, "t.jsonl", lines(row)), format="bailian"), ["line 1", f"no key {missing}", "found"])


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        pytest.param("", ["no requests", "at least one"], id="empty"),
        pytest.param("{\n", ["line 1", "not valid JSON"], id="malformed"),
        pytest.param(lines(3), ["line 1", "JSON int", "one object a line"], id="number"),
        pytest.param(
            lines(BAILIAN_ROWS[0] | {"timestamp": -1}), ["line 1", "timestamp is '-1'", ">= 0"], id="negative"
        ),
        pytest.param(lines(BAILIAN_ROWS[0] | {"timestamp": "1"}), ["line 1", "timestamp is", "a number"], id="text"),
        pytest.param(
            lines(BAILIAN_ROWS[0] | {"input_length": 0}), ["line 1", "input_length is '0'", ">= 1"], id="zero"
        ),
        pytest.param(
            lines(*BAILIAN_ROWS, BAILIAN_ROWS[1] | {"output_length": 2.5}),
            ["line 3", "output_length is '2.5'", "whole"],
            id="fraction",
        ),
        pytest.param(lines(*BAILIAN_ROWS[::-1]), ["line 2", "arrives before", "sort"], id="unsorted"),
        pytest.param(
            lines(BAILIAN_ROWS[0] | {"input_length": 50}),
            ["line 1", "hash_ids holds 3 ids", "must be 4", "16 tokens"],
            id="too_few_blocks",
        ),
        pytest.param(
            lines(BAILIAN_ROWS[0] | {"hash_ids": [1, 2, "3"]}), ["line 1", "hash_ids is", "whole numbers"], id="text_id"
        ),
        pytest.param(
            lines(BAILIAN_ROWS[0] | {"priority": "low"}), ["line 1", "priority is", "a number"], id="priority"
        ),
    ],
)
def test_bad_bailian_trace_is_refused(tmp_path, content, fragments):
    all_in(refusal(write(tmp_path, "t.jsonl", content), format="bailian"), fragments)


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        pytest.param("", ["no requests", "at least one"], id="empty"),
        pytest.param("arrival_s,prompt_tokens,output_tokens\n", ["line 1", "not valid JSON"], id="csv"),
        pytest.param(
            lines({"arrival_s": 0, "prompt_tokens": 1}), ["line 1", "no key output_tokens", "found"], id="key"
        ),
        pytest.param(lines([0, 1, 1]), ["line 1", "JSON list", "one object a line"], id="list"),
        pytest.param(lines(PLAIN_ROW | {"arrival_s": -1}), ["line 1", "arrival_s is '-1'", ">= 0"], id="negative"),
        pytest.param(lines(PLAIN_ROW | {"arrival_s": None}), ["line 1", "arrival_s is 'null'", "a number"], id="null"),
        pytest.param(
            lines(PLAIN_ROW | {"arrival_s": float("nan")}), ["line 1", "arrival_s is 'NaN'", "a number"], id="nan"
        ),
        pytest.param(lines(PLAIN_ROW | {"prompt_tokens": 0}), ["line 1", "prompt_tokens is '0'", ">= 1"], id="zero"),
        pytest.param(
            lines(PLAIN_ROW, PLAIN_ROW | {"output_tokens": "4"}), ["line 2", "output_tokens is", "a number"], id="text"
        ),
        pytest.param(
            lines(PLAIN_ROW | {"output_tokens": [4]}), ["line 1", "output_tokens is '[4]'", "a number"], id="list_cell"
        ),
        pytest.param(lines(PLAIN_ROW, PLAIN_ROW | {"arrival_s": 0}), ["line 2", "sort"], id="unsorted"),
        pytest.param(lines(PLAIN_ROW | {"priority": 0.5}), ["line 1", "priority is '0.5'", "whole"], id="priority"),
    ],
)
def test_bad_plain_json_lines_are_refused(tmp_path, content, fragments):
    all_in(refusal(write(tmp_path, "t.jsonl", content), format="jsonl"), fragments)
