"""The requests of a run of a real engine (docs/validate.md): when they came, how long they were, what they shared.

`prefix_block_ids`, where there is such a column, names the prompt's full blocks of 16 tokens as runs `a-b c d-e`; equal
ids stand for equal prompts up to and including that block. The stamps beside them say what the engine did.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sim.errors import InputError
from sim.workload.traces.reader import Reader, Trace
from sim.workload.traces.reading import (
    first_bad_line,
    numbers,
    optional_columns,
    read_columns,
    refuse_where,
    token_counts,
)

STAMPS = ("queued_s", "first_token_s", "last_token_s")
KEYS = ("arrival_s", "prompt_tokens", "output_tokens", *STAMPS)
BLOCKS = "prefix_block_ids"
BLOCK_TOKENS = 16


def read(path: Path) -> Trace:
    """The trace, by arrival, counted from the first; any of OPTIONAL_KEYS are read."""
    cells = read_cells(path)
    arrival_s = arrivals(cells, path)
    prompts = token_counts(cells, "prompt_tokens", path)
    table = pd.DataFrame(
        {
            "arrival_s": arrival_s - arrival_s.min(),
            "prompt_tokens": prompts,
            "output_tokens": token_counts(cells, "output_tokens", path),
        }
    )
    if BLOCKS in cells:
        table["block_ids"] = _block_ids(cells, prompts, path)
    table = table.assign(**optional_columns(cells, path))
    return Trace(table, block_tokens=BLOCK_TOKENS if BLOCKS in cells else None)


def read_cells(path: Path, wanted: Sequence[str] = (BLOCKS,)) -> pd.DataFrame:
    """The text of the columns KEYS, which must be there, and of those `wanted` that are; rows in order of arrival."""
    cells = read_columns(path, KEYS, wanted)
    order = arrivals(cells, path).sort_values(kind="stable").index
    return cells.loc[order]


def arrivals(cells: pd.DataFrame, path: Path) -> pd.Series[float]:
    """Seconds since the clock's zero."""
    arrival_s = numbers(cells, "arrival_s", path)
    refuse_where(arrival_s < 0, cells, "arrival_s", path, ">= 0")
    return arrival_s


def _block_ids(cells: pd.DataFrame, prompt_tokens: pd.Series[int], path: Path) -> pd.Series[Any]:
    """The ids of every prompt's blocks; its last one, where that is not full, has an id that nothing shares."""
    found = cells[BLOCKS].map(_ids)
    refuse_where(found.isna(), cells, BLOCKS, path, "whole numbers and runs of them such as '0-146 210'")
    full = prompt_tokens // BLOCK_TOKENS
    wrong = found.map(len) != full
    if wrong.any():
        line = first_bad_line(wrong)
        raise InputError(
            f"{path}, line {line}: {BLOCKS} names {len(found[line])} blocks, must be {full[line]}, the full blocks of "
            f"{BLOCK_TOKENS} tokens in a prompt of {prompt_tokens[line]}; correct the row or drop the column"
        )
    not_full = prompt_tokens % BLOCK_TOKENS > 0
    return pd.Series(
        [[*ids, -1 - row] if more else ids for row, (ids, more) in enumerate(zip(found, not_full, strict=True))],
        index=cells.index,
        dtype=object,
    )


def _ids(text: Any) -> list[int] | None:
    """`0-2 7` as [0, 1, 2, 7]; None for what is no such list."""
    ids: list[int] = []
    for run in str(text).split():
        first, _, last = run.partition("-")
        last = last if "-" in run else first
        if not (first.isdecimal() and last.isdecimal()) or max(len(first), len(last)) > 15:
            return None
        if not 0 <= int(last) - int(first) < 10**7:
            return None
        ids.extend(range(int(first), int(last) + 1))
    return ids


READER = Reader(read, KEYS, "csv")
