"""What a trace reader is and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd


@dataclass(frozen=True)
class Trace:
    """A recorded workload, one row per request; the index of `table` is each row's line in the file.

    Columns: `arrival_s` (seconds), `prompt_tokens`, `output_tokens`, `priority` (0 where the file has none) and, where
    the file tells which prompts share a prefix, `block_ids`: a list of ids a row, one a block of `block_tokens` prompt
    tokens; equal ids stand for equal prompts up to and including that block. `notes` says what the reader left out.
    """

    table: pd.DataFrame
    notes: tuple[str, ...] = ()
    block_tokens: int | None = None


@dataclass(frozen=True)
class Reader:
    """One trace format: how to read a file, and the columns or JSON keys by which the format is known.

    `stamp_unit` is the unit in which the format writes time as a bare number, where nothing in the file says so.
    """

    read: Callable[[Path], Trace]
    keys: tuple[str, ...]
    syntax: Literal["csv", "jsonl"]
    stamp_unit: Literal["seconds", "milliseconds"] | None = None
