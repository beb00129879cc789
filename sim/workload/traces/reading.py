"""What the readers share: opening a CSV, checking columns, turning text into numbers, naming the bad line.

Cells are text, and their index is the line in the file, for CSV and JSON lines alike.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, TextIO, cast

import numpy as np
import pandas as pd

from sim.errors import InputError
from sim.specs.workload import TENANT_RULE, is_tenant

LARGEST_EXACT = 2**53
MOST_TOKENS = 10**9
"""As in the experiment file."""
LONGEST_SHOWN = 60
OPTIONAL_KEYS = ("priority", "max_new_tokens", "predicted_output_tokens", "tenant", "session_id")
"""Columns or keys, of our own name, that any trace but Azure's and BurstGPT's may have."""

UNREADABLE = (OSError, UnicodeDecodeError, EOFError, zlib.error)

csv.field_size_limit(2**31 - 1)  # a column may hold whole prompts; the default refuses cells of 128 KiB


def open_text(path: Path, mode: Literal["r", "w"] = "r") -> TextIO:
    """The file at `path` for reading or writing UTF-8, gzipped if its name ends in .gz."""
    encoding = "utf-8-sig" if mode == "r" else "utf-8"
    if path.suffix == ".gz":
        return cast(TextIO, gzip.open(path, f"{mode}t", encoding=encoding))
    return cast(TextIO, path.open(mode, encoding=encoding))


def read_columns(path: Path, required: tuple[str, ...], wanted: Sequence[str] = ()) -> pd.DataFrame:
    """The CSV at `path` (plain or .gz) as text cells, a row's index the line on which it begins.

    Kept are the `required` columns, which must be there, and those `wanted` and of OPTIONAL_KEYS that are. A short
    row ends in empty cells. Raises InputError naming the line for what is no CSV, a column that is missing or there
    twice, a long row.
    """
    lines: list[int] = []
    rows: list[tuple[str, ...]] = []
    filled = 0
    try:
        with open_text(path) as file:
            numbered = _numbered_rows(path, file)
            header = next(numbered, (1, []))[1]
            places = _places(path, header, required, wanted)
            pick, width = itemgetter(*places.values()), len(header)
            for line, row in numbered:
                if len(row) > width:
                    found = f"has {len(row)} cells, more cells than the header has columns ({width})"
                    raise InputError(f"{path}, line {line}: {found}; correct the line")
                lines.append(line)
                rows.append(pick(row if len(row) == width else row + [""] * (width - len(row))))
                filled = len(rows) if any(row) else filled
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read as CSV ({error}); give a plain or gzipped CSV") from None
    index = pd.Index(lines[:filled], dtype="int64")
    return pd.DataFrame(rows[:filled], index=index, columns=[*places], dtype=object)


def optional_columns(cells: pd.DataFrame, path: Path) -> dict[str, pd.Series[Any]]:
    """Those of OPTIONAL_KEYS that are there."""
    found: dict[str, pd.Series[Any]] = {}
    if "priority" in cells:
        found["priority"] = whole_numbers(cells, "priority", path)
    for column in ("max_new_tokens", "predicted_output_tokens"):
        if column in cells:
            found[column] = token_counts(cells, column, path)
    if "tenant" in cells:
        refuse_where(~cells["tenant"].map(is_tenant).astype(bool), cells, "tenant", path, TENANT_RULE)
        found["tenant"] = cells["tenant"].astype(str)
    if "session_id" in cells:
        found["session_id"] = counts(cells, "session_id", path)
    return found


def token_counts(cells: pd.DataFrame, column: str, path: Path) -> pd.Series[int]:
    """A column of whole numbers from 1 to 10^9; anything else is refused with its line."""
    values = counts(cells, column, path, least=1)
    refuse_where(values > MOST_TOKENS, cells, column, path, "at most 10^9")
    return values


def counts(cells: pd.DataFrame, column: str, path: Path, least: int = 0) -> pd.Series[int]:
    """A column of whole numbers >= `least`; anything else is refused with its line."""
    values = whole_numbers(cells, column, path)
    refuse_where(values < least, cells, column, path, f">= {least}")
    return values


def whole_numbers(cells: pd.DataFrame, column: str, path: Path) -> pd.Series[int]:
    """A column of whole numbers; anything else is refused with its line."""
    values = numbers(cells, column, path)
    bad = (values.mod(1) != 0) | (values.abs() > LARGEST_EXACT)
    refuse_where(bad, cells, column, path, "a whole number below 2^53")
    return values.astype(np.int64)


def numbers(cells: pd.DataFrame, column: str, path: Path) -> pd.Series[float]:
    """A column of finite numbers; anything else is refused with its line."""
    values = pd.to_numeric(cells[column], errors="coerce").astype(float)
    refuse_where(~values.abs().lt(np.inf), cells, column, path, "a number")
    return values


def seconds_from_first(cells: pd.DataFrame, column: str, path: Path, units_per_s: int = 1) -> pd.Series[float]:
    """A column of times >= 0, of which `units_per_s` make a second, as seconds after the first row."""
    stamps = numbers(cells, column, path)
    refuse_where(stamps < 0, cells, column, path, ">= 0")
    if stamps.empty:
        return stamps
    since_first: pd.Series[float] = stamps - stamps.iloc[0]
    return since_first / units_per_s


def first_bad_line(bad: pd.Series[bool]) -> int:
    """The file line of the first row marked bad."""
    return int(bad.index[bad.to_numpy()][0])


def refuse_where(bad: pd.Series[bool], cells: pd.DataFrame, column: str, path: Path, needed: str) -> None:
    """Raise InputError for the first row marked bad, if any: its line, the value and what it must be."""
    if not bad.any():
        return
    line = first_bad_line(bad)
    value = str(cells[column].loc[line])
    shown = value if len(value) <= LONGEST_SHOWN else f"{value[: LONGEST_SHOWN - 3]}..."
    raise InputError(f"{path}, line {line}: {column} is '{shown}', must be {needed}; correct or remove the row")


def _numbered_rows(path: Path, file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """(line, cells): the line is the one on which the row begins, also where cells above hold line breaks."""
    rows = csv.reader(file, strict=True)
    line = 1
    try:
        for row in rows:
            yield line, row
            line = rows.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: is not CSV ({error}); correct the line") from None


def _places(path: Path, header: list[str], required: tuple[str, ...], wanted: Sequence[str]) -> dict[str, int]:
    """Where each column that is read stands in a row."""
    if not header:
        raise InputError(f"{path}: is empty, or its first line is; give a CSV with columns {', '.join(required)}")
    missing = [column for column in required if column not in header]
    if missing:
        found, needed = ", ".join(header), ", ".join(required)
        raise InputError(f"{path}, line 1: this CSV has no column {missing[0]}; found {found}, need {needed}")
    read = [column for column in (*required, *wanted, *OPTIONAL_KEYS) if column in header]
    for column in read:
        if header.count(column) > 1:
            raise InputError(f"{path}, line 1: this CSV has {header.count(column)} columns {column}; keep one")
    return {column: header.index(column) for column in read}
