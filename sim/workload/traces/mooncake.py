"""The Mooncake traces (kvcache-ai/Mooncake, FAST'25): JSON lines timestamp, input_length, output_length, hash_ids.

`timestamp` is in milliseconds, arrivals count from the first row; `hash_ids` name the prompt's blocks of 512 tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from sim.errors import InputError
from sim.workload.traces.json_lines import block_ids, read_objects
from sim.workload.traces.reader import Reader, Trace
from sim.workload.traces.reading import OPTIONAL_KEYS, open_text, optional_columns, seconds_from_first, token_counts

KEYS = ("timestamp", "input_length", "output_length", "hash_ids")
BLOCK_TOKENS = 512
MILLISECONDS_PER_S = 1000


def read(path: Path) -> Trace:
    """The trace, with block ids; any of OPTIONAL_KEYS are read."""
    cells = read_objects(path, KEYS)
    prompts = token_counts(cells, "input_length", path)
    table = pd.DataFrame(
        {
            "arrival_s": seconds_from_first(cells, "timestamp", path, MILLISECONDS_PER_S),
            "prompt_tokens": prompts,
            "output_tokens": token_counts(cells, "output_length", path),
            "block_ids": block_ids(cells, "hash_ids", prompts, BLOCK_TOKENS, path),
        }
    )
    return Trace(table.assign(**optional_columns(cells, path)), block_tokens=BLOCK_TOKENS)


def write_mooncake(trace: Trace, path: Path) -> None:
    """Write `trace` as Mooncake's JSON lines, gzipped if the name ends in .gz, times to the nanosecond.

    Requests of a trace without block ids get ids that nothing shares. Of OPTIONAL_KEYS those are written that the trace
    has; priorities where one is not 0. Raises OSError where the file cannot be written.
    """
    table = trace.table if trace.table["priority"].any() else trace.table.drop(columns="priority")
    extra_keys = [key for key in OPTIONAL_KEYS if key in table]
    with open_text(path, "w") as file:
        for row, ids in zip(table.to_dict("records"), _ids_of_our_blocks(trace), strict=True):
            values = (_milliseconds(row["arrival_s"]), row["prompt_tokens"], row["output_tokens"], ids)
            extra = {key: row[key] for key in extra_keys}
            print(json.dumps(dict(zip(KEYS, values, strict=True)) | extra), file=file)


def _ids_of_our_blocks(trace: Trace) -> Iterator[list[int]]:
    """For each request the ids of its blocks of 512 tokens.

    An id stands for the prompt up to and including its block, so that of the last small block in one of 512 tokens
    stands for that one.
    """
    if trace.block_tokens is None:
        counts = -(-trace.table["prompt_tokens"].to_numpy() // BLOCK_TOKENS)
        ends = counts.cumsum()
        yield from (list(range(end - count, end)) for count, end in zip(counts.tolist(), ends.tolist(), strict=True))
        return
    small_blocks, rest = divmod(BLOCK_TOKENS, trace.block_tokens)
    if rest:
        raise InputError(
            f"block_tokens: the trace names blocks of {trace.block_tokens} tokens, must be a divisor of Mooncake's "
            f"{BLOCK_TOKENS}; drop its block_ids"
        )
    for ids in trace.table["block_ids"]:
        yield [*ids[small_blocks - 1 :: small_blocks], *(ids[-1:] if len(ids) % small_blocks else [])]


def _milliseconds(seconds: float) -> float | int:
    """Whole milliseconds without a decimal point, as in the published files."""
    value = round(seconds * MILLISECONDS_PER_S, 6)
    return int(value) if value.is_integer() else value


READER = Reader(read, KEYS, "jsonl", stamp_unit="milliseconds")
