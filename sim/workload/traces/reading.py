"""What the readers share: opening a CSV, checking columns, turning text into numbers, naming the bad line.

Cells are text, and their index is the line in the file, for CSV and JSON lines alike.
"""

from __future__ import annotations

import json
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sim.errors import InputError

FIRST_ROW_LINE = 2
LARGEST_EXACT = 2**53
LONGEST_SHOWN = 60
OPTIONAL_KEYS = ("priority", "max_new_tokens", "predicted_output_tokens", "tenant", "session_id")
"""Columns or keys, of our own name, that any trace but Azure's and BurstGPT's may have."""

UNREADABLE = (OSError, UnicodeDecodeError, EOFError, zlib.error)


def read_columns(path: Path, required: tuple[str, ...]) -> pd.DataFrame:
    """The CSV at `path` (plain or .gz) as text cells; missing `required` columns are refused with what is there."""
    try:
        cells = _read_cells(path)
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: is empty; give a CSV with columns {', '.join(required)}") from None
    except pd.errors.ParserWarning:
        raise InputError(f"{path}, line 2: has more cells than the header has columns; correct the line") from None
    except (*UNREADABLE, pd.errors.ParserError) as error:
        raise InputError(f"{path}: cannot be read as CSV ({str(error).strip()}); give a plain or gzipped CSV") from None
    missing = [column for column in required if column not in cells.columns]
    if missing:
        found, needed = ", ".join(cells.columns), ", ".join(required)
        raise InputError(f"{path}, line 1: this CSV has no column {missing[0]}; found {found}, need {needed}")
    cells.index = pd.RangeIndex(FIRST_ROW_LINE, FIRST_ROW_LINE + len(cells))
    return cells.iloc[: _filled_rows(cells)]


def optional_columns(cells: pd.DataFrame, path: Path) -> dict[str, pd.Series[Any]]:
    """Those of OPTIONAL_KEYS that are there."""
    found: dict[str, pd.Series[Any]] = {}
    if "priority" in cells:
        found["priority"] = whole_numbers(cells, "priority", path)
    for column in ("max_new_tokens", "predicted_output_tokens"):
        if column in cells:
            found[column] = token_counts(cells, column, path)
    if "tenant" in cells:
        found["tenant"] = cells["tenant"].map(lambda cell: json.loads(cell) if cell.startswith('"') else cell)
    if "session_id" in cells:
        found["session_id"] = counts(cells, "session_id", path)
    return found


def token_counts(cells: pd.DataFrame, column: str, path: Path) -> pd.Series[int]:
    """A column of whole numbers >= 1; anything else is refused with its line."""
    return counts(cells, column, path, least=1)


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


def _read_cells(path: Path) -> pd.DataFrame:
    """Every cell as text; a first row longer than the header, which pandas would cut, raises ParserWarning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            path,
            compression="gzip" if path.suffix == ".gz" else None,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            index_col=False,
        )


def _filled_rows(cells: pd.DataFrame) -> int:
    """Blank lines at the end of a file are not rows; blank lines inside it are malformed ones."""
    filled = np.flatnonzero((cells != "").any(axis=1).to_numpy())
    return int(filled[-1]) + 1 if len(filled) else 0
