"""The Qwen traces of Alibaba Bailian (alibaba-edu/qwen-bailian-usagetraces-anon): JSON lines, blocks of 16 tokens.

`timestamp` is in seconds, arrivals count from the first row; equal `hash_ids` in different chats are shared prefixes.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sim.workload.traces.json_lines import block_ids, read_objects
from sim.workload.traces.reader import Reader, Trace
from sim.workload.traces.reading import seconds_from_first, token_counts, whole_numbers

KEYS = ("chat_id", "parent_chat_id", "timestamp", "input_length", "output_length", "hash_ids")
BLOCK_TOKENS = 16


def read(path: Path) -> Trace:
    """The trace, with block ids; a key `priority` is read if present."""
    cells = read_objects(path, KEYS, optional=("priority",))
    prompts = token_counts(cells, "input_length", path)
    table = pd.DataFrame(
        {
            "arrival_s": seconds_from_first(cells, "timestamp", path),
            "prompt_tokens": prompts,
            "output_tokens": token_counts(cells, "output_length", path),
            "priority": whole_numbers(cells, "priority", path),
            "block_ids": block_ids(cells, "hash_ids", prompts, BLOCK_TOKENS, path),
        }
    )
    return Trace(table, block_tokens=BLOCK_TOKENS)


READER = Reader(read, KEYS, "jsonl", stamp_unit="seconds")
