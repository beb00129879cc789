"""The Qwen traces of Alibaba Bailian (alibaba-edu/qwen-bailian-usagetraces-anon): JSON lines, blocks of 16 tokens.

`timestamp` is in seconds, arrivals count from the first row; equal `hash_ids` in different chats are shared prefixes.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sim.workload.traces.json_lines import block_ids, read_objects
from sim.workload.traces.reader import Reader, Trace
from sim.workload.traces.reading import optional_columns, seconds_from_first, token_counts, whole_numbers

KEYS = ("chat_id", "parent_chat_id", "timestamp", "input_length", "output_length", "hash_ids")
BLOCK_TOKENS = 16


def read(path: Path) -> Trace:
    """The trace, with block ids; any of OPTIONAL_KEYS are read."""
    cells = read_objects(path, KEYS)
    prompts = token_counts(cells, "input_length", path)
    table = pd.DataFrame(
        {
            "arrival_s": seconds_from_first(cells, "timestamp", path),
            "prompt_tokens": prompts,
            "output_tokens": token_counts(cells, "output_length", path),
            "session_id": _first_chats(cells, path),
            "block_ids": block_ids(cells, "hash_ids", prompts, BLOCK_TOKENS, path),
        }
    )
    return Trace(table.assign(**optional_columns(cells, path)), block_tokens=BLOCK_TOKENS)


def _first_chats(cells: pd.DataFrame, path: Path) -> list[int]:
    """The chat that began each conversation: a chat's parent is the turn before it, -1 at the first."""
    first: dict[int, int] = {}
    chats, parents = (whole_numbers(cells, column, path).tolist() for column in ("chat_id", "parent_chat_id"))
    for chat, parent in zip(chats, parents, strict=True):
        first[chat] = first.get(parent, chat)
    return [first[chat] for chat in chats]


READER = Reader(read, KEYS, "jsonl", stamp_unit="seconds")
