"""The Mooncake traces (kvcache-ai/Mooncake, FAST'25): JSON lines timestamp, input_length, output_length, hash_ids.

`timestamp` is in milliseconds, arrivals count from the first row; `hash_ids` name the prompt's blocks of 512 tokens.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from sim.errors import InputError
from sim.workload.traces.json_lines import block_ids, read_objects
from sim.workload.traces.reader import Reader, Trace
from sim.workload.traces.reading import seconds_from_first, token_counts, whole_numbers

KEYS = ("timestamp", "input_length", "output_length", "hash_ids")
BLOCK_TOKENS = 512
MILLISECONDS_PER_S = 1000


def read(path: Path) -> Trace:
    """The trace, with block ids; a key `priority` is read if present."""
    cells = read_objects(path, KEYS, optional=("priority",))
    prompts = token_counts(cells, "input_length", path)
    table = pd.DataFrame(
        {
            "arrival_s": seconds_from_first(cells, "timestamp", path, MILLISECONDS_PER_S),
            "prompt_tokens": prompts,
            "output_tokens": token_counts(cells, "output_length", path),
            "priority": whole_numbers(cells, "priority", path),
            "block_ids": block_ids(cells, "hash_ids", prompts, BLOCK_TOKENS, path),
        }
    )
    return Trace(table, block_tokens=BLOCK_TOKENS)


def write_mooncake(trace: Trace, path: Path) -> None:
    """Write `trace` as Mooncake's JSON lines, times to the nanosecond.

    Requests of a trace without block ids get ids that nothing shares; priorities are written where one is not 0.
    """
    if trace.block_tokens not in (None, BLOCK_TOKENS):
        raise InputError(
            f"{path}: the trace names blocks of {trace.block_tokens} tokens, Mooncake's have {BLOCK_TOKENS}; "
            "drop its block_ids"
        )
    next_id, with_priority = 0, bool((trace.table["priority"] != 0).any())
    with path.open("w", encoding="utf-8") as file:
        for row in trace.table.to_dict("records"):
            count = -(-row["prompt_tokens"] // BLOCK_TOKENS)
            ids = row["block_ids"] if trace.block_tokens else list(range(next_id, next_id + count))
            next_id += count
            values = (_milliseconds(row["arrival_s"]), row["prompt_tokens"], row["output_tokens"], ids)
            extra: dict[str, Any] = {"priority": row["priority"]} if with_priority else {}
            print(json.dumps(dict(zip(KEYS, values, strict=True)) | extra), file=file)


def _milliseconds(seconds: float) -> float | int:
    """Whole milliseconds without a decimal point, as in the published files."""
    value = round(seconds * MILLISECONDS_PER_S, 6)
    return int(value) if value.is_integer() else value


READER = Reader(read, KEYS, "jsonl", stamp_unit="milliseconds")
